-- An episode's own key is its number: a reference that another episode has stays there.
INSERT INTO episode_xref (ref, episode_id)
SELECT * FROM unnest($1::text[], $2::uuid[]) AS n(ref, id) ORDER BY n.ref
ON CONFLICT DO NOTHING;
