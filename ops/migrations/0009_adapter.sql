-- The event adapter: its log of attempts and the state of its routes.
--
-- Reason: what has not been delivered lies in the streams; this schema says what was tried, and which routes a
-- receiver has closed. Losing it loses no event. A schema and a role of its own: the adapter reads no catalogue.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'echora_adapter') THEN
        RAISE EXCEPTION 'missing roles: echora_adapter'
            USING HINT = 'Run ops/postgres/roles.sql as superuser first.';
    END IF;
END
$$;

CREATE SCHEMA adapter;
COMMENT ON SCHEMA adapter IS 'The event adapter: attempts of webhooks and the state of its routes.';
REVOKE ALL ON SCHEMA adapter FROM PUBLIC;
GRANT USAGE ON SCHEMA adapter TO echora_adapter, echora_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA adapter GRANT SELECT ON TABLES TO echora_reader;

CREATE TABLE adapter.delivery (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    webhook_id  uuid        NOT NULL,
    route       text        NOT NULL,
    attempt     int         NOT NULL,
    trigger     text        NOT NULL CHECK (trigger IN ('event', 'test', 'replay')),
    stream      text        NOT NULL,
    stream_seq  bigint      NOT NULL,
    started_at  timestamptz NOT NULL,
    ms          bigint      NOT NULL,
    status      int         NOT NULL,
    error       text        NOT NULL,
    class       text        NOT NULL,
    next_try_at timestamptz
);
COMMENT ON TABLE adapter.delivery IS 'one row per call of a receiver; kept for a time, and no more than so many';
COMMENT ON COLUMN adapter.delivery.webhook_id IS 'header webhook-id: the same at every attempt and replay of an event';
COMMENT ON COLUMN adapter.delivery.status IS 'of the answer; 0 = none, then error says why';
COMMENT ON COLUMN adapter.delivery.class IS 'delivered, refused, auth, misconfigured, trouble or gone';
COMMENT ON COLUMN adapter.delivery.next_try_at IS 'about; empty when this was the last one';
CREATE INDEX delivery_webhook ON adapter.delivery (webhook_id);

CREATE TABLE adapter.route (
    route      text        PRIMARY KEY,
    enabled    boolean     NOT NULL,
    reason     text        NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text        NOT NULL
);
COMMENT ON TABLE adapter.route IS 'routes that were ever disabled; a route without a row is enabled';

GRANT SELECT, DELETE ON adapter.delivery TO echora_adapter;
GRANT INSERT (webhook_id, route, attempt, trigger, stream, stream_seq, started_at, ms, status, error, class, next_try_at)
    ON adapter.delivery TO echora_adapter;
GRANT SELECT, INSERT, UPDATE ON adapter.route TO echora_adapter;
