-- Schemas and who may enter them. Run as echora_owner, who owns everything below.
--
-- Why roles are not made here: a role belongs to the cluster, not to the database, and the owner of
-- the schema shall not be able to make one. ops/postgres/roles.sql makes them; this file says so when
-- it finds one missing.
-- Grants on tables stand in the migration that makes the table; the reader's come by default.
DO $$
DECLARE
    missing text;
BEGIN
    SELECT string_agg(name, ', ') INTO missing
    FROM (VALUES ('echora_catalogue'), ('echora_relay'), ('echora_reader')) AS wanted(name)
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name);
    IF missing IS NOT NULL THEN
        RAISE EXCEPTION 'missing roles: %', missing
            USING HINT = 'Run ops/postgres/roles.sql as superuser first.';
    END IF;
END
$$;

CREATE SCHEMA IF NOT EXISTS catalog;
COMMENT ON SCHEMA catalog IS 'The catalogue, written by the catalogue writer alone, and its outbox.';
CREATE SCHEMA IF NOT EXISTS ops;
COMMENT ON SCHEMA ops IS 'What the operators'' tools keep: replays, discards, the index of dead letters.';

REVOKE ALL ON SCHEMA catalog, ops FROM PUBLIC;
GRANT USAGE ON SCHEMA catalog TO echora_catalogue, echora_relay, echora_reader;
GRANT USAGE ON SCHEMA ops TO echora_reader;

ALTER DEFAULT PRIVILEGES IN SCHEMA catalog GRANT SELECT ON TABLES TO echora_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA ops GRANT SELECT ON TABLES TO echora_reader;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
