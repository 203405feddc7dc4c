-- Where to look for the events of a plan that the relay publishes: the streams, consumers and lowest positions.
SELECT stream, consumer, min(sent_seq) FROM ops.replay_item WHERE plan = $1::uuid AND outcome = 'enqueued'
 GROUP BY stream, consumer;
