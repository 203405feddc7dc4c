-- Events of a plan that were found in the relay's stream. $1 the plan; then one array each: consumer, id of the entity, the
-- event's sequence. Two letters of one entity have an event each; the first is as good for the one as for the other.
UPDATE ops.replay_item AS i
   SET outcome = 'sent', sent_seq = (
       SELECT min(n.seq) FROM unnest($2::text[], $3::text[], $4::bigint[]) AS n (consumer, entity, seq)
        WHERE n.consumer = i.consumer AND n.entity = i.entity)
 WHERE i.plan = $1::uuid AND i.outcome = 'enqueued' AND i.entity = ANY ($3::text[])
   AND (i.consumer, i.entity) IN (SELECT n.consumer, n.entity FROM unnest($2::text[], $3::text[]) AS n (consumer, entity));
