WITH gone AS (DELETE FROM anime_source_material_relation WHERE anime_id = ANY ($1::uuid[]))
DELETE FROM graph_edge WHERE asserted_by = ANY ($1::uuid[]) AND family = 'material';
