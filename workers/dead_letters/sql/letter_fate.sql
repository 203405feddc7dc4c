-- What people did with a letter; no row: nothing.
SELECT state, attempts FROM ops.letter_fate WHERE id = $1::text;
