-- One page of groups, those with the newest letter first. $1 to $11 the filter, $12 below which sequence, $13 how many.
SELECT g.fingerprint, l.consumer, l.class, l.code, l.reason, g.letters, g.first_failed, g.last_failed, g.newest
  FROM (SELECT fingerprint, count(*) AS letters, max(dlq_seq) AS newest, min(failed_at) AS first_failed,
               max(failed_at) AS last_failed
          FROM ops.letter
         WHERE
       ($1::bigint IS NULL OR dlq_seq >= $1) AND ($2::bigint IS NULL OR dlq_seq <= $2)
   AND ($3::text IS NULL OR consumer = $3) AND ($4::text IS NULL OR class = $4) AND ($5::text IS NULL OR code = $5)
   AND ($6::text IS NULL OR fingerprint = $6) AND ($7::text IS NULL OR entity = $7)
   AND ($8::timestamptz IS NULL OR failed_at >= $8) AND ($9::timestamptz IS NULL OR failed_at < $9)
   AND ($10::text IS NULL OR state = $10) AND ($11::bool OR NOT parked)
         GROUP BY fingerprint
        HAVING $12::bigint IS NULL OR max(dlq_seq) < $12
         ORDER BY 3 DESC LIMIT $13::int) AS g
  JOIN ops.letter AS l ON l.dlq_seq = g.newest
 ORDER BY g.newest DESC;
