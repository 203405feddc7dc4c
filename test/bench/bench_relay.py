#!/usr/bin/env python3
"""The relay alone: drain of a backlog, latency from commit to arrival, cost of idling.

usage: bench_relay.py [--nats current|debian] [--rows N] [--runs N] [--no-latency] [--no-check]

Rows of 300 bytes over 1,000 entities, 100 rows a transaction, filled before the relay starts; the rate is that of
the stream's own time stamps, first to last message. Everything shares the machine. The check holds every message
against the table (test/harness/outbox.py). The nats-server here asks for no passwords, because the latency's
receiver listens to a subject that nobody may hear in production.
"""
import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from harness import fleet, outbox, servers  # noqa: E402
from harness.bus import Bus  # noqa: E402
from harness.process import eventually  # noqa: E402
from harness.settings import BUILD  # noqa: E402
from ops.fleet import system  # noqa: E402

FILL = """
    INSERT INTO catalog.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload)
    SELECT 'ANIME_SYNC', 'anime.synced', 'anime', md5((i %% 1000)::text)::uuid, gen_random_uuid(), %s,
           decode(repeat(md5(i::text), 19), 'hex')::bytea
    FROM generate_series(1::int, 100) AS i"""


class OpenNats(servers.Nats):
    def __init__(self, folder, which):
        super().__init__(folder, which)
        conf = Path(self.argv[-1])
        text = conf.read_text()
        conf.write_text(text[:text.index("authorization {")])


def stored_at(bus, sequence):
    """When the stream took this message, seconds since 1970."""
    reply = bus.request("$JS.API.STREAM.MSG.GET.ANIME_SYNC", json.dumps({"seq": sequence}).encode())
    base, _, rest = json.loads(reply.data)["message"]["time"].rstrip("Z").partition(".")
    moment = datetime.datetime.fromisoformat(base).replace(tzinfo=datetime.timezone.utc)
    return moment.timestamp() + float("0." + (rest or "0"))


class Rig:
    def __init__(self, which):
        self.folder = Path(tempfile.mkdtemp(prefix="echora-bench-"))
        system.own(self.folder)
        self.folder.chmod(0o755)
        self.pg = servers.Postgres(self.folder)
        self.nats = OpenNats(self.folder, which)
        self.pg.start(timeout=60)
        self.nats.start()
        self.workers = []

    def close(self):
        for worker in self.workers:
            if worker.alive():
                worker.stop()
        self.nats.stop()
        self.pg.stop(number=2)
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh(self):
        bus = Bus(self.nats, "admin")
        bus.delete_streams()
        self.db = self.pg.database()
        fleet.Echora(nats=self.nats, database=self.db)("streams", "apply", user="admin")
        return bus

    def relay(self, **env):
        worker = fleet.Worker("relay", self.folder, nats=self.nats, database=self.db,
                              env=dict({"ECHORA_LOG_LEVEL": "warn"}, **env))
        self.workers.append(worker)
        return worker

    def server_cpu(self):
        out = {"nats": self.nats.cpu_seconds()}
        total = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[1]) == self.pg.pid or int(stat.parent.name) == self.pg.pid:
                total += sum(int(f) for f in fields[11:15]) / 100
        out["postgres"] = total
        return out


def drain(rig, n, check):
    bus = rig.fresh()
    with rig.db.connect("echora_catalogue") as writer:
        for _ in range(n // 100):
            writer.execute(FILL, (outbox.HEADERS,))
    rig.db.do("CHECKPOINT")
    before = rig.server_cpu()
    relay = rig.relay()
    started = time.time()
    relay.start(wait=False)
    eventually(lambda: outbox.stored(bus) >= n, 120, "drained")
    after = rig.server_cpu()
    first, last = stored_at(bus, 1), stored_at(bus, n)
    result = {"rows": n, "per_second": round(n / (last - first)), "first_after_s": round(first - started, 3),
              "cpu_s_per_million": round(relay.cpu_seconds() / n * 1e6, 2),
              "nats_cpu_s_per_million": round((after["nats"] - before["nats"]) / n * 1e6, 2),
              "peak_rss_mb": round(relay.memory("VmHWM") / 2**20, 1)}
    if check:
        assert outbox.check(rig.db, bus) == n
        result["checked"] = True
    relay.stop()
    bus.close()
    rig.db.drop()
    return result


def latency(rig, rate, seconds):
    bus = rig.fresh()
    relay = rig.relay()
    relay.start()
    conninfo = (f"host=127.0.0.1 port={rig.pg.port} dbname={rig.db.name} user=echora_catalogue "
                f"password={rig.pg.passwords['echora_catalogue']}")
    cpu = relay.cpu_seconds()
    done = subprocess.run([str(BUILD / "test/bench/relay_latency"), conninfo, rig.nats.url, str(rate),
                           str(seconds)], capture_output=True, text=True, timeout=seconds + 60)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    result["relay_cpu_s"] = round(relay.cpu_seconds() - cpu, 2)
    relay.stop()
    bus.close()
    rig.db.drop()
    return result


def idle(rig, seconds=20):
    bus = rig.fresh()
    relay = rig.relay()
    relay.start()
    time.sleep(2)
    cpu = relay.cpu_seconds()
    time.sleep(seconds)
    result = {"cpu_s_per_minute": round((relay.cpu_seconds() - cpu) * 60 / seconds, 3),
              "rss_mb": round(relay.memory() / 2**20, 1)}
    relay.stop()
    bus.close()
    rig.db.drop()
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nats", default="current", choices=("current", "debian"))
    parser.add_argument("--rows", type=int, default=300000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-latency", action="store_true")
    parser.add_argument("--no-check", action="store_true")
    options = parser.parse_args()
    rig = Rig(options.nats)
    try:
        for run in range(options.runs):
            print("drain", json.dumps(drain(rig, options.rows, run == 0 and not options.no_check)), flush=True)
        if not options.no_latency:
            for rate, seconds in ((1000, 15), (5000, 10)):
                print("latency", json.dumps(latency(rig, rate, seconds)), flush=True)
            print("idle", json.dumps(idle(rig)), flush=True)
    finally:
        rig.close()


if __name__ == "__main__":
    main()
