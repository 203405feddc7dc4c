SELECT id, revision, clock_time, clock_event, clocks, meta, description, favourites, name, name_native
  FROM character WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE;
