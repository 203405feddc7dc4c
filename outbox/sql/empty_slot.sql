-- Empties one slot of schema $1 whose rows are published and older than $2 seconds.
SELECT ops.outbox_empty_slot($1::text::name, make_interval(secs => $2::bigint::double precision))
