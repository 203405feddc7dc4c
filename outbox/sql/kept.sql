-- What is kept: when the oldest row was written, and the slots that hold rows. $1 is the outbox's schema.
SELECT (SELECT created_at FROM outbox ORDER BY id LIMIT 1),
       (SELECT count(*) FROM pg_inherits
        WHERE inhparent = to_regclass(quote_ident($1::text) || '.outbox') AND pg_relation_size(inhrelid) > 0)
