-- Notes database and stream that the lane's batches are of. How far another one was looked at means nothing here.
INSERT INTO outbox_lane (stream, system_identifier, stream_created)
VALUES ($1::text, $2::bigint, $3::text)
ON CONFLICT (stream) DO UPDATE
SET system_identifier = excluded.system_identifier, stream_created = excluded.stream_created,
    noted_at = clock_timestamp(), looked = NULL, looked_batch = NULL
