-- A reference that is there already fails the statement: another writer met the same new thing first, and this
-- one redoes its work.
INSERT INTO character_xref (ref, character_id)
SELECT * FROM unnest($1::text[], $2::uuid[]) AS n(ref, id) ORDER BY n.ref;
