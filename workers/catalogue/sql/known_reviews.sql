-- Which of these updates were parked before, whatever has become of them. $1 review ids; the positions from 1.
SELECT q.i FROM unnest($1::uuid[]) WITH ORDINALITY AS q(id, i)
 WHERE EXISTS (SELECT FROM update_review AS r WHERE r.review_id = q.id);
