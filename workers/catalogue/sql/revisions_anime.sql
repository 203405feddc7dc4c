-- One page of all anime ids with their revisions, in id order. $1 the id before the page, $2 how many.
SELECT d.id, d.revision, d.deleted FROM catalog.anime_document d WHERE d.id > $1::uuid ORDER BY d.id LIMIT $2::int4
