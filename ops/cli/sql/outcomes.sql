-- $1 event ids: how many of them ended how
SELECT i.outcome, count(*)
  FROM unnest($1::uuid[]) AS asked(id)
  JOIN catalog.inbox i ON i.event_id = asked.id
 GROUP BY i.outcome
 ORDER BY i.outcome;
