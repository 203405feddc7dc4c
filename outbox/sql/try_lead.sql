-- One relay per outbox: the key is this house's number and the schema's.
SELECT pg_try_advisory_lock(20261121, hashtext('outbox ' || $1::text))
