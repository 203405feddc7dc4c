"""Publishers in a process of their own: mixed events at a rate, each repeated until the broker has it.

usage: load.py URL USER PASSWORD_FILE FOLDER SEED ANIME
  stdin   `rate N`: N events a second from now on; `more N`: N events at once; `stop`: no more, end when all are stored
  FOLDER  `inputs`: what the broker has acknowledged and deletions that were answered, one JSON object a line, as
          test/oracle.py reads them; beside a bad event stands the code of its dead letter. `sent`: how many were due
          and how many are there, and how long the last one took

Of 1,000 events about 180 are enriched, 50 come twice under another Nats-Msg-Id, 5 are bad, 10 are requests to delete or
to restore; the others are updates. Times are those of the clock up to half a minute ago, each another one.
"""
import asyncio
import base64
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parents[2])]

import nats  # noqa: E402

from chaos.chain import Events  # noqa: E402

AT_ONCE = 512  # publishes that wait for their acknowledgement
QUIET = b"_INBOX_"


class Mixed(Events):
    def __init__(self, seed, anime):
        super().__init__(seed, anime)
        self.made, self.known, self.last = 0, 0, []

    def event(self, name, **fields):
        message = self.classes[name](event_id=self.uuid(), **fields)
        micros = self.micros()
        message.timestamp.seconds, message.timestamp.nanos = micros // 1_000_000, micros % 1_000_000 * 1000
        return message

    def micros(self):
        """Even; those of requests are odd, for two at the same time on one anime have no order."""
        return (time.time_ns() // 1000 - self.random.randrange(30_000_000)) & ~1

    def bad(self):
        if self.random.random() < 0.5:
            return "decode", ("anime.enriched", b"\xff\xff%d" % self.made)
        subject, message = self.updated(self.random.randrange(len(self.anime)))
        message.event_id = f"no-uuid-{self.made}"
        return "bad-uuid", (subject, message.SerializeToString())

    def existence(self):
        micros = self.micros() + 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // 1_000_000)) + f".{micros % 1_000_000:06}Z"
        verb = self.random.choice(("delete", "restore"))
        body = {"animeId": self.random.choice(self.anime)[0], "asOf": at, "reason": "load", "actor": "load"}
        return f"catalog.anime.{verb}", json.dumps(body).encode()

    def next(self):
        """(kind, code of its dead letter or None, subject, Nats-Msg-Id, payload)."""
        self.made += 1
        code, draw, n = None, self.random.random(), len(self.anime)
        if self.known == n and draw < 0.01:
            return "request", None, *self.with_id(self.existence())
        if draw < 0.015:
            code, event = self.bad()
        elif draw < 0.065 and self.last:
            event = self.random.choice(self.last)
        else:
            if self.known < n:  # each of them once, so that nothing waits for what never comes
                subject, message = self.enriched(self.known)
                self.known += 1
            else:
                subject, message = (self.enriched if draw < 0.25 else self.updated)(self.random.randrange(n))
            event = subject, message.SerializeToString()
            self.last = [*self.last[-50:], event]
        return "event", code, *self.with_id(event)

    def with_id(self, event):
        return event[0], f"load-{self.made}", event[1]


class Publisher:
    def __init__(self, folder, mixed):
        self.mixed, self.folder = mixed, Path(folder)
        self.inputs = open(self.folder / "inputs", "w", encoding="utf-8")
        self.rate, self.due, self.since, self.more = 0, 0.0, time.monotonic(), 0
        self.begun = self.stored = 0
        self.took, self.stopping = 0.0, False

    async def send(self, kind, code, subject, ident, payload):
        began = time.monotonic()
        while not await self.tried(kind, subject, ident, payload):
            await asyncio.sleep(0.1 if kind == "event" else 2)
        self.took = time.monotonic() - began
        row = {"subject": subject, "payload": base64.b64encode(payload).decode(), "headers": {"Nats-Msg-Id": ident}}
        self.inputs.write(json.dumps(row | ({"code": code} if code else {})) + "\n")
        self.stored += 1

    async def tried(self, kind, subject, ident, payload):
        try:
            if kind == "event":
                await self.js.publish(subject, payload, headers={"Nats-Msg-Id": ident})
                return True
            reply = await self.nc.request(subject, payload, timeout=5, headers={"Content-Type": "application/json"})
            return (reply.headers or {}).get("Nats-Service-Error-Code") in (None, "superseded")
        except (nats.errors.Error, asyncio.TimeoutError, OSError):
            return False

    def now_due(self):
        now = time.monotonic()
        self.due += self.rate * (now - self.since)
        self.since = now
        return int(self.due) + self.more

    async def orders(self):
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self.now_due()
            word, *number = line.decode().split()
            if word == "rate":
                self.rate = float(number[0])
            elif word == "more":
                self.more += int(number[0])
            else:
                break
        self.rate, self.stopping = 0, True

    def tell(self):
        note = self.folder / "sent.new"
        note.write_text(json.dumps({"due": self.now_due(), "stored": self.stored, "took": self.took}))
        note.rename(self.folder / "sent")

    async def run(self, url, user, secret):
        async def quiet(_error):
            """Every failed publish is repeated."""
        self.nc = await nats.connect(url, user=user, password=secret, max_reconnect_attempts=-1, error_cb=quiet,
                                     reconnect_time_wait=0.1, inbox_prefix=QUIET + user.encode())
        self.js = self.nc.jetstream(timeout=5)
        orders, told, slots = asyncio.create_task(self.orders()), 0.0, {"event": set(), "request": set()}
        while not self.stopping or any(slots.values()) or self.begun < self.now_due():
            while self.begun < self.now_due() and len(slots["event"]) < AT_ONCE:
                kind, *what = self.mixed.next()
                task = asyncio.create_task(self.send(kind, *what))
                slots[kind].add(task)
                task.add_done_callback(slots[kind].discard)
                self.begun += 1
            if time.monotonic() > told + 0.1:
                self.tell()
                told = time.monotonic()
            await asyncio.sleep(0.005)
        await orders
        self.inputs.close()
        self.tell()


def main(url, user, secret, folder, seed, anime):
    publisher = Publisher(folder, Mixed(int(seed), int(anime)))
    asyncio.run(publisher.run(url, user, Path(secret).read_text().strip()))


if __name__ == "__main__":
    main(*sys.argv[1:])
