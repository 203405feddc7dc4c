-- What PostgreSQL lets everybody call and our roles must not; run in the database by the superuser, repeatable.
--
-- Advisory locks: whoever holds the writer's or the relay's stops the writer or the relay. Large objects and logical
-- messages: a reader could fill the disk with them. Each role keeps the lock functions that its worker calls, in a key
-- space of its own. What PostgreSQL lets nobody take away: a role may change its own password and settings (the next
-- ops/provision sets them back), NOTIFY, and keep a snapshot open. Without the right to change this (a managed server) it stays as it is, and a notice says so.
DO $$
DECLARE
    f record;
BEGIN
    FOR f IN SELECT oid::regprocedure AS name FROM pg_proc
              WHERE pronamespace = 'pg_catalog'::regnamespace
                AND proname ~ '^(pg_(try_)?advisory_(xact_)?lock|lo_|lowrite$|pg_logical_emit_message$)'
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f.name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO echora_owner', f.name);
    END LOOP;
    GRANT EXECUTE ON FUNCTION pg_advisory_xact_lock(bigint), pg_advisory_xact_lock_shared(bigint) TO echora_catalogue;
    GRANT EXECUTE ON FUNCTION pg_try_advisory_lock(int, int) TO echora_relay;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'locks and large objects stay open to every role: only a superuser can change that';
END
$$;
