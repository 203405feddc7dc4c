-- Where to look for the events of a plan that the relay publishes: streams, and from which sequence on.
SELECT i.stream, greatest(min(i.sent_seq), (SELECT searched FROM ops.replay_plan WHERE id = $1::uuid))
  FROM ops.replay_item AS i WHERE i.plan = $1 AND i.outcome = 'enqueued' GROUP BY i.stream;
