-- Under the lock of its anime's row, so that nothing supersedes it meanwhile.
SELECT state, array_to_string(superseded_fields, ',') FROM update_review WHERE review_id = $1::uuid FOR UPDATE;
