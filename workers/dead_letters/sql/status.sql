-- Letters open, open but parked, replayed, discarded, and when the oldest open one failed.
SELECT coalesce(sum(letters) FILTER (WHERE state = 'open' AND NOT parked), 0)::bigint,
       coalesce(sum(letters) FILTER (WHERE state = 'open' AND parked), 0)::bigint,
       coalesce(sum(letters) FILTER (WHERE state = 'replayed'), 0)::bigint,
       coalesce(sum(letters) FILTER (WHERE state = 'discarded'), 0)::bigint,
       (SELECT min(oldest.failed_at)
          FROM (SELECT DISTINCT fingerprint FROM ops.letter_count WHERE state = 'open' AND NOT parked) AS g
         CROSS JOIN LATERAL (SELECT failed_at FROM ops.letter AS l
                              WHERE l.fingerprint = g.fingerprint AND l.state = 'open' AND NOT l.parked
                              ORDER BY l.dlq_seq LIMIT 1) AS oldest)
  FROM ops.letter_count;
