INSERT INTO update_review (review_id, event_id, anime_id, event_time, fields, reasons, payload, traceparent)
VALUES ($1::uuid, $2::uuid, $3::uuid, $4::timestamptz, $5::text[], $6::text[], $7::bytea, $8::text)
ON CONFLICT DO NOTHING;
