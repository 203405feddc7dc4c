INSERT INTO character (id, revision, clock_time, clock_event, clocks, meta, description, favourites, name, name_native)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::uuid[], $5::jsonb[], $6::jsonb[], $7::text[],
       $8::bigint[], $9::text[], $10::text[])
ON CONFLICT (id) DO UPDATE SET
       (revision, clock_time, clock_event, clocks, meta, description, favourites, name, name_native, updated_at) =
       (excluded.revision, excluded.clock_time, excluded.clock_event, excluded.clocks, excluded.meta,
        excluded.description, excluded.favourites, excluded.name, excluded.name_native, now())
RETURNING (xmax = 0) AS inserted;
