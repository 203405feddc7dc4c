-- Version, clock (microseconds), fsync, synchronous_commit, roles that are missing
SELECT current_setting('server_version_num')::bigint,
       (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
       current_setting('fsync'), current_setting('synchronous_commit'),
       (SELECT string_agg(name, ', ')
          FROM (VALUES ('echora_owner'), ('echora_catalogue'), ('echora_relay'),
                       ('echora_deadletters'), ('echora_reader')) AS wanted(name)
         WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name));
