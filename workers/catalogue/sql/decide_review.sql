-- A decision: $1 review, $2 state, $3 who, $4 why, $5 the decision's id, $6 revision, $7 superseded fields, $8 by which
-- event (NULL = as before), $9 anime, $10 outcome in the inbox, $11 the fields decided on.
WITH decided AS (
    UPDATE update_review SET state = $2::text, decided_at = now(), decided_by = $3::text, decision_note = $4::text,
           decision_id = $5::uuid, revision = $6::bigint, superseded_fields = string_to_array($7::text, ','),
           superseded_by = coalesce($8::uuid, superseded_by)
     WHERE review_id = $1::uuid
), step AS (
    INSERT INTO review_step (review_id, step, actor, event_id, fields, note)
    VALUES ($1::uuid, $2::text, $3::text, $5::uuid, string_to_array($11::text, ','), $4::text)
)
INSERT INTO inbox (consumer, event_id, event_day, stream_sequence, entity_id, revision, outcome)
VALUES ('catalog-review', $5::uuid, (now() AT TIME ZONE 'UTC')::date, 0, $9::uuid, $6::bigint, $10::text);
