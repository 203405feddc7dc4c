-- Letters that are no longer in the stream, a thousand at a time. $1 the stream's first sequence.
DELETE FROM ops.letter
 WHERE id = ANY (ARRAY(SELECT id FROM ops.letter WHERE dlq_seq < $1::bigint ORDER BY dlq_seq LIMIT 1000));
