-- Is there a row of stream $1 with this id, of this event?
SELECT EXISTS (SELECT FROM catalog.outbox WHERE stream = $1::text AND id = $2::bigint AND event_id::text = $3::text);
