-- Positions, from 1, of those of these events that the catalogue announced as flagged copies.
SELECT a.i FROM adapter.announced($1::uuid[]) AS a(i)
