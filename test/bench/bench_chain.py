#!/usr/bin/env python3
"""The chain over the real snapshot, step by step and as a whole: rates, CPU seconds, peak memory.

usage: bench_chain.py [--nats current|debian] [--json FILE]

Steps: publish (echora import), writer (all events committed), relay (all rows on the stream), sync (all
points in Qdrant), each with the others stopped; then everything at once on empty servers. Servers and
workers share the machine, as they do in development. Nothing is asserted: figures are for people.
"""
import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from harness import fleet, servers  # noqa: E402
from harness.settings import data_folder  # noqa: E402
from ops.fleet import system  # noqa: E402

TICKS = os.sysconf("SC_CLK_TCK")


def family(pid):
    """The process and everything below it, now."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo.extend(children.get(found[-1], []))
    return found


def cpu_seconds(pid):
    """User and system time of a process, its children that live, and those that it waited for."""
    total = 0
    for member in family(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += sum(int(f) for f in fields[11:15])
    return total / TICKS


class Rig:
    """Servers and workers; `during` measures a step."""

    def __init__(self, which):
        self.folder = Path(tempfile.mkdtemp(prefix="echora-bench-"))
        system.own(self.folder)
        self.folder.chmod(0o755)
        self.pg = servers.Postgres(self.folder)
        self.nats = servers.Nats(self.folder, which)
        self.qdrant = servers.Qdrant(self.folder)
        for server in (self.pg, self.nats, self.qdrant):
            server.start(timeout=60)
        self.db = self.pg.database()
        self.echora = fleet.Echora(nats=self.nats, database=self.db, qdrant=self.qdrant)
        self.echora("streams", "apply", user="admin")
        self.workers = {}

    def worker(self, kind):
        worker = fleet.Worker(kind, self.folder, nats=self.nats, database=self.db, qdrant=self.qdrant,
                              env={"ECHORA_LOG_LEVEL": "warn"}, name=kind)
        worker.start(timeout=30)
        self.workers[kind] = worker

    def processes(self):
        return {"postgres": self.pg, "nats-server": self.nats, "qdrant front": self.qdrant, **self.workers}

    def streams(self):
        accounts = self.nats.get("/jsz?streams=true&consumers=true&accounts=true")["account_details"]
        return {s["name"]: s for a in accounts for s in a["stream_detail"]}

    def handled(self, stream):
        return all(c["num_pending"] == 0 and c["num_ack_pending"] == 0
                   for c in self.streams()[stream].get("consumer_detail") or [])

    def rows(self):
        return self.db.one("SELECT count(*) FROM outbox")

    def relayed(self):
        return self.streams()["ANIME_SYNC"]["state"]["last_seq"]

    def points(self):
        status, reply = self.qdrant.call("POST", "/collections/anime_database/points/count", {"exact": True})
        return reply["result"]["count"] if status == 200 else 0

    def during(self, title, act, until, limit=300):
        cpu = {name: cpu_seconds(p.pid) for name, p in self.processes().items()}
        start = time.monotonic()
        act()
        while not until():
            if time.monotonic() - start > limit:
                raise SystemExit(f"{title}: not done after {limit} s")
            time.sleep(0.05)
        wall = time.monotonic() - start
        spent = {name: cpu_seconds(p.pid) - cpu.get(name, 0) for name, p in self.processes().items()}
        return {"step": title, "wall_s": wall, "cpu_s": spent,
                "peak_mb": {name: w.memory("VmHWM") / 1e6 for name, w in self.workers.items()}}

    def close(self):
        for worker in self.workers.values():
            worker.stop()
        for server in (self.qdrant, self.nats):
            server.stop()
        self.pg.stop(number=2)
        shutil.rmtree(self.folder, ignore_errors=True)


def show(row, n):
    row["events"], row["events_per_s"] = n, n / row["wall_s"]
    row["cpu_s_per_million"] = {k: v * 1e6 / n for k, v in row["cpu_s"].items() if v > 0.005}
    print(f"{row['step']:32}{row['wall_s']:8.1f} s {row['events_per_s']:10,.0f}/s   CPU s: "
          + ", ".join(f"{k} {v:.1f}" for k, v in row["cpu_s"].items() if v > 0.005)
          + "   peak MB: " + ", ".join(f"{k} {v:.1f}" for k, v in row["peak_mb"].items()), flush=True)
    return row


def stepwise(which, file):
    rig = Rig(which)
    try:
        rows = []
        rows.append(rig.during("publish", lambda: rig.echora("import", "manami", file, timeout=300), lambda: True))
        n = rig.streams()["ANIME_EVENTS"]["state"]["messages"]
        rows.append(rig.during("writer", lambda: rig.worker("catalogue"), lambda: rig.handled("ANIME_EVENTS")))
        rows.append(rig.during("relay", lambda: rig.worker("relay"), lambda: rig.relayed() == n))
        rows.append(rig.during("sync", lambda: rig.worker("qdrant"),
                               lambda: rig.points() == n and rig.handled("ANIME_SYNC")))
        return [show(row, n) for row in rows]
    finally:
        rig.close()


def whole(which, file):
    rig = Rig(which)
    try:
        for kind in ("catalogue", "relay", "qdrant"):
            rig.worker(kind)
        marks = {}

        def indexed():
            n = rig.streams()["ANIME_EVENTS"]["state"]["messages"]
            if "relayed" not in marks and n and rig.handled("ANIME_EVENTS") and rig.relayed() == n:
                marks["relayed"] = time.monotonic() - start
            return "relayed" in marks and rig.points() == n and rig.handled("ANIME_SYNC")
        start = time.monotonic()
        row = rig.during("whole chain", lambda: rig.echora("import", "manami", file, timeout=300), indexed)
        row["relayed_s"] = marks["relayed"]
        n = rig.streams()["ANIME_EVENTS"]["state"]["messages"]
        show(row, n)
        print(f"{'':32}committed and relayed after {row['relayed_s']:.1f} s, indexed after {row['wall_s']:.1f} s")
        return row
    finally:
        rig.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nats", choices=("current", "debian"), default="current")
    parser.add_argument("--json")
    args = parser.parse_args()
    data = data_folder()
    if not data:
        print("no real catalogue data beside the checkout: nothing measured")
        return
    file = str(next(data.glob("anime-offline-database_*.jsonl.zst")))
    rows = [*stepwise(args.nats, file), whole(args.nats, file)]
    if args.json:
        Path(args.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
