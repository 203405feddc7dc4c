#!/usr/bin/env python3
"""ops/up, ops/down, ops/status and ops/env: one Echora on one machine, below one state folder."""
import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from ops.fleet import fleet, screen, system  # noqa: E402
from ops.fleet.prepare import prepare  # noqa: E402

ROOT = system.ROOT
SAMPLE = ROOT / "ops/sample/anime.ndjson"


def build(step):
    """The ordinary build folder, the same that test/run uses."""
    folder = ROOT / "build"
    if not (folder / "build.ninja").exists():
        step("configuring the build")
        system.run(["meson", "setup", str(folder)], cwd=str(ROOT))
    step("building")
    system.run(["ninja", "-C", str(folder)], cwd=str(ROOT))


def up(args):
    started = time.monotonic()
    with screen.Step("build") as step:
        build(step)
    state = fleet.State(prepare(args.state))
    state.remember_shown_path(args.state)
    with screen.Step("servers") as step:
        what = state.start_servers(step)
        step.done(what)
    with screen.Step("database, streams") as step:
        step("roles and database")
        state.provision_database()
        step("migrations")
        state.echora("migrate", user="admin", role="echora_owner")
        step("streams and consumers")
        state.echora("streams", "apply", user="admin")
        step.done("schema and streams are what the code expects")
    with screen.Step("fleet") as step:
        step.done(state.start_workers(step))
    if not args.no_sample and SAMPLE.exists():
        tour(state)
    print()
    state.print_addresses()
    print(f"\nUp in {time.monotonic() - started:.1f} s. Three things to try next:")
    shown = "" if args.state == str(ROOT / ".echora") else f" --state {shlex.quote(args.state)}"
    print(f'  1. eval "$(ops/env{shown})"        # echora, psql and nats for this fleet, in your shell')
    print("  2. echora search 'space bounty hunters'")
    print("  3. echora status --watch           # or publish your own: README, \"Your first event\"")
    return 0


def tour(state):
    """The sample catalogue through the ordinary front door, and one anime followed through the chain."""
    with open(SAMPLE, encoding="utf-8") as f:
        first = json.loads(f.readline())
        total = 1 + sum(1 for line in f if line.strip())
    with screen.Step("sample catalogue") as step:
        step(f"publishing {total} events")
        state.echora("publish", "anime.enriched", str(SAMPLE), user="publisher")
        step("waiting until the last one is in the index")
        waited = state.wait_indexed([json.loads(line)["animeId"] for line in open(SAMPLE, encoding="utf-8")])
        step.done(f"{total} anime published as `publisher`, {waited}")
    print(f"\n$ echora follow {first['animeId']}      # {first['anime']['title']}")
    state.echora("follow", first["animeId"], show=True)
    print("\n$ echora search 'space bounty hunters'")
    state.echora("search", "space bounty hunters", show=True)


def down(args):
    folder = Path(args.state).resolve()
    if not folder.exists():
        print("nothing runs: there is no state folder")
        return 0
    state = fleet.State(folder)
    stopped = state.stop()
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing runs")
    if args.wipe:
        state.wipe()
        print("data, logs and passwords are gone")
    return 0


def status(args):
    state = fleet.State(Path(args.state).resolve())
    rows = state.processes()
    healthy = state.health() if rows else {}
    if args.json:
        print(json.dumps({"processes": rows, "health": healthy, "addresses": state.addresses()}, indent=2))
    elif not rows:
        print("nothing runs; ops/up starts it")
    else:
        for name, row in rows.items():
            word, _, why = healthy.get(name, "").partition(": ")
            print(f"  {name:12} {row['state']:10} {word:10} {row['detail']}")
            if why:
                print(f"  {'':12} {'':10} {why}")
        print()
        state.print_addresses()
        print()
        state.echora("status", show=True, check=False)
    bad = not rows or any(r["state"] != "RUNNING" for r in rows.values()) or set(healthy.values()) != {"ready"}
    return 3 if bad else 0


def env(args):
    state = fleet.State(Path(args.state).resolve())
    if not state.settings:
        print("nothing was started here; run ops/up first", file=sys.stderr)
        return 3
    for key, value in state.shell_variables(args.role).items():
        print(f"export {key}={value}" if key == "PATH" else f"export {key}={shlex.quote(value)}")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for function in (up, down, status, env):
        verb = verbs.add_parser(function.__name__, prog=f"ops/{function.__name__}")
        verb.set_defaults(function=function)
        verb.add_argument("--state", default=os.environ.get("ECHORA_STATE", str(ROOT / ".echora")))
    verbs.choices["up"].add_argument("--no-sample", action="store_true")
    verbs.choices["down"].add_argument("--wipe", action="store_true")
    verbs.choices["status"].add_argument("--json", action="store_true")
    verbs.choices["env"].add_argument("role", nargs="?", default="operator",
                                      choices=("publisher", "viewer", "operator", "admin"))
    args, unknown = parser.parse_known_args()
    if unknown:
        verbs.choices[args.verb].error(f"unrecognized arguments: {' '.join(unknown)}")
    os.umask(0o022)
    try:
        return args.function(args)
    except (RuntimeError, TimeoutError) as e:
        print(f"ops/{args.verb}: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
