"""The command behind test/bench/run; see there."""
import argparse
import dataclasses
import importlib
import json
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "test")]

from bench.kit import machine, picture, report, rounds  # noqa: E402
from bench.kit.stage import Stage  # noqa: E402

# In this order they run.
JOBS = ("relay-drain", "relay-latency", "writer", "writer-commit", "sync", "chain", "chain-latency", "adapter",
        "adapter-routes", "command-api", "command-api-open", "start", "idle", "growth", "old-transaction", "replicas",
        "batches", "payloads")


def load(name):
    return importlib.import_module("bench.jobs." + name.replace("-", "_")).JOB


def available():
    return [n for n in JOBS if (ROOT / f"test/bench/jobs/{n.replace('-', '_')}.py").exists()]


def arguments():
    parser = argparse.ArgumentParser(prog="test/bench/run", description=__doc__, add_help=False)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--equal", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--case", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--nats", choices=("current", "debian"), default="current")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    for name in args.names:
        if name not in available():
            parser.error(f"no job {name}; see --list")
    if args.rounds < 1 or args.equal < 0 or args.scale <= 0:
        parser.error("--rounds from 1, --equal from 0, --scale above 0")
    return args


def command(args):
    """What repeats this run, but for the files of one machine."""
    options = [(f"--{name}", getattr(args, name)) for name in ("rounds", "equal", "scale", "case", "only", "nats")]
    return shlex.join(["test/bench/run", *args.names, *(str(x) for pair in options if pair[1] != "" for x in pair)])


def narrowed(job, only):
    """The job with the named contestants alone; ours is always there."""
    if only:
        every, wanted = job.contestants, set(only.split(","))
        job.contestants = lambda case: [c for c in every(case) if c.kind == "ours" or c.name in wanted]
    return job


def run(job, args, document, save):
    entry = {"job": job.name, "about": job.about, "figures": [dataclasses.asdict(f) for f in job.figures],
             "targets": [dataclasses.asdict(t) for t in job.targets], "cases": []}
    document["jobs"].append(entry)
    wanted = [c for c in job.cases(args.scale) if c.name.startswith(args.case)]
    for case in wanted:
        with Stage(args.nats, job.servers, job.postgres_settings) as stage:
            document["machine"].setdefault("fdatasync_us", machine.fsync_us(stage.folder))
            entry["cases"].append(rounds.measure(job, stage, case, args.rounds, args.equal))
        print(report.as_text(entry, entry["cases"][-1], document["machine"]), flush=True)
        save()


def main():
    args = arguments()
    if args.list:
        for name in available():
            print(f"{name:14} {' '.join(load(name).about.partition('.')[0].split())}")
        return 0
    document = {"format": 1, "command": command(args), "began": time.time(),
                "rounds": args.rounds, "scale": args.scale, "nats": args.nats,
                "machine": machine.describe(tempfile.gettempdir()), "versions": machine.versions(args.nats), "jobs": []}

    def save():
        if args.json:
            args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            args.json.with_suffix(".svg").write_text(picture.draw(document), encoding="utf-8")
    print("\n".join(f"{name}: {text}" for part in ("machine", "versions") for name, text in document[part].items()),
          file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is stopped on the way out
    for name in args.names or available():
        run(narrowed(load(name), args.only), args, document, save)
    print("\n".join(report.closing(document)), flush=True)
    failed = [r for j in document["jobs"] for c in j["cases"] for r in report.runs(c) if "failed" in r]
    if failed:
        print(f"{len(failed)} runs failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
