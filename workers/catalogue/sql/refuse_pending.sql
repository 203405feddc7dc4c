-- Updates whose entity has come and would not have them: dead letters are due.
UPDATE pending_update AS p SET refused_code = n.code, refused_reason = n.reason
  FROM unnest($1::text[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[])
       AS n(consumer, event_id, event_time, code, reason)
 WHERE p.event_id = n.event_id AND p.consumer = n.consumer
   AND p.event_day = (n.event_time AT TIME ZONE 'UTC')::date;
