-- One page of all episode ids with their revisions, in id order. $1 the id before the page, $2 how many.
SELECT d.id, d.revision, d.deleted FROM catalog.episode_document d WHERE d.id > $1::uuid ORDER BY d.id LIMIT $2::int4
