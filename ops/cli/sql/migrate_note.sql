INSERT INTO ops.migration (number, name, checksum, took_ms)
VALUES ($1, $2, $3, $4);
