"""The relay that a careful Python user would write: the same algorithm as peers/go/relay.

Configuration: asyncpg and nats-py with uvloop; one connection; at most BATCH (500) rows a transaction, claimed in
order with FOR UPDATE SKIP LOCKED; publish_async with Nats-Msg-Id, all acknowledgements awaited, then DELETE and
commit. When there is nothing it looks again after 5 ms. Order holds as long as one runs.
"""
import asyncio
import os

import asyncpg
import nats
import uvloop

CLAIM = ("SELECT id, subject, event_id::text AS event, payload FROM bench_outbox ORDER BY id LIMIT $1 "
         "FOR UPDATE SKIP LOCKED")
DROP = "DELETE FROM bench_outbox WHERE id = ANY($1::bigint[])"
BATCH = int(os.environ.get("BATCH", "500"))


async def main():
    connection = await asyncpg.connect(os.environ["PG_URL"])
    nc = await nats.connect(os.environ["NATS_URL"])
    js = nc.jetstream(publish_async_max_pending=4 * BATCH)
    while True:
        async with connection.transaction():
            rows = await connection.fetch(CLAIM, BATCH)
            if rows:
                acks = [await js.publish_async(r["subject"], r["payload"], headers={"Nats-Msg-Id": r["event"]})
                        for r in rows]
                await asyncio.gather(*acks)
                await connection.execute(DROP, [r["id"] for r in rows])
        if not rows:
            await asyncio.sleep(0.005)


uvloop.run(main())
