SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 FROM update_review WHERE state = 'pending';
