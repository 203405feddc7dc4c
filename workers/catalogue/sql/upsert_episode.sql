-- A row of the same anime and number under another id fails the statement; the writer redoes it and finds that row.
INSERT INTO episode (id, revision, clock_time, clock_event, clocks, meta, anime_id, episode_number,
       description, duration_seconds, filler, recap, score, season_number, synopsis, title, title_japanese, title_romaji)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::uuid[], $5::jsonb[], $6::jsonb[], $7::uuid[],
       $8::int[], $9::text[], $10::int[], $11::bool[], $12::bool[], $13::real[], $14::int[], $15::text[], $16::text[],
       $17::text[], $18::text[])
ON CONFLICT (id) DO UPDATE SET
       (revision, clock_time, clock_event, clocks, meta, description, duration_seconds, filler, recap, score,
        season_number, synopsis, title, title_japanese, title_romaji, updated_at) =
       (excluded.revision, excluded.clock_time, excluded.clock_event, excluded.clocks, excluded.meta,
        excluded.description, excluded.duration_seconds, excluded.filler, excluded.recap, excluded.score,
        excluded.season_number, excluded.synopsis, excluded.title, excluded.title_japanese, excluded.title_romaji,
        now())
RETURNING (xmax = 0) AS inserted;
