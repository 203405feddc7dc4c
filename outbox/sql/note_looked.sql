-- Notes that snapshot $2 shows no row of the stream behind batch $3. A lost note costs a longer look: nobody waits for the disk.
UPDATE outbox_lane SET looked = $2::pg_snapshot, looked_batch = $3::bigint
WHERE stream = $1::text AND set_config('synchronous_commit', 'off', true) = 'off'
