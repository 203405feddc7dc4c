SELECT stream, stream_seq FROM adapter.delivery
 WHERE webhook_id = $2 AND route = $1 AND trigger <> 'test' ORDER BY id DESC LIMIT 1
