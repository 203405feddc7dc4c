-- Part of the exact list of a plan, in the order of the letters' turn. $1 to $11 the filter, $12 the plan, $13 behind
-- which sequence, $14 how many. Answers how many there were, and the last one's sequence.
WITH part AS (
INSERT INTO ops.replay_item (plan, dlq_seq, id, attempt, was, consumer, stream, entity)
SELECT $12::uuid, dlq_seq, id, attempts + 1, state, consumer, stream, entity
  FROM ops.letter
 WHERE
       ($1::bigint IS NULL OR dlq_seq >= $1) AND ($2::bigint IS NULL OR dlq_seq <= $2)
   AND ($3::text IS NULL OR consumer = $3) AND ($4::text IS NULL OR class = $4) AND ($5::text IS NULL OR code = $5)
   AND ($6::text IS NULL OR fingerprint = $6) AND ($7::text IS NULL OR entity = $7)
   AND ($8::timestamptz IS NULL OR failed_at >= $8) AND ($9::timestamptz IS NULL OR failed_at < $9)
   AND ($10::text IS NULL OR state = $10) AND ($11::bool OR NOT parked)
   AND dlq_seq > $13::bigint
 ORDER BY dlq_seq LIMIT $14::int
RETURNING dlq_seq
)
SELECT count(*), coalesce(max(dlq_seq), 0)::bigint FROM part;
