SELECT count(*) FILTER (WHERE state = 'open' AND NOT parked), count(*) FILTER (WHERE state = 'open' AND parked),
       count(*) FILTER (WHERE state = 'replayed'), count(*) FILTER (WHERE state = 'discarded'),
       min(failed_at) FILTER (WHERE state = 'open' AND NOT parked)
  FROM ops.letter;
