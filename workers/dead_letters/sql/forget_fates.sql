-- Fates of letters that no stream can hold any more, a part at a time.
DELETE FROM ops.letter_fate
 WHERE id = ANY (ARRAY(SELECT id FROM ops.letter_fate WHERE changed_at < now() - interval '62 days' LIMIT 5000));
