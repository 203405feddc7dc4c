-- Roles of a cluster, with their settings; run by the superuser, repeatable.
-- psql variables echora_owner_password, echora_catalogue_password and so on, one per role, come on standard input (ops/up), so that no password stands in argv or here.
-- In production the same roles come from your own provisioning, with client certificates or a vault.
SELECT format('CREATE ROLE %I LOGIN', name)
FROM (VALUES ('echora_owner'), ('echora_catalogue'), ('echora_relay'), ('echora_deadletters'),
             ('echora_adapter'), ('echora_reader')) AS wanted(name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

ALTER ROLE echora_owner     NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'echora_owner_password';
ALTER ROLE echora_catalogue NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'echora_catalogue_password';
ALTER ROLE echora_relay     NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'echora_relay_password';
ALTER ROLE echora_deadletters NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION
      PASSWORD :'echora_deadletters_password';
ALTER ROLE echora_adapter   NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'echora_adapter_password';
ALTER ROLE echora_reader    NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'echora_reader_password';

ALTER ROLE echora_owner     SET search_path = catalog;
ALTER ROLE echora_catalogue SET search_path = catalog;
ALTER ROLE echora_relay     SET search_path = catalog;
ALTER ROLE echora_deadletters SET search_path = ops;
ALTER ROLE echora_adapter   SET search_path = adapter;
ALTER ROLE echora_reader    SET search_path = catalog;

-- A worker that dies inside a transaction must not hold its locks, nor a person's forgotten psql.
ALTER ROLE echora_catalogue SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE echora_deadletters SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE echora_adapter   SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE echora_reader    SET idle_in_transaction_session_timeout = '10min';
ALTER ROLE echora_reader    SET default_transaction_read_only = on;
-- The writer's statements are look-ups by key for a few hundred values. It prepares them while the tables may
-- be empty, when reading a table whole looks cheapest, and keeps those plans as they grow: so it may not.
ALTER ROLE echora_catalogue SET enable_seqscan = off;
ALTER ROLE echora_catalogue SET enable_hashjoin = off;
ALTER ROLE echora_catalogue SET enable_mergejoin = off;
ALTER ROLE echora_catalogue SET enable_bitmapscan = off;
ALTER ROLE echora_catalogue SET enable_material = off;
ALTER ROLE echora_catalogue SET jit = off;
-- Filters of dead letters are optional parameters: a plan must be made for those that are given. Pages come in the order
-- of an index, the rest are look-ups by key; tables that are fresh and without statistics must not make reading and
-- sorting the whole look cheap.
ALTER ROLE echora_deadletters SET plan_cache_mode = force_custom_plan;
ALTER ROLE echora_deadletters SET enable_sort = off;
ALTER ROLE echora_deadletters SET enable_bitmapscan = off;
ALTER ROLE echora_deadletters SET enable_seqscan = off;
ALTER ROLE echora_deadletters SET enable_hashjoin = off;
ALTER ROLE echora_deadletters SET enable_mergejoin = off;
ALTER ROLE echora_deadletters SET jit = off;
