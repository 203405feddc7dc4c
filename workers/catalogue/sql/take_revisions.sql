SELECT nextval('revision_seq') FROM generate_series(1, $1::int);
