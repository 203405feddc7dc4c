WITH step AS (
    INSERT INTO review_step (review_id, step, event_id) VALUES ($1::uuid, 'reminded', $2::uuid)
)
UPDATE update_review SET reminder_id = $2::uuid, reminded_at = now() WHERE review_id = $1::uuid;
