-- As list_groups.sql for the filters that counts are kept for. $1 consumer, $2 class, $3 code, $4 fingerprint, $5 state,
-- $6 with parked ones, $7 below which sequence, $8 how many.
SELECT g.fingerprint, newest.consumer, newest.class, newest.code, newest.reason, g.letters, oldest.failed_at,
       newest.failed_at, newest.dlq_seq
  FROM (SELECT fingerprint, sum(letters)::bigint AS letters, array_agg(DISTINCT state) AS states,
               array_agg(DISTINCT parked) AS parks, array_agg(DISTINCT consumer) AS consumers,
               array_agg(DISTINCT class) AS classes, array_agg(DISTINCT code) AS codes
          FROM ops.letter_count
         WHERE ($1::text IS NULL OR consumer = $1) AND ($2::text IS NULL OR class = $2)
           AND ($3::text IS NULL OR code = $3) AND ($4::text IS NULL OR fingerprint = $4)
           AND ($5::text IS NULL OR state = $5) AND ($6::bool OR NOT parked) AND letters > 0
         GROUP BY fingerprint) AS g
 CROSS JOIN LATERAL (
       SELECT l.consumer, l.class, l.code, l.reason, l.failed_at, l.dlq_seq
         FROM unnest(g.states) AS s (state) CROSS JOIN unnest(g.parks) AS p (parked)
        CROSS JOIN LATERAL (
              SELECT * FROM ops.letter AS l
               WHERE l.fingerprint = g.fingerprint AND l.state = s.state AND l.parked = p.parked
                 AND l.consumer = ANY (g.consumers) AND l.class = ANY (g.classes) AND l.code = ANY (g.codes)
               ORDER BY l.dlq_seq DESC LIMIT 1) AS l
        ORDER BY l.dlq_seq DESC LIMIT 1) AS newest
 CROSS JOIN LATERAL (
       SELECT l.failed_at
         FROM unnest(g.states) AS s (state) CROSS JOIN unnest(g.parks) AS p (parked)
        CROSS JOIN LATERAL (
              SELECT * FROM ops.letter AS l
               WHERE l.fingerprint = g.fingerprint AND l.state = s.state AND l.parked = p.parked
                 AND l.consumer = ANY (g.consumers) AND l.class = ANY (g.classes) AND l.code = ANY (g.codes)
               ORDER BY l.dlq_seq LIMIT 1) AS l
        ORDER BY l.dlq_seq LIMIT 1) AS oldest
 WHERE $7::bigint IS NULL OR newest.dlq_seq < $7
 ORDER BY newest.dlq_seq DESC LIMIT $8::int;
