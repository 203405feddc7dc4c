-- Decisions on risky updates: what was decided, by whom, and what newer values left to decide.
--
-- Reason: parked updates could be seen but not decided (flow A5). A decision is an event: decision_id stands in the
-- inbox, too, and asking again with it gives the answer that this row holds.
INSERT INTO catalog.review_state VALUES ('expired');
INSERT INTO catalog.inbox_outcome VALUES ('rejected');

ALTER TABLE catalog.update_review
    ADD superseded_fields text[] NOT NULL DEFAULT '{}',
    ADD superseded_by uuid,
    ADD decision_id uuid UNIQUE,
    ADD revision bigint NOT NULL DEFAULT 0,
    ADD reminder_id uuid UNIQUE,
    ADD reminded_at timestamptz;
COMMENT ON COLUMN catalog.update_review.fields IS 'those parked; open are those that are not superseded';
COMMENT ON COLUMN catalog.update_review.superseded_fields IS
    'those for which the catalogue holds a newer value: the order rule would not let them in any more';
COMMENT ON COLUMN catalog.update_review.superseded_by IS 'the newest event that holds one of them';
COMMENT ON COLUMN catalog.update_review.revision IS 'of the anime after the decision; 0 = undecided';
COMMENT ON COLUMN catalog.update_review.reminder_id IS 'event id of the second flagged copy; null = not sent';
CREATE INDEX update_review_listed ON catalog.update_review (created_at, review_id);
CREATE INDEX update_review_anime ON catalog.update_review (anime_id, created_at);
CREATE INDEX update_review_waiting ON catalog.update_review (created_at) WHERE state = 'pending';
CREATE INDEX update_review_unreminded ON catalog.update_review (created_at) WHERE state = 'pending' AND reminder_id IS NULL;

-- What happened after it was parked; insert-only.
CREATE TABLE catalog.review_step (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    review_id       uuid NOT NULL,
    step            text NOT NULL,
    actor           text NOT NULL DEFAULT '',
    event_id        uuid,
    fields          text[] NOT NULL DEFAULT '{}',
    note            text NOT NULL DEFAULT '',
    at              timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX review_step_review ON catalog.review_step (review_id, id);
COMMENT ON COLUMN catalog.review_step.step IS 'superseded, reminded, approved, rejected or expired';

GRANT SELECT, INSERT (review_id, step, actor, event_id, fields, note) ON catalog.review_step TO echora_catalogue;

-- A review as requests read it; lists as text (field names hold no comma, reasons no record separator).
CREATE VIEW catalog.review AS
    SELECT r.review_id, r.event_id, r.anime_id, r.event_time, array_to_string(r.fields, ',') AS fields,
           array_to_string(r.superseded_fields, ',') AS superseded_fields,
           array_to_string(r.reasons, E'\x1e') AS reasons, r.superseded_by, r.state, r.created_at, r.decided_at,
           coalesce(r.decided_by, '') AS decided_by, coalesce(r.decision_note, '') AS note, r.decision_id, r.revision,
           coalesce(a.title, '') AS title, coalesce(a.revision, 0) AS stands_at, r.reasons AS reason_list, r.payload
      FROM catalog.update_review r LEFT JOIN catalog.anime a ON a.id = r.anime_id;
GRANT SELECT ON catalog.review TO echora_catalogue;
