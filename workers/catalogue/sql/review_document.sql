SELECT document::text FROM anime_document WHERE id = $1::uuid;
