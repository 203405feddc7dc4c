#!/usr/bin/env python3
"""A whole fleet under mixed load and random faults; memory and descriptors over time, and the oracle at the end.

usage: soak.py [--minutes N] [--rate N] [--seed N] [--anime N] [--nats current|debian] [--pace SECONDS] [--out FOLDER]
               [--data FOLDER]
  --pace   seconds from fault to fault, on average
  --out    where soak.csv (a row for each look), soak.svg (the same as a picture) and soak.json (figures) go; default
           build-logs
  --planted  what is taken away from the workers of the build `faults` (ECHORA_BUILD), to see the soak fail
  --data   a folder on the disk to use; default: one of the system's for temporary files

Two processes of each worker: `steady` ones are only paused and lose their servers and connections, `mortal` ones are
also killed and restarted. Every connection of a worker leads through a proxy of its own. Exit code 0: nothing lost,
nothing given up but the bad events, no drift, memory and descriptors of the steady workers flat.
"""
import argparse
import csv
import json
import os
import random
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from chaos import plot  # noqa: E402
from chaos.rig import Load, Meter, Progress, attempt, growth  # noqa: E402
from harness import fleet, servers  # noqa: E402
from harness.bus import Bus  # noqa: E402
from harness.process import eventually  # noqa: E402
from harness.proxy import Proxy  # noqa: E402
from oracle import Oracle, Wrong  # noqa: E402
from ops.fleet import system  # noqa: E402

NEEDS = {"catalogue": ("nats", "postgres"), "relay": ("nats", "postgres"), "qdrant": ("nats", "front"),
         "dead-letters": ("nats", "postgres")}
ROLES = ("steady", "mortal")


class Rig:
    """Servers, eight workers behind proxies, and the publisher."""

    def __init__(self, folder, which, seed, anime, planted=""):
        self.folder, self.planted = folder, planted
        self.nats, self.pg = servers.Nats(folder, which), servers.Postgres(folder)
        self.front = servers.Qdrant(folder)
        self.servers = {"nats": self.nats, "postgres": self.pg, "front": self.front}
        for server in self.servers.values():
            server.start(timeout=60)
        self.db = self.pg.database()
        self.echora = fleet.Echora(nats=self.nats, database=self.db, qdrant=self.front)
        self.echora("streams", "apply", user="admin")
        self.bus = Bus(self.nats)
        self.enlarge("ANIME_SYNC", 8 << 30)
        self.links, self.workers = {}, {}
        for kind in NEEDS:
            for role in ROLES:
                self.workers[f"{kind}-{role}"] = self.worker(kind, f"{kind}-{role}")
        self.progress = Progress(self.bus, self.db)
        self.load = Load(self.nats, folder, seed, anime)

    def enlarge(self, stream, size):
        config = self.bus.stream(stream).config
        config.max_bytes = size
        self.bus.wait(self.bus.js.update_stream(config))

    def worker(self, kind, name):
        proxies = {server: Proxy(self.servers[server].port) for server in NEEDS[kind]}
        self.links |= {f"{name} to {server}": proxy for server, proxy in proxies.items()}
        env = {"ECHORA_NATS_URL": f"nats://127.0.0.1:{proxies['nats'].port}", "ECHORA_LOG_LEVEL": "info",
               **({"PLANTED_FAULTS": self.planted} if self.planted else {})}
        if "postgres" in proxies:
            env["ECHORA_PG_URL"] = (f"postgresql://{fleet.WORKERS[kind][2]}@127.0.0.1:{proxies['postgres'].port}"
                                    f"/{self.db.name}")
        if "front" in proxies:
            env["ECHORA_QDRANT_URL"] = proxies["front"].url
        return fleet.Worker(kind, self.folder, nats=self.nats, database=self.db, qdrant=self.front, env=env,
                            name=name).start(timeout=30)

    def watch(self):
        """Starts again what has ended by itself, as a supervisor does; returns the exit codes."""
        ended = {name: w.child.returncode for name, w in self.workers.items() if not w.alive()}
        for name in ended:
            self.workers[name].start(wait=False)
        return ended

    def close(self):
        self.load.kill()
        for process in self.workers.values():
            process.kill()
        self.bus.close()
        for link in self.links.values():
            link.close()
        for server in self.servers.values():
            server.kill()


class Faults:
    """One after another by chance; each is over when the next begins."""

    def __init__(self, rig, seed):
        self.rig, self.random = rig, random.Random(f"faults {seed}")
        self.counts, self.marks = {}, []

    def kinds(self):
        return {"kill": self.kill, "restart": self.restart, "pause": self.pause, "server killed": self.server_killed,
                "server paused": self.server_paused, "reset": self.reset, "refused": self.refused,
                "stalled": self.stalled, "slow": self.slow, "in pieces": self.in_pieces, "half-open": self.half_open}

    def one(self, seconds):
        """Draws one and does it; `seconds` since the start are noted."""
        kind = self.random.choice(list(self.kinds()))
        where = self.kinds()[kind]()
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.marks.append((seconds, f"{kind} {where}"))
        print(f"{seconds:7.1f} s  {kind} {where}", flush=True)

    def wait(self, most):
        time.sleep(self.random.uniform(0.2, most))

    def mortal(self):
        name = self.random.choice([n for n in self.rig.workers if n.endswith("mortal")])
        return name, self.rig.workers[name]

    def kill(self):
        name, worker = self.mortal()
        worker.kill()
        self.wait(3)
        worker.start(wait=False)
        return name

    def restart(self):
        name, worker = self.mortal()
        worker.stop(timeout=20)
        worker.start(wait=False)
        return name

    def pause(self):
        name, worker = self.random.choice(list(self.rig.workers.items()))
        worker.pause()
        self.wait(10)
        worker.resume()
        return name

    def server(self):
        return self.random.choice(list(self.rig.servers.items()))

    def server_killed(self):
        name, server = self.server()
        server.kill()
        self.wait(8)
        server.start(timeout=60)
        return name

    def server_paused(self):
        name, server = self.server()
        server.pause()
        self.wait(8)
        server.resume()
        return name

    def link(self):
        return self.random.choice(list(self.rig.links.items()))

    def reset(self):
        name, link = self.link()
        link.cut()
        return name

    def refused(self):
        name, link = self.link()
        link.refuse()
        link.cut()
        self.wait(8)
        link.accept()
        return name

    def stalled(self):
        name, link = self.link()
        link.stall()
        self.wait(8)
        link.resume()
        return name

    def slow(self):
        name, link = self.link()
        link.latency = self.random.uniform(0.005, 0.1)
        self.wait(8)
        link.heal()
        return name

    def in_pieces(self):
        """Few bytes at a time, and connections that end in the middle."""
        name, link = self.link()
        link.pieces = self.random.choice((7, 100))
        link.cut_after(20000, self.random.random())
        link.cut()
        self.wait(8)
        link.heal()
        return name

    def half_open(self):
        """The next request arrives, and its connection is silent for ever."""
        name, link = self.link()
        link.plan("half-open")
        self.wait(8)
        link.heal()
        return name


class Table:
    """soak.csv: the fleet's state and each worker's resident MiB and descriptors, a row every few seconds."""

    HEAD = ("seconds", "due", "stored", "written", "indexed", "dead_letters")

    def __init__(self, path, rig, meter):
        self.rig, self.meter, self.last = rig, meter, (0, 0, 0)
        self.file = open(path, "w", newline="", encoding="utf-8")
        self.csv = csv.writer(self.file)
        self.csv.writerow([*self.HEAD, *(f"{n} {what}" for n in rig.workers for what in ("MiB", "descriptors"))])

    def row(self):
        sent, p = self.rig.load.sent(), self.rig.progress
        self.last = attempt(lambda: (p.done("ANIME_EVENTS"), p.done("ANIME_SYNC"),
                                     p.bus.stream("ANIME_DLQ").state.messages), self.last)
        taken = [s[-1][1:] if (s := self.meter.samples[n]) else (0, 0) for n in self.rig.workers]
        self.csv.writerow([f"{self.meter.now():.1f}", sent["due"], sent["stored"], *self.last,
                           *(value for kib, fds in taken for value in (f"{kib / 1024:.2f}", fds))])
        self.file.flush()


def run(rig, args, table, faults, meter, say):
    """Load and faults for so long, then rest."""
    rig.load.order("more", 2 * args.anime)
    eventually(lambda: rig.load.sent()["stored"] >= args.anime, 120, "publishers publish")
    rig.load.order("rate", args.rate)
    end = time.monotonic() + args.minutes * 60
    next_fault = next_row = time.monotonic() + min(10, args.minutes * 6)
    ended = {}
    while (now := time.monotonic()) < end:
        if now >= next_row:
            table.row()
            next_row = now + max(0.5, min(5, args.minutes))
        if now >= next_fault:
            faults.one(meter.now())
            next_fault = time.monotonic() + faults.random.expovariate(1 / args.pace)
        for name, code in rig.watch().items():
            ended[f"{name}: {code}"] = ended.get(f"{name}: {code}", 0) + 1
            say(f"{name} ended with {code}")
        time.sleep(0.1)
    table.row()
    loaded = meter.now()
    rig.load.stop(timeout=300)
    rig.progress.rest(timeout=1200)
    table.row()
    return loaded, ended


def figures(rig, meter, loaded):
    """What each worker took: start, least, most, end; and what grew, by the steady ones' second and last quarters."""
    found, grown = {}, []
    for name, samples in meter.samples.items():
        found[name] = {what: {"start": values[0], "min": min(values), "max": max(values), "end": values[-1]}
                       for what, values in (("MiB", [round(s[1] / 1024, 1) for s in samples]),
                                            ("descriptors", [s[2] for s in samples]))}
        if name.endswith("steady"):
            grown += growth(name, meter.between(name, loaded / 4, loaded / 2),
                            meter.between(name, loaded * 3 / 4, loaded))
    return found, grown


def judge(rig, say):
    """(what is wrong, drift, number of events and of bad ones)."""
    drift = rig.echora("reconcile", "--json", ok=False)
    say(f"drift: {drift}")
    inputs, dead = rig.load.inputs()
    say(f"{len(inputs)} events and requests, {len(dead)} bad; asking the oracle")
    began = time.monotonic()
    try:
        Oracle(rig.db, rig.bus, rig.front).check(inputs, dead)
        wrong = ""
    except Wrong as e:
        wrong = str(e)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    say(f"the oracle took {time.monotonic() - began:.0f} s and {peak} MiB")
    return wrong, drift, len(inputs), len(dead)


def soak(folder, args, say=print):
    """Runs it; returns (figures, what is wrong)."""
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    rig = Rig(folder, args.nats, args.seed, args.anime, args.planted)
    try:
        faults = Faults(rig, args.seed)
        meter = Meter(rig.workers, interval=max(0.1, min(1, args.minutes / 10)))
        table = Table(out / "soak.csv", rig, meter)
        loaded, ended = run(rig, args, table, faults, meter, say)
        meter.stop()
        taken, grown = figures(rig, meter, loaded)
        (out / "soak.json").write_text(json.dumps({"grown": grown, "workers": taken}, indent=1) + "\n")
        wrong, drift, events, bad = judge(rig, say)
        found = {"seed": args.seed, "minutes": args.minutes, "rate": args.rate, "events": events, "bad": bad,
                 "at_rest_after_s": round(meter.now() - loaded, 1), "faults": faults.counts,
                 "ended_by_themselves": ended, "drift": json.loads(drift.out), "oracle": wrong or "as it must be",
                 "grown": grown, "workers": taken}
        (out / "soak.json").write_text(json.dumps(found, indent=1) + "\n")
        plot.draw(out / "soak.csv", faults.marks, out / "soak.svg")
        return found, [*wrong.splitlines(), *grown, *([f"drift: {drift}"] if drift.code else [])]
    finally:
        rig.close()


def arguments(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--anime", type=int, default=2000)
    parser.add_argument("--pace", type=float, default=15)
    parser.add_argument("--nats", default="current", choices=("current", "debian"))
    parser.add_argument("--out", default=str(ROOT / "build-logs"))
    parser.add_argument("--data")
    parser.add_argument("--planted", default="")
    return parser.parse_args(argv)


def main():
    args = arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1 << 16), hard))
    folder = Path(tempfile.mkdtemp(prefix="echora-soak-", dir=args.data))
    system.own(folder)
    folder.chmod(0o755)
    try:
        found, wrong = soak(folder, args)
    finally:
        if not os.environ.get("ECHORA_TEST_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps(found, indent=1))
    print("\n".join(wrong) if wrong else "as it must be")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
