-- $1 id: rows of ANIME_SYNC up to it that no batch holds yet, and where the newest batch ends in the stream
WITH newest AS (
    SELECT cur, start_sequence + n_rows AS ends_at
      FROM catalog.outbox_batch
     WHERE stream = 'ANIME_SYNC'
     ORDER BY batch DESC
     LIMIT 1
)
SELECT (SELECT count(*)
          FROM catalog.outbox o
         WHERE o.stream = 'ANIME_SYNC' AND o.id <= $1
           AND NOT coalesce((SELECT pg_visible_in_snapshot(o.xid, n.cur) FROM newest n), false)),
       coalesce((SELECT ends_at FROM newest), 0);
