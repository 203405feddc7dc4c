-- The attempt's number counts what the log still has of this webhook on this route.
INSERT INTO adapter.delivery (webhook_id, route, attempt, trigger, stream, stream_seq, started_at, ms, status, error,
                              class, next_try_at, asked_by, answer)
SELECT a.id, $1, 1 + (SELECT count(*) FROM adapter.delivery AS d WHERE d.webhook_id = a.id AND d.route = $1)::int,
       a.trigger, $2, a.seq, a.started, a.ms, a.status, a.error, a.class, a.next,
       a.asked_by, a.answer
  FROM unnest($3::uuid[], $4::bigint[], $5::timestamptz[], $6::bigint[], $7::int[], $8::text[], $9::text[],
              $10::timestamptz[], $11::text[], $12::text[], $13::text[])
       AS a (id, seq, started, ms, status, error, class, next, trigger, asked_by, answer)
