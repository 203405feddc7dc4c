-- Notes which stream the index is of; another one empties it, for its sequences count from 1 again.
WITH known AS (
    INSERT INTO ops.letter_stream AS s (created)
    SELECT $1::text WHERE NOT EXISTS (SELECT FROM ops.letter_stream WHERE created = $1)
    ON CONFLICT (single) DO UPDATE SET created = excluded.created WHERE s.created <> excluded.created
    RETURNING created
)
DELETE FROM ops.letter WHERE EXISTS (SELECT FROM known);
