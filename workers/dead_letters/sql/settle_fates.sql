-- The state of letters from now on. One array each: id, state, attempts. A record that comes again, or late, changes
-- nothing: attempts only rise, and what is discarded stays so until it is replayed. Every record comes again (consumer
-- dlq-audit), so what is known is sorted out first.
WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (n.id) n.* FROM unnest($1::text[], $2::text[], $3::int[]) AS n (id, state, attempts)
      LEFT JOIN ops.letter_fate AS f ON f.id = n.id
     WHERE f.id IS NULL OR n.attempts > f.attempts
        OR (n.attempts = f.attempts AND n.state = 'discarded' AND f.state <> 'discarded')
     ORDER BY n.id, n.attempts DESC, n.state
), fate AS (
    INSERT INTO ops.letter_fate AS f (id, state, attempts, changed_at)
    SELECT id, state, attempts, clock_timestamp() FROM given
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, attempts = excluded.attempts, changed_at = excluded.changed_at
     WHERE excluded.attempts > f.attempts OR (excluded.attempts = f.attempts AND excluded.state = 'discarded')
    RETURNING id, state, attempts
)
UPDATE ops.letter AS l SET state = fate.state, attempts = fate.attempts FROM fate WHERE l.id = fate.id;
