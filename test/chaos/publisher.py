"""A publisher that may be killed at any moment: it sends the events of a file in order, notes behind each handful how
far it came, and begins there when it is started again. Nats-Msg-Id makes what it sends again harmless.

usage: publisher.py EVENTS NOTES URL USER PASSWORD_FILE
  EVENTS  lines of [subject, Nats-Msg-Id, payload in base64]
  NOTES   folder with `limit`, the number of events that may be sent so far, and `sent`, which this program writes
"""
import asyncio
import base64
import json
import sys
from pathlib import Path

import nats

HANDFUL = 16


async def send(js, events):
    for subject, ident, payload in events:
        while True:
            try:
                await js.publish(subject, base64.b64decode(payload), headers={"Nats-Msg-Id": ident})
                break
            except (nats.errors.Error, OSError):
                await asyncio.sleep(0.05)


async def quiet(error):
    """Every failed publish is repeated."""


async def connect(url, user, password):
    while True:
        try:
            return await nats.connect(url, user=user, password=password, max_reconnect_attempts=-1, error_cb=quiet,
                                      reconnect_time_wait=0.05, inbox_prefix=f"_INBOX_{user}".encode())
        except (nats.errors.Error, OSError):
            await asyncio.sleep(0.05)


async def main(events, notes, url, user, secret):
    js = (await connect(url, user, Path(secret).read_text().strip())).jetstream(timeout=1)
    rows = [json.loads(line) for line in Path(events).read_text().splitlines()]
    limit, sent = Path(notes) / "limit", Path(notes) / "sent"
    at = int(sent.read_text() or 0) if sent.exists() else 0
    while True:
        until = min(int(limit.read_text() or 0), at + HANDFUL, len(rows))
        if until <= at:
            await asyncio.sleep(0.005)
            continue
        await send(js, rows[at:until])
        at = until
        (sent.with_suffix(".new")).write_text(str(at))
        sent.with_suffix(".new").rename(sent)


asyncio.run(main(*sys.argv[1:]))
