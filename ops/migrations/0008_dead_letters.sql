-- The index of dead letters, plans of replays and discards, and what became of each letter.
--
-- Reason: ANIME_DLQ holds the letters whole, but a stream can't be filtered or grouped. The index is made from the
-- stream alone and may be deleted at any time: without ops.letter, and with the consumer dlq-index made anew, it
-- fills again with the same content. What people did with letters stands in ops.letter_fate, which is made from the
-- records on audit.dlq (stream AUDIT) in the same way.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'echora_deadletters') THEN
        RAISE EXCEPTION 'missing roles: echora_deadletters'
            USING HINT = 'Run ops/postgres/roles.sql as superuser first.';
    END IF;
END
$$;

-- One row per failure: id is the letter's Nats-Msg-Id, dlq_seq its place in ANIME_DLQ.
CREATE TABLE ops.letter (
    id          text        PRIMARY KEY,
    dlq_seq     bigint      NOT NULL UNIQUE,
    stream      text        NOT NULL,
    consumer    text        NOT NULL,
    subject     text        NOT NULL,
    stream_seq  bigint      NOT NULL,
    class       text        NOT NULL,
    code        text        NOT NULL,
    reason      text        NOT NULL,
    fingerprint text        NOT NULL,
    entity      text        NOT NULL,
    worker      text        NOT NULL,
    hop         int         NOT NULL,
    deliveries  int         NOT NULL,
    size        int         NOT NULL,
    parked      boolean     NOT NULL,
    replay_id   text        NOT NULL,
    first_seen  timestamptz NOT NULL,
    failed_at   timestamptz NOT NULL,
    state       text        NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'replayed', 'discarded')),
    attempts    int         NOT NULL DEFAULT 0
);
COMMENT ON TABLE ops.letter IS 'the index of ANIME_DLQ, made from the stream';
COMMENT ON COLUMN ops.letter.replay_id IS 'of the replay whose event failed with this letter; empty for a first failure';
COMMENT ON COLUMN ops.letter.attempts IS 'replays so far; the next one has Nats-Msg-Id <id>:r<attempts + 1>';
CREATE INDEX letter_group ON ops.letter (fingerprint, state, parked, dlq_seq);
CREATE INDEX letter_entity ON ops.letter (entity, dlq_seq);
CREATE INDEX letter_replay ON ops.letter (replay_id, stream, stream_seq) WHERE replay_id <> '';

-- How many letters failed alike, kept beside the index by triggers: counting a hundred thousand takes too long for a
-- first look.
CREATE TABLE ops.letter_count (
    fingerprint text    NOT NULL,
    consumer    text    NOT NULL,
    class       text    NOT NULL,
    code        text    NOT NULL,
    state       text    NOT NULL,
    parked      boolean NOT NULL,
    letters     bigint  NOT NULL,
    PRIMARY KEY (fingerprint, consumer, class, code, state, parked)
);
CREATE FUNCTION ops.letter_count_keep() RETURNS trigger
    LANGUAGE plpgsql
    SECURITY DEFINER
    SET search_path = ops
AS $keep$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM letter_count;
        RETURN NULL;
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        UPDATE letter_count AS c SET letters = c.letters - gone.letters
          FROM (SELECT fingerprint, consumer, class, code, state, parked, count(*) AS letters FROM before
                 GROUP BY 1, 2, 3, 4, 5, 6) AS gone
         WHERE (c.fingerprint, c.consumer, c.class, c.code, c.state, c.parked)
             = (gone.fingerprint, gone.consumer, gone.class, gone.code, gone.state, gone.parked);
    END IF;
    IF TG_OP IN ('UPDATE', 'INSERT') THEN
        INSERT INTO letter_count AS c
        SELECT fingerprint, consumer, class, code, state, parked, count(*) FROM after
         GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
        ON CONFLICT (fingerprint, consumer, class, code, state, parked)
        DO UPDATE SET letters = c.letters + excluded.letters;
    END IF;
    IF TG_OP IN ('UPDATE', 'DELETE') THEN
        DELETE FROM letter_count WHERE letters = 0;
    END IF;
    RETURN NULL;
END
$keep$;
CREATE TRIGGER count_new AFTER INSERT ON ops.letter REFERENCING NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION ops.letter_count_keep();
CREATE TRIGGER count_changed AFTER UPDATE ON ops.letter REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION ops.letter_count_keep();
CREATE TRIGGER count_gone AFTER DELETE ON ops.letter REFERENCING OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION ops.letter_count_keep();
CREATE TRIGGER count_none AFTER TRUNCATE ON ops.letter FOR EACH STATEMENT EXECUTE FUNCTION ops.letter_count_keep();

-- Outlives the index.
CREATE TABLE ops.letter_fate (
    id         text        PRIMARY KEY,
    state      text        NOT NULL,
    attempts   int         NOT NULL,
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE ops.letter_fate IS 'what people did with dead letters, as recorded on audit.dlq';

-- Which ANIME_DLQ the index is of: another creation time is another stream, with sequences of its own.
CREATE TABLE ops.letter_stream (
    single  boolean PRIMARY KEY DEFAULT true CHECK (single),
    created text    NOT NULL
);

CREATE TABLE ops.replay_plan (
    id          uuid        PRIMARY KEY,
    action      text        NOT NULL CHECK (action IN ('replay', 'discard')),
    state       text        NOT NULL CHECK (state IN ('planned', 'running', 'stopped', 'done')),
    actor       text        NOT NULL,
    filter      text        NOT NULL,
    reason      text        NOT NULL DEFAULT '',
    rate        int         NOT NULL,
    canary      boolean     NOT NULL,
    max_failure int         NOT NULL,
    wait_s      int         NOT NULL,
    total       bigint      NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    slice_at    timestamptz NOT NULL DEFAULT now(),
    searched    bigint      NOT NULL DEFAULT 0
);
COMMENT ON COLUMN ops.replay_plan.slice_at IS 'when letters of this plan were last sent; rate counts from there';

-- The exact list of a plan. An outcome is empty until the letter's turn, "sent" until it is known what became of the
-- event, then done or failed; before that "enqueued" while the relay has not published it (sent_seq is the first place
-- in its stream where it can be); or skipped (somebody else has dealt with the letter), gone (it is no longer in the stream),
-- discarded.
CREATE TABLE ops.replay_item (
    plan     uuid   NOT NULL REFERENCES ops.replay_plan ON DELETE CASCADE,
    dlq_seq  bigint NOT NULL,
    id       text   NOT NULL,
    attempt  int    NOT NULL,
    was      text   NOT NULL,
    consumer text   NOT NULL,
    stream   text   NOT NULL,
    entity   text   NOT NULL,
    outcome  text   NOT NULL DEFAULT '',
    code     text   NOT NULL DEFAULT '',
    sent_seq bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (plan, dlq_seq)
);
CREATE INDEX replay_item_waiting ON ops.replay_item (plan, dlq_seq) WHERE outcome = '';
CREATE INDEX replay_item_enqueued ON ops.replay_item (plan, entity) WHERE outcome = 'enqueued';
CREATE INDEX replay_item_sent ON ops.replay_item (plan, dlq_seq) WHERE outcome IN ('sent', 'enqueued');

GRANT USAGE ON SCHEMA ops TO echora_deadletters;
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.letter, ops.letter_fate, ops.letter_stream, ops.replay_plan, ops.replay_item
    TO echora_deadletters;
GRANT SELECT ON ops.letter_count TO echora_deadletters;
