-- References of companies: $1 which entry each belongs to, $2 reference, $3 the id a new company would get. All
-- references of an entry go to the company that one of them names already (the smallest id), else to a new one.
WITH named AS (
    SELECT * FROM unnest($1::int[], $2::text[], $3::uuid[]) AS n(entry, ref, candidate)
), known AS (
    SELECT DISTINCT ON (n.entry) n.entry, x.company_id
      FROM named AS n JOIN company_xref AS x ON x.ref = n.ref ORDER BY n.entry, x.company_id
)
INSERT INTO company_xref (ref, company_id)
SELECT DISTINCT ON (n.ref) n.ref, coalesce(k.company_id, n.candidate)
  FROM named AS n LEFT JOIN known AS k ON k.entry = n.entry ORDER BY n.ref, n.entry
ON CONFLICT DO NOTHING;
