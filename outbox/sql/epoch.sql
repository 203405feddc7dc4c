-- What the lane noted (NULLs when nothing yet), and what this database is now.
SELECT lane.system_identifier, lane.stream_created, control.system_identifier
FROM pg_control_system() AS control
LEFT JOIN outbox_lane AS lane ON lane.stream = $1::text
