-- Where a letter stands in the stream.
SELECT dlq_seq FROM ops.letter WHERE id = $1::text;
