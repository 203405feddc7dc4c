-- A waiting update that is refused when its entity comes says so at once.
--
-- Reason: it kept its place until its time was over and became a dead letter as if the entity had never come
-- (expired, unknown-entity), a week late and with the wrong code. The refusal is noted in the transaction that
-- brings the entity; the dead letter follows, then the row and its inbox row go.
ALTER TABLE catalog.pending_update ADD refused_code text, ADD refused_reason text;
COMMENT ON COLUMN catalog.pending_update.refused_code IS
    'why its entity would not have it: a dead letter is due; null while it waits';
CREATE INDEX pending_update_refused ON catalog.pending_update (received_at) WHERE refused_code IS NOT NULL;
