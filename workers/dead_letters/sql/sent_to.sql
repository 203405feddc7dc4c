-- Whose settling the oldest events of a plan wait for.
SELECT DISTINCT stream, consumer
  FROM (SELECT stream, consumer FROM ops.replay_item WHERE plan = $1::uuid AND outcome = 'sent'
         ORDER BY dlq_seq LIMIT 5000) AS oldest;
