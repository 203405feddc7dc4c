-- The event of a row.
SELECT event_id FROM outbox WHERE id = $1::bigint AND stream = $2::text
