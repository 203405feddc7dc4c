-- $1 routes: their state, what became of the newest thousand calls, and how the newest one ended
SELECT coalesce(r.enabled, true), coalesce(r.reason, ''), coalesce(d.delivered, 0), coalesce(d.failed, 0), n.started_at,
       coalesce(n.class, ''), coalesce(nullif(n.error, ''), nullif(n.status, 0)::text, '')
  FROM unnest($1::text[]) WITH ORDINALITY AS asked(route, place)
  LEFT JOIN adapter.route AS r ON r.route = asked.route
  LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE class = 'delivered') AS delivered,
                            count(*) FILTER (WHERE class <> 'delivered') AS failed
                       FROM (SELECT class FROM adapter.delivery
                              WHERE route = asked.route AND trigger <> 'test' ORDER BY id DESC LIMIT 1000) AS calls)
       AS d ON true
  LEFT JOIN LATERAL (SELECT started_at, class, error, status FROM adapter.delivery
                      WHERE route = asked.route AND trigger <> 'test' ORDER BY id DESC LIMIT 1) AS n ON true
 ORDER BY asked.place;
