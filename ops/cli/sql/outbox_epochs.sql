-- Per stream of the relay: its creation as noted, whether this is the cluster that was noted, the newest batch, where it
-- begins in the stream and how many rows it has (-1: no batch yet)
SELECT lane.stream, lane.stream_created, lane.system_identifier = control.system_identifier,
       coalesce(newest.batch, 0), coalesce(newest.start_sequence, 0), coalesce(newest.n_rows, -1)
  FROM catalog.outbox_lane AS lane
 CROSS JOIN pg_control_system() AS control
  LEFT JOIN LATERAL (SELECT batch, start_sequence, n_rows
                       FROM catalog.outbox_batch AS b
                      WHERE b.stream = lane.stream
                      ORDER BY batch DESC
                      LIMIT 1) AS newest ON true
 ORDER BY 1;
