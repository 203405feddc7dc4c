-- Which of these events are flagged copies that were announced: a review's first or its reminder. $1 event ids; the
-- positions from 1.
SELECT q.i FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, i)
 WHERE EXISTS (SELECT FROM update_review AS r WHERE r.review_id = q.id)
    OR EXISTS (SELECT FROM update_review AS r WHERE r.reminder_id = q.id);
