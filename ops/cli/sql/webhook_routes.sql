-- $1 routes: their state, and what became of the newest thousand calls
SELECT coalesce(r.enabled, true), coalesce(r.reason, ''), coalesce(d.delivered, 0), coalesce(d.failed, 0), d.newest
  FROM unnest($1::text[]) WITH ORDINALITY AS asked(route, place)
  LEFT JOIN adapter.route AS r ON r.route = asked.route
  LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE class = 'delivered') AS delivered,
                            count(*) FILTER (WHERE class <> 'delivered') AS failed, max(started_at) AS newest
                       FROM (SELECT class, started_at FROM adapter.delivery
                              WHERE route = asked.route AND trigger <> 'test' ORDER BY id DESC LIMIT 1000) AS calls)
       AS d ON true
 ORDER BY asked.place;
