"""The sender of webhooks that a careful Python user would write: nats-py, httpx, standardwebhooks, asyncpg.

Configuration: uvloop; pull of at most 16; CALLS (4) calls at once on kept connections; signed by the Standard Webhooks
library; one row per attempt, written together for each pull; acknowledged after that. No retries, no limits per
receiver.
"""
import asyncio
import datetime
import json
import os
import time

import asyncpg
import httpx
import nats
import nats.errors
import uvloop
from standardwebhooks.webhooks import Webhook

CALLS = int(os.environ.get("CALLS", "4"))
NOTE = "INSERT INTO public.bench_delivery (id, status, ms) VALUES ($1, $2, $3)"


async def main():
    connection = await asyncpg.connect(os.environ["PG_URL"])
    nc = await nats.connect(os.environ["NATS_URL"])
    sub = await nc.jetstream().pull_subscribe_bind(durable=os.environ["DURABLE"], stream=os.environ["STREAM"])
    client, places = httpx.AsyncClient(timeout=15), asyncio.Semaphore(CALLS)
    webhook = Webhook(open(os.environ["SECRET_FILE"], encoding="utf-8").read().strip())

    async def one(message):
        async with places:
            headers, now = message.headers, datetime.datetime.now(datetime.timezone.utc)
            id = headers["Nats-Msg-Id"]
            body = json.dumps({"type": "dead-letter.created", "timestamp": headers["Echora-Dlq-Failed-At"], "id": id,
                               "data": {"subject": headers["Echora-Dlq-Subject"],
                                        "error_type": headers["Echora-Dlq-Code"]}})
            began = time.monotonic()
            reply = await client.post(os.environ["URL"], content=body, headers={
                "content-type": "application/json", "webhook-id": id, "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": webhook.sign(id, now, body)})
            return id, reply.status_code, int((time.monotonic() - began) * 1000)
    while True:
        try:
            messages = await sub.fetch(16, timeout=1)
        except nats.errors.TimeoutError:
            continue
        rows = await asyncio.gather(*map(one, messages))
        await connection.executemany(NOTE, rows)
        for message in messages:
            await message.ack()


uvloop.run(main())
