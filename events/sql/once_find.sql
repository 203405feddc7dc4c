-- What was answered to key $1: whether request $2 is the same, the highest token so far, status and body. A higher token $3
-- of the same request becomes the highest.
WITH found AS (
    SELECT key, request = $2::bytea AS same, token, status, body FROM ops.kept_reply WHERE key = $1::bytea FOR UPDATE
), raised AS (
    UPDATE ops.kept_reply AS k SET token = $3::bigint FROM found AS f
     WHERE k.key = f.key AND f.same AND f.token < $3::bigint
)
SELECT same, token, status, body FROM found;
