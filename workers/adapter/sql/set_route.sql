-- What changes the state is a record, and so is what a person asks for, changed or not.
WITH changed AS (
    INSERT INTO adapter.route AS r (route, enabled, reason, changed_at, changed_by) VALUES ($1, $2, $3, now(), $4)
    ON CONFLICT (route) DO UPDATE SET enabled = excluded.enabled, reason = excluded.reason, changed_at = now(),
                                      changed_by = excluded.changed_by
     WHERE r.enabled <> excluded.enabled
    RETURNING r.route)
INSERT INTO adapter.route_change (route, enabled, reason, changed_by)
SELECT $1, $2, $3, $4 WHERE $2 OR EXISTS (SELECT FROM changed)
