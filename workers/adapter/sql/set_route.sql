INSERT INTO adapter.route AS r (route, enabled, reason, changed_at, changed_by) VALUES ($1, $2, $3, now(), $4)
ON CONFLICT (route) DO UPDATE SET enabled = excluded.enabled, reason = excluded.reason, changed_at = now(),
                                  changed_by = excluded.changed_by
 WHERE r.enabled <> excluded.enabled
