-- Which of these events this consumer has handled. $1 consumer, $2 event ids, $3 event times; the positions from 1.
-- OFFSET 0 keeps one index look-up per event: planned as a join while the table is small, it would read it whole.
SELECT q.i
  FROM unnest($2::uuid[], $3::timestamptz[]) WITH ORDINALITY AS q(event_id, event_time, i)
 CROSS JOIN LATERAL (SELECT FROM inbox AS seen
                      WHERE seen.event_id = q.event_id AND seen.consumer = $1::text
                        AND seen.event_day = (q.event_time AT TIME ZONE 'UTC')::date OFFSET 0) AS found;
