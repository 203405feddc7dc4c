"""The index worker that a careful Python user would write: nats-py, asyncpg, qdrant-client.

Configuration: uvloop; pull of at most BATCH (100) messages {"id": ...}; one SELECT of their rows; a dense vector by
feature hashing of the words with numpy, BM25 left to the index, as ours; one upsert with wait; acknowledged after
that. Every point is written whole each time, without a guard against older revisions.
"""
import json
import os
import zlib

import asyncpg
import nats
import nats.errors
import numpy
import uvloop
from qdrant_client import AsyncQdrantClient, models

READ = ("SELECT id::text, title, title_english, type, status, year, synopsis, revision, meta "
        "FROM catalog.anime WHERE id = ANY($1::uuid[])")
BATCH = int(os.environ.get("BATCH", "100"))
DIMENSION = int(os.environ["DIMENSION"])


def embed(text):
    vector = numpy.zeros(DIMENSION, dtype=numpy.float32)
    for word in text.lower().split():
        hashed = zlib.crc32(word.encode())
        vector[hashed % DIMENSION] += 1 if hashed & (1 << 31) else -1
    length = numpy.linalg.norm(vector)
    return (vector / length if length else vector + 1).tolist()


def point(row):
    text = " ".join(filter(None, (row["title"], row["title_english"], row["synopsis"])))
    payload = {"entity_type": "anime", "title": row["title"], "type": row["type"], "status": row["status"],
               "year": row["year"], "rev": row["revision"], "deleted": False, **json.loads(row["meta"])}
    vector = {"dense": embed(text), "bm25": models.Document(text=text, model="qdrant/bm25")}
    return models.PointStruct(id=row["id"], vector=vector, payload=payload)


async def main():
    connection = await asyncpg.connect(os.environ["PG_URL"])
    nc = await nats.connect(os.environ["NATS_URL"])
    client = AsyncQdrantClient(url=os.environ["QDRANT_URL"], timeout=60, check_compatibility=False)
    sub = await nc.jetstream().pull_subscribe_bind(durable=os.environ["DURABLE"], stream=os.environ["STREAM"])
    while True:
        try:
            messages = await sub.fetch(BATCH, timeout=1)
        except nats.errors.TimeoutError:
            continue
        rows = await connection.fetch(READ, list({json.loads(m.data)["id"] for m in messages}))
        await client.upsert(os.environ["COLLECTION"], [point(r) for r in rows], wait=True)
        for m in messages:
            await m.ack()


uvloop.run(main())
