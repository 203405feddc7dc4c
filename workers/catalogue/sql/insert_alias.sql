-- Fewer rows than asked for: a race, as with references.
INSERT INTO entity_alias (alias_id, entity_kind, entity_id)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[]) AS n(alias_id, entity_kind, entity_id) ORDER BY n.alias_id
ON CONFLICT DO NOTHING;
