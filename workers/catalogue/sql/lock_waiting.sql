-- Whoever lets an update wait holds this lock alone, so that nobody is just making its entity.
SELECT pg_advisory_xact_lock($1::bigint);
