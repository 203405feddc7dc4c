-- Nothing came of it: key $1 is free again, in the transaction that has taken it.
DELETE FROM ops.kept_reply WHERE key = $1::bytea AND status = 0;
