"""The consumer that a careful Python user would write: the same as peers/go/writer.

Configuration: asyncpg and nats-py with uvloop; two workers with a connection each; pull of at most BATCH (100); per
batch one transaction of two statements over arrays: an INSERT of all inbox rows that tells which were new, an upsert
of those; acknowledged after the commit.
"""
import asyncio
import os

import asyncpg
import nats
import nats.errors
import uvloop

NOTE = "INSERT INTO bench_inbox (event_id) SELECT unnest($1::text[]) ON CONFLICT DO NOTHING RETURNING event_id"
SAVE = ("INSERT INTO bench_item (id, data, rev) "
        "SELECT id, data, 1 FROM unnest($1::text[], $2::bytea[]) AS new (id, data) "
        "ON CONFLICT (id) DO UPDATE SET data = excluded.data, rev = bench_item.rev + 1")
BATCH = int(os.environ.get("BATCH", "100"))
WORKERS = int(os.environ.get("WORKERS", "2"))


async def work():
    connection = await asyncpg.connect(os.environ["PG_URL"])
    nc = await nats.connect(os.environ["NATS_URL"])
    sub = await nc.jetstream().pull_subscribe_bind(durable=os.environ["DURABLE"], stream=os.environ["STREAM"])
    while True:
        try:
            messages = await sub.fetch(BATCH, timeout=1)
        except nats.errors.TimeoutError:
            continue
        async with connection.transaction():
            rows = await connection.fetch(NOTE, [m.headers["Nats-Msg-Id"] for m in messages])
            new = {r["event_id"] for r in rows}
            # The newest of each entity: one statement can't touch a row twice.
            last = {m.headers["Bench-Entity"]: m.data for m in messages if m.headers["Nats-Msg-Id"] in new}
            await connection.execute(SAVE, list(last), list(last.values()))
        for m in messages:
            await m.ack()


async def main():
    await asyncio.gather(*(work() for _ in range(WORKERS)))


uvloop.run(main())
