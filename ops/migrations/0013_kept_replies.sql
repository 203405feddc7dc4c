-- What was answered to requests with the header Echora-Idem, kept in the transaction of their effect.
--
-- Reason: the Command API remembers in Redis what it answered to an Idempotency-Key, and Redis may forget. With this row a
-- request that comes again finds its answer, whatever became of the first reply, and has no second effect.
CREATE TABLE ops.kept_reply (
    key     bytea       PRIMARY KEY CHECK (octet_length(key) = 32),
    subject text        NOT NULL,
    request bytea       NOT NULL CHECK (octet_length(request) = 32),
    token   bigint      NOT NULL CHECK (token > 0),
    status  int         NOT NULL,
    body    bytea       NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE ops.kept_reply IS 'replies by Echora-Idem, for 30 days';
COMMENT ON COLUMN ops.kept_reply.key IS 'SHA-256 of the Redis key, as in the header';
COMMENT ON COLUMN ops.kept_reply.request IS 'SHA-256 of subject and message: another request under the same key is refused';
COMMENT ON COLUMN ops.kept_reply.token IS 'the highest that asked; lower ones are of owners that lost their claim';
COMMENT ON COLUMN ops.kept_reply.status IS 'of HTTP; 0 inside the transaction of the effect';
COMMENT ON COLUMN ops.kept_reply.body IS 'the reply as protobuf';
CREATE INDEX kept_reply_age ON ops.kept_reply (kept_at);

GRANT USAGE ON SCHEMA ops TO echora_catalogue;
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.kept_reply TO echora_catalogue, echora_deadletters;
