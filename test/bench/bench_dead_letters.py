#!/usr/bin/env python3
"""Many dead letters: how fast they are indexed, listed, planned, replayed and discarded, and in how much memory.

usage: bench_dead_letters.py [--nats current|debian] [--letters N]

Letters of 1 KiB with 5 codes. Times of requests are those of a client on the same machine, JSON, 30 of each; replayed
events go to a consumer that nobody runs, so they are published and settled by nobody. Everything shares the machine.
"""
import argparse
import contextlib
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nats.errors

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from harness import fleet, servers  # noqa: E402
from harness.bus import Bus  # noqa: E402
from ops.fleet import system  # noqa: E402

REQUESTS = {
    "first page": ("dlq.list", {}),
    "first page, one code": ("dlq.list", {"filter": {"code": "code-3"}}),
    "first page, one entity": ("dlq.list", {"filter": {"entity": "entity-77"}}),
    "a page in the middle": ("dlq.list", {"cursor": "half"}),
    "groups": ("dlq.list", {"groupBy": "fingerprint"}),
    "groups, one consumer": ("dlq.list", {"groupBy": "fingerprint", "filter": {"consumer": "consumer-1"}}),
    "show": ("dlq.show", {"sequence": "half"}),
    "status": ("dlq.status", {}),
}


class Client:
    def __init__(self, server):
        self.bus, self.writer = Bus(server, "operator"), Bus(server, "deadletters")
        self.admin = Bus(server, "admin")

    def ask(self, subject, body):
        reply = self.bus.request(subject, json.dumps(body).encode(), timeout=600)
        assert "Nats-Service-Error-Code" not in (reply.headers or {}), reply.headers
        return json.loads(reply.data)

    def fill(self, letters):
        async def go(first, last):
            for n in range(first, last):
                consumer, code = f"consumer-{n % 2}", f"code-{n % 5}"
                await self.writer.nc.publish(f"anime.dlq.{consumer}", b"p" * 1024, headers={
                    "Nats-Msg-Id": f"ANIME_EVENTS:1:{consumer}:{n}", "Echora-Dlq-Stream": "ANIME_EVENTS",
                    "Echora-Dlq-Consumer": consumer, "Echora-Dlq-Subject": "anime.updated", "Echora-Dlq-Seq": str(n),
                    "Echora-Dlq-Class": "reject", "Echora-Dlq-Code": code, "Echora-Dlq-Fingerprint": f"{n % 5:016x}",
                    "Echora-Dlq-Reason": f"anime.year: out of range, at {n}", "Echora-Dlq-Entity": f"entity-{n % 1000}",
                    "Echora-Dlq-Failed-At": "2026-01-01T00:00:00Z", "Echora-Dlq-Worker": "bench", "Echora-Dlq-Hop": "0"})
            await self.writer.nc.flush(30)
        began = time.monotonic()
        for first in range(1, letters + 1, 4000):
            last = min(first + 4000, letters + 1)
            self.writer.wait(go(first, last), 300)
            self.until(lambda last=last: self.admin.stream("ANIME_DLQ").state.last_seq >= last - 1)
        print(f"wrote {letters} letters in {time.monotonic() - began:.0f} s", flush=True)

    @staticmethod
    def until(condition):
        """Waits for it; a machine that is busy with all this answers late at times."""
        while True:
            with contextlib.suppress(nats.errors.TimeoutError):
                if condition():
                    return
            time.sleep(0.2)

    def indexed(self):
        info = self.admin.consumer("ANIME_DLQ", "dlq-index")
        return info.num_pending == info.num_ack_pending == 0 and info.delivered.stream_seq == \
            self.admin.stream("ANIME_DLQ").state.last_seq

    def close(self):
        for bus in (self.bus, self.writer, self.admin):
            bus.close()


def timed_requests(client, letters):
    for name, (subject, body) in REQUESTS.items():
        body = {k: letters // 2 if v == "half" else v for k, v in body.items()}
        took = []
        for _ in range(30):
            began = time.monotonic()
            client.ask(subject, body)
            took.append((time.monotonic() - began) * 1000)
        print(f"{name:24} median {statistics.median(took):7.1f} ms, worst {max(took):7.1f} ms", flush=True)


class Spent:
    """CPU time of the servers and the worker since it was made: what a busy machine does not change."""

    def __init__(self, worker, nats, pg):
        self.of = {"worker": lambda: [worker.pid], "nats-server": lambda: [nats.pid], "PostgreSQL": pg.backends}
        self.before = {name: self.seconds(pids()) for name, pids in self.of.items()}

    @staticmethod
    def seconds(pids):
        total = 0
        for pid in pids:
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")

    def per(self, letters):
        spent = {name: (self.seconds(pids()) - self.before[name]) / letters * 1e6 for name, pids in self.of.items()}
        return "CPU per letter: " + ", ".join(f"{name} {us:.0f} us" for name, us in spent.items())


def timed_plan(client, servers_used, action, letters, **body):
    worker = servers_used[0]
    began = time.monotonic()
    plan = client.ask(f"dlq.{action}", {"dryRun": True, **body})["plan"]
    print(f"{action + ', dry run':24} {(time.monotonic() - began):7.2f} s for {plan['total']} letters")
    began, spent = time.monotonic(), Spent(*servers_used)
    client.ask(f"dlq.{action}", {"planId": plan["id"]})
    told = began

    def over():
        nonlocal told
        now = client.ask("dlq.status", {"planId": plan["id"]})["plans"][0]
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"{action + ' so far':24} {told - began:7.1f} s, {int(now.get('waiting', 0))} waiting", flush=True)
        return now["state"] == "done"
    client.until(over)
    took = time.monotonic() - began
    print(f"{action:24} {took:7.1f} s, {letters / took:.0f} letters/s, "
          f"worker at most {worker.memory('VmHWM') / 2**20:.0f} MiB; {spent.per(letters)}; "
          f"AUDIT holds {client.admin.stream('AUDIT').state.bytes / 2**20:.0f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nats", default="current", choices=("current", "debian"))
    parser.add_argument("--letters", type=int, default=100_000)
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="echora-bench-"))
    system.own(folder)
    folder.chmod(0o755)
    pg, broker = servers.Postgres(folder), servers.Nats(folder, args.nats)
    pg.start(timeout=60)
    broker.start()
    database = pg.database()
    worker = client = None
    try:
        fleet.Echora(nats=broker)("streams", "apply", user="admin")
        client = Client(broker)
        client.fill(args.letters)
        worker = fleet.Worker("dead-letters", folder, nats=broker, database=database, env={"ECHORA_LOG_LEVEL": "info"})
        began = time.monotonic()
        worker.start()
        client.until(client.indexed)
        print(f"indexed {args.letters} letters, {args.letters / (time.monotonic() - began):.0f} a second", flush=True)
        timed_requests(client, args.letters)
        used = worker, broker, pg
        timed_plan(client, used, "replay", args.letters, filter={})
        timed_requests(client, args.letters)
        timed_plan(client, used, "discard", args.letters, filter={"state": "replayed"})
    finally:
        for thing in (client and client.close, worker and worker.stop, broker.stop, pg.stop):
            if thing:
                thing()
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
