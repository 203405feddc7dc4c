-- One page of letters, newest first. $1 to $11 the filter, $12 below which sequence, $13 how many.
SELECT id, dlq_seq, stream, consumer, subject, stream_seq, class, code, reason, fingerprint, entity, worker, hop,
       deliveries, size, parked, replay_id, first_seen, failed_at, state, attempts
  FROM ops.letter
 WHERE
       ($1::bigint IS NULL OR dlq_seq >= $1) AND ($2::bigint IS NULL OR dlq_seq <= $2)
   AND ($3::text IS NULL OR consumer = $3) AND ($4::text IS NULL OR class = $4) AND ($5::text IS NULL OR code = $5)
   AND ($6::text IS NULL OR fingerprint = $6) AND ($7::text IS NULL OR entity = $7)
   AND ($8::timestamptz IS NULL OR failed_at >= $8) AND ($9::timestamptz IS NULL OR failed_at < $9)
   AND ($10::text IS NULL OR state = $10) AND ($11::bool OR NOT parked)
   AND ($12::bigint IS NULL OR dlq_seq < $12)
 ORDER BY dlq_seq DESC LIMIT $13::int;
