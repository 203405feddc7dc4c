-- Letters open, open but parked, replayed, discarded, and when the first open one failed.
SELECT coalesce(sum(letters) FILTER (WHERE state = 'open' AND NOT parked), 0)::bigint,
       coalesce(sum(letters) FILTER (WHERE state = 'open' AND parked), 0)::bigint,
       coalesce(sum(letters) FILTER (WHERE state = 'replayed'), 0)::bigint,
       coalesce(sum(letters) FILTER (WHERE state = 'discarded'), 0)::bigint,
       (SELECT failed_at FROM ops.letter WHERE state = 'open' AND NOT parked ORDER BY dlq_seq LIMIT 1)
  FROM ops.letter_count;
