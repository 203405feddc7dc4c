-- What the notes about a relay's batches are now; nothing else changes.
--
-- Reason: storing a batch's bounds before its first publish cost every event a wait for the disk. The first message of a
-- small batch carries them instead (header Echora-Batch), and they are stored when it is acknowledged. A relay that finds
-- the stream one batch ahead takes them from there. (0002 still says otherwise of outboxes that are made later.)
-- A relay from before this change refuses such a stream, and must not run beside a newer one: stop all of the old ones
-- first, and go back only after a clean stop.
COMMENT ON TABLE catalog.outbox_batch IS
    'bounds of the relay''s batches; the stream may be one small batch ahead, whose first message carries them';
