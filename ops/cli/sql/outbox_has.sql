-- Are there rows of stream $1 with id $2, of event $3, and with id $4?
SELECT EXISTS (SELECT FROM catalog.outbox WHERE stream = $1::text AND id = $2::bigint AND event_id::text = $3::text)
       AND EXISTS (SELECT FROM catalog.outbox WHERE stream = $1::text AND id = $4::bigint);
