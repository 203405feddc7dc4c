SELECT at, step, actor, event_id, array_to_string(fields, ','), note FROM review_step WHERE review_id = $1::uuid ORDER BY id;
