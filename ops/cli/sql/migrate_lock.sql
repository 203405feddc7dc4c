SELECT pg_try_advisory_lock(hashtextextended('echora migrate', 0));
