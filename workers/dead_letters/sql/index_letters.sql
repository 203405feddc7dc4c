-- Letters of a batch into the index. A letter that the stream holds twice (written again after its duplicate window)
-- stands where its newest copy stands. What people did with it is known from its fate.
INSERT INTO ops.letter AS l (id, dlq_seq, stream, consumer, subject, stream_seq, class, code, reason, fingerprint, entity,
                             worker, hop, deliveries, size, parked, replay_id, first_seen, failed_at, state, attempts)
SELECT n.*, coalesce(f.state, 'open'), coalesce(f.attempts, 0)
  FROM (SELECT DISTINCT ON (id) *
          FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
                      $9::text[], $10::text[], $11::text[], $12::text[], $13::int[], $14::int[], $15::int[], $16::bool[],
                      $17::text[], $18::timestamptz[], $19::timestamptz[])
               AS given (id, dlq_seq, stream, consumer, subject, stream_seq, class, code, reason, fingerprint, entity,
                         worker, hop, deliveries, size, parked, replay_id, first_seen, failed_at)
         ORDER BY id, dlq_seq DESC) AS n
  LEFT JOIN ops.letter_fate AS f ON f.id = n.id
ON CONFLICT (id) DO UPDATE
   SET dlq_seq = excluded.dlq_seq, failed_at = excluded.failed_at, deliveries = excluded.deliveries,
       class = excluded.class, code = excluded.code, reason = excluded.reason, fingerprint = excluded.fingerprint,
       worker = excluded.worker, size = excluded.size, parked = excluded.parked
 WHERE excluded.dlq_seq > l.dlq_seq;
