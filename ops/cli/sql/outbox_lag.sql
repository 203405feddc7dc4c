-- Per stream: rows that no batch holds yet, the age of the oldest, where the newest batch ends in the stream, and how
-- many rows and what age that batch has while it is open
WITH newest AS (
    SELECT DISTINCT ON (stream) stream, cur, start_sequence + n_rows AS ends_at, n_rows, created_at, closed_at
      FROM catalog.outbox_batch
     ORDER BY stream, batch DESC
), waiting AS (
    SELECT o.stream, count(*) AS n, min(o.created_at) AS oldest
      FROM catalog.outbox o
      LEFT JOIN newest n ON n.stream = o.stream
     WHERE n.cur IS NULL OR NOT pg_visible_in_snapshot(o.xid, n.cur)
     GROUP BY o.stream
)
SELECT coalesce(n.stream, w.stream), coalesce(w.n, 0),
       coalesce(extract(epoch FROM clock_timestamp() - w.oldest), 0)::float8, coalesce(n.ends_at, 0),
       CASE WHEN n.closed_at IS NULL THEN coalesce(n.n_rows, 0) ELSE 0 END,
       coalesce(extract(epoch FROM clock_timestamp() - n.created_at), 0)::float8
  FROM newest n
  FULL JOIN waiting w ON w.stream = n.stream
 ORDER BY 1;
