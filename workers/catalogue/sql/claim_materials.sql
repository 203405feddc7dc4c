-- References of source materials: $1 which entry each belongs to, $2 reference, $3 the id a new one would get. All
-- references of an entry go to the one that one of them names already (the smallest id), else to a new one.
WITH named AS (
    SELECT * FROM unnest($1::int[], $2::text[], $3::uuid[]) AS n(entry, ref, candidate)
), known AS (
    SELECT DISTINCT ON (n.entry) n.entry, x.source_material_id
      FROM named AS n JOIN source_material_xref AS x ON x.ref = n.ref ORDER BY n.entry, x.source_material_id
)
INSERT INTO source_material_xref (ref, source_material_id)
SELECT DISTINCT ON (n.ref) n.ref, coalesce(k.source_material_id, n.candidate)
  FROM named AS n LEFT JOIN known AS k ON k.entry = n.entry ORDER BY n.ref, n.entry
ON CONFLICT DO NOTHING;
