"""The command behind test/bench/profile; see there."""
import argparse
import collections
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from bench.jobs.sync import relayed  # noqa: E402
from bench.jobs.writer import consumed, hot_updates, make_hot, new_entities, publish  # noqa: E402
from bench.kit import machine, page  # noqa: E402
from bench.kit.stage import Stage  # noqa: E402
from bench.peers import relays  # noqa: E402
from harness.process import eventually  # noqa: E402
from ops.nats.users import QDRANT_DURABLES  # noqa: E402

HEAD = """# Profiles

Where the instructions of our workers go, per event: written by `{command}`, {versions}. Kernel, servers and waiting are
not in it; BENCHMARKS.md has CPU seconds and rates. Functions without a name are of libraries without symbols.
"""
OURS = ("contracts", "events", "outbox", "workers")
LINE = re.compile(r"^\s*([\d,]+) \([^)]*\)\s+(.*?):(.*?)(?: \[(.*)\])?$")
VERSIONS = ("echora", "compiler", "libpq", "libnats")
PATIENCE = 600  # seconds; callgrind makes a program some fifty times slower


class Profiled:
    """Workers that are made inside run under callgrind."""

    def __init__(self, stage, kind):
        self.out = stage.folder / f"callgrind.{kind}.{stage.n}"
        os.environ["ECHORA_TEST_WRAPPER"] = (
            f"valgrind --tool=callgrind --fair-sched=yes --callgrind-out-file={self.out}")
        try:
            self.worker = stage.worker(kind)
        finally:
            del os.environ["ECHORA_TEST_WRAPPER"]
        self.worker.start(wait=False)

    def costs(self):
        """{(area, function): instructions}, once it has ended."""
        self.worker.stop(timeout=120)
        text = subprocess.run(["callgrind_annotate", "--threshold=100", "--show-percs=yes", "--auto=no", self.out],
                              capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
        costs = collections.Counter()
        for line in text.splitlines():
            found = LINE.match(line)
            if found:
                n, file, function, program = found.groups()
                costs[area(file, program), function.partition("'")[0]] += int(n.replace(",", ""))
        return costs


def area(file, program):
    """A folder of ours, or the library that a function is of."""
    parts = Path(file).parts
    for folder in OURS:
        if folder in parts:
            rest = parts[parts.index(folder):]
            return "contracts/gen" if "gen" in rest else "/".join(rest[:2 if folder in ("workers", "events") and
                                                                       len(rest) > 2 else 1])
    name = Path(program or file).name.partition(".so")[0]
    # What stands in our program and isn't of our files was inlined from the C library's headers.
    return "libc" if name.startswith(("ld-", "echora-")) or name.endswith((".h", ".c")) else name


def relay(stage, n):
    relays.fill(stage.db, "echora", n, 300, 100)
    one = Profiled(stage, "relay")
    eventually(lambda: stage.messages() >= n, PATIENCE, "all relayed")
    return one.costs()


def writer(stage, n):
    publish(stage.bus, new_entities(n), "ANIME_EVENTS")
    one = Profiled(stage, "catalogue")
    consumed(stage.bus, "ANIME_EVENTS", ["catalog-enriched"], one.worker, begin=PATIENCE)
    return one.costs()


def updates(stage, n):
    make_hot(stage)
    publish(stage.bus, hot_updates(n), "ANIME_EVENTS")
    one = Profiled(stage, "catalogue")
    consumed(stage.bus, "ANIME_EVENTS", ["catalog-updated"], one.worker, begin=PATIENCE)
    return one.costs()


def sync(stage, n):
    stage.worker("catalogue").start()
    relayed(stage, new_entities(n, 600), n)
    one = Profiled(stage, "qdrant")
    consumed(stage.bus, "ANIME_SYNC", QDRANT_DURABLES, one.worker, begin=PATIENCE)
    return one.costs()


PROFILES = {
    "relay": (relay, "echora-relay: rows of 300 B, 100 a transaction"),
    "writer": (writer, "echora-catalogue: new entities, 1 KB"),
    "updates": (updates, "echora-catalogue: small updates of 1,000 entities"),
    "sync": (sync, "echora-qdrant-sync: new points (the writer that it asks is not in it)"),
}


def profile(name, events):
    """{(area, function): instructions an event}"""
    run = PROFILES[name][0]
    with Stage("current", ("postgres", "nats", "qdrant")) as stage:
        few = run(stage.fresh(), events)
        many = run(stage.fresh(), 3 * events)
    per_event = {key: (many[key] - few[key]) / (2 * events) for key in many}
    return {key: n for key, n in per_event.items() if abs(n) >= 0.5}


def table(heads, rows):
    return "\n".join(map(page.row, [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]))


def as_text(name, costs, functions):
    total, areas = sum(costs.values()), collections.Counter()
    for (where, _), n in costs.items():
        areas[where] += n
    rows = [[where, f"{n:,.0f}", f"{n / total:.1%}"] for where, n in areas.most_common() if abs(n) >= total / 200]
    most = sorted(costs.items(), key=lambda item: -item[1])[:functions]
    return "\n\n".join((
        f"## {PROFILES[name][1]}", f"{total:,.0f} instructions an event.",
        table(["area", "instructions an event", "share"], rows),
        table(["function", "area", "instructions an event", "share"],
              [[f"`{function}`", where, f"{n:,.0f}", f"{n / total:.1%}"] for (where, function), n in most])))


def main():
    parser = argparse.ArgumentParser(prog="test/bench/profile", add_help=False)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--functions", type=int, default=12)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    for name in args.names:
        if name not in PROFILES:
            parser.error(f"no profile {name}; there are {', '.join(PROFILES)}")
    if not shutil.which("valgrind"):
        parser.error("valgrind is not here: apt-get install valgrind")
    told, texts = {}, []
    for name in args.names or PROFILES:
        costs = profile(name, args.events)
        told[name] = [{"area": where, "function": function, "instructions": round(n, 1)}
                      for (where, function), n in sorted(costs.items(), key=lambda item: -item[1])]
        texts.append(as_text(name, costs, args.functions))
        print(texts[-1], flush=True)
    if args.json:
        args.json.write_text(json.dumps(told, indent=1) + "\n")
    if args.page:
        head = HEAD.format(command=" ".join(("test/bench/profile", *args.names, "--events", str(args.events))),
                           versions=", ".join(f"{n} {v}" for n, v in machine.versions("current").items() if n in VERSIONS))
        args.page.write_text("\n\n".join((head.rstrip("\n"), *texts)) + "\n")


if __name__ == "__main__":
    main()
