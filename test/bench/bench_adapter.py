#!/usr/bin/env python3
"""How many webhooks a second the event adapter delivers to a fast receiver on the same machine, and in how much memory.

usage: bench_adapter.py [--nats current|debian] [--letters N] [--calls N] [--latency MS] [--no-python]

Dead letters wait in the stream when the adapter starts. The receiver is one Python process without a framework; with
--latency it answers that much later. Beside it, in the same run, an ordinary sender in Python does the same work with
common libraries: pull (nats-py), sign (Standard Webhooks by hmac), POST (httpx, as many at once), one row per attempt
(psycopg), acknowledge; on a tenth of the letters. Everything shares the machine.
"""
import argparse
import asyncio
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from harness import fleet, receiver, servers  # noqa: E402
from harness.bus import Bus  # noqa: E402
from harness.process import eventually  # noqa: E402
from ops.fleet import system  # noqa: E402

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Fast(asyncio.Protocol):
    """Just enough HTTP: finds the end of each request by its Content-Length."""
    count, latency = None, 0.0

    def connection_made(self, transport):
        self.transport, self.data = transport, b""

    def data_received(self, data):
        self.data += data
        while True:
            end = self.data.find(b"\r\n\r\n")
            if end < 0:
                return
            at = self.data.lower().find(b"content-length: ", 0, end)
            size = int(self.data[at + 16:self.data.find(b"\r\n", at)])
            if len(self.data) < end + 4 + size:
                return
            self.data = self.data[end + 4 + size:]
            self.count.value += 1
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self.transport.write, ANSWER)
            else:
                self.transport.write(ANSWER)


def serve(port, count, latency):
    Fast.count, Fast.latency = count, latency

    async def go():
        server = await asyncio.get_running_loop().create_server(Fast, "127.0.0.1", port)
        await server.serve_forever()
    asyncio.run(go())


def fill(nats, letters):
    writer, admin = Bus(nats, "deadletters"), Bus(nats, "admin")

    async def go(first, last):
        for n in range(first, last):
            await writer.nc.publish("anime.dlq.catalog-updated", b"p" * 512, headers={
                "Nats-Msg-Id": f"ANIME_EVENTS:1:catalog-updated:{n}", "Echora-Dlq-Subject": "anime.updated",
                "Echora-Dlq-Code": "bad-uuid", "Echora-Dlq-Deliveries": "1", "Echora-Dlq-Fingerprint": "0123456789abcdef",
                "Echora-Dlq-Entity": "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10", "Echora-Dlq-Failed-At": "2026-01-01T00:00:00Z"})
        await writer.nc.flush(30)
    for first in range(1, letters + 1, 500):
        last = min(first + 500, letters + 1)
        writer.wait(go(first, last), 60)
        eventually(lambda last=last: admin.stream("ANIME_DLQ").state.last_seq >= last - 1, 60, "stored")
    writer.close()
    return admin


def python_sender(nats, database, url, secret, letters, calls):
    """The same work with common libraries; webhooks a second."""
    import httpx
    import nats as nats_py
    import psycopg

    async def go():
        nc = await nats_py.connect(nats.url, user="adapter", password=nats.passwords["adapter"],
                                   inbox_prefix=b"_INBOX_adapter")
        sub = await nc.jetstream().pull_subscribe_bind(
            durable="adapter-dlq", stream="ANIME_DLQ", inbox_prefix=b"_INBOX_adapter.")
        client, places = httpx.AsyncClient(timeout=15), asyncio.Semaphore(calls)

        async def one(message):
            async with places:
                id, stamp = message.headers["Nats-Msg-Id"], str(int(time.time()))
                body = json.dumps({"type": "dead-letter.created", "timestamp": message.headers["Echora-Dlq-Failed-At"], "id": id,
                                   "data": {"subject": message.headers["Echora-Dlq-Subject"],
                                            "error_type": message.headers["Echora-Dlq-Code"]}}).encode()
                began = time.time()
                reply = await client.post(url, content=body, headers={
                    "content-type": "application/json", "webhook-id": id, "webhook-timestamp": stamp,
                    "webhook-signature": receiver.signature(secret, id, stamp, body)})
                return message, id, reply.status_code, int((time.time() - began) * 1000)
        done, began = 0, time.monotonic()
        with psycopg.connect(database.url("postgres"), password=servers.Postgres.PASSWORD, autocommit=True) as connection:
            connection.execute("CREATE TABLE bench_delivery (id text, status int, ms int, at timestamptz DEFAULT now())")
            while done < letters:
                rows = await asyncio.gather(*(one(m) for m in await sub.fetch(16, timeout=5)))
                with connection.cursor() as cursor:
                    cursor.executemany("INSERT INTO bench_delivery (id, status, ms) VALUES (%s, %s, %s)", [r[1:] for r in rows])
                for message, *_ in rows:
                    await message.ack()
                done += len(rows)
        took = time.monotonic() - began
        await client.aclose()
        await nc.close()
        return done / took
    return asyncio.run(go())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nats", default="current", choices=("current", "debian"))
    parser.add_argument("--letters", type=int, default=20_000)
    parser.add_argument("--calls", type=int, default=4)
    parser.add_argument("--latency", type=float, default=0, metavar="MS")
    parser.add_argument("--no-python", action="store_true")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="echora-bench-"))
    system.own(folder)
    folder.chmod(0o755)
    pg, nats = servers.Postgres(folder), servers.Nats(folder, args.nats)
    pg.start(timeout=60)
    nats.start()
    database = pg.database()
    port, count = system.free_port(), multiprocessing.Value("q", 0, lock=False)
    target = multiprocessing.Process(target=serve, args=(port, count, args.latency / 1000), daemon=True)
    target.start()
    worker = admin = None
    try:
        fleet.Echora(nats=nats)("streams", "apply", user="admin")
        admin = fill(nats, args.letters)
        secret, file = receiver.new_secret(), folder / "secret"
        file.write_text(secret + "\n")
        file.chmod(0o644)
        url = f"http://127.0.0.1:{port}"
        worker = fleet.Worker("adapter", folder, nats=nats, database=database, env={
            "ECHORA_LOG_LEVEL": "info", "ECHORA_BASE_URL": url, "ECHORA_SECRET_FILES": file, "ECHORA_ALLOW_HTTP": "true",
            "ECHORA_ALLOW_NETWORKS": "127.0.0.0/8", "ECHORA_CALLS": args.calls})
        worker.start(wait=False)
        eventually(lambda: count.value > 0, 30, "first webhook")
        began, first, cpu = time.monotonic(), count.value, worker.cpu_seconds()
        eventually(lambda: count.value >= args.letters, 3600, "all webhooks")
        took = time.monotonic() - began
        cpu = worker.cpu_seconds() - cpu
        ours = (args.letters - first) / took
        eventually(lambda: admin.settled("ANIME_DLQ", "adapter-dlq"), 60, "settled")
        rows = database.one("SELECT count(*) FROM adapter.delivery WHERE class = 'delivered'")
        print(f"echora-adapter  {ours:7.0f} webhooks/s, {args.calls} calls at once, {args.latency:g} ms receiver; "
              f"{cpu / (args.letters - first) * 1e6:.0f} us CPU each; resident {worker.memory() / 2**20:.1f} MiB, "
              f"at most {worker.memory('VmHWM') / 2**20:.1f}; called {count.value}, recorded {rows}", flush=True)
        worker.stop()
        if not args.no_python:
            admin.wait(admin.js.delete_consumer("ANIME_DLQ", "adapter-dlq"))
            fleet.Echora(nats=nats)("streams", "apply", user="admin")  # made anew: it begins at the first letter
            theirs = python_sender(nats, database, url, secret, args.letters // 10, args.calls)
            print(f"Python sender   {theirs:7.0f} webhooks/s with the same number at once: "
                  f"{ours / theirs:.1f} times fewer than the adapter", flush=True)
    finally:
        for thing in (worker and worker.alive() and worker.stop, admin and admin.close, target.terminate, nats.stop, pg.stop):
            if thing:
                thing()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
