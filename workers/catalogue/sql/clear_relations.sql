-- A relation list replaces the list before it.
WITH gone AS (DELETE FROM anime_relation WHERE from_id = ANY ($1::uuid[]))
DELETE FROM graph_edge WHERE asserted_by = ANY ($1::uuid[]) AND family = 'relation';
