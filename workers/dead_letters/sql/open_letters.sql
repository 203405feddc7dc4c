-- Letters that wait for somebody, by consumer, class and code, the most first.
SELECT consumer, class, code, sum(letters)::bigint FROM ops.letter_count WHERE state = 'open' AND NOT parked
 GROUP BY consumer, class, code ORDER BY 4 DESC, consumer, class, code LIMIT 200;
