-- Webhooks: what receivers said, and what people did.
--
-- Reason: an operator saw that a receiver refused, not why; its message stood in the receiver's own log alone. And
-- test, replay and enable are acts of people: who and when belongs into the log.
ALTER TABLE adapter.delivery
    ADD asked_by text NOT NULL DEFAULT '',
    ADD answer   text NOT NULL DEFAULT '' CHECK (octet_length(answer) <= 256);
COMMENT ON COLUMN adapter.delivery.trigger IS
    'event: by itself, as often as the schedule says; test, replay: a person asked for this one call';
COMMENT ON COLUMN adapter.delivery.asked_by IS 'who, as the request said; empty when it did not, and for event';
COMMENT ON COLUMN adapter.delivery.answer IS
    'the beginning of what the receiver said, unless it took the webhook: printable ASCII, other bytes as dots, secrets and signatures as asterisks';
GRANT INSERT (asked_by, answer) ON adapter.delivery TO echora_adapter;

CREATE TABLE adapter.route_change (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route      text        NOT NULL,
    enabled    boolean     NOT NULL,
    reason     text        NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    changed_by text        NOT NULL
);
COMMENT ON TABLE adapter.route_change IS
    'when a route was disabled, and each time that a person enabled it; insert-only, kept as long as attempts';
GRANT SELECT, DELETE, INSERT (route, enabled, reason, changed_by) ON adapter.route_change TO echora_adapter;
