-- Letters that wait for somebody, by what went wrong; the most frequent first.
SELECT class, code, sum(letters)::bigint FROM ops.letter_count
 WHERE state = 'open' AND NOT parked GROUP BY class, code ORDER BY 3 DESC, 1, 2 LIMIT 200;
