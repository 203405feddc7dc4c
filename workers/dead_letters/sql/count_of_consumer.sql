-- Letters of a consumer, whatever their state.
SELECT coalesce(sum(letters), 0)::bigint FROM ops.letter_count WHERE consumer = $1::text;
