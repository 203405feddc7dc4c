"""Where words of calls could leak to, searched: logs, metrics, command lines, environments, the stream AUDIT."""
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import promises
from .marks import Marks, Speaker, say_everything
from .settings import LONG

# What records on AUDIT may hold: of calls their path; of decisions and plans what the responder keeps by its contract.
AUDITED = {"audit.command": ("path: ",), "audit.catalog": ("body: update-decision ",),
           "audit.dlq": ("body: dlq-",)}


def processes(world):
    """pid → name of all that serve a call, nginx's own worker process among them."""
    parents = {"nginx": world.api.nginx, "command-api": world.api.worker, "redis": world.api.redis,
               "nats": world.streams.server, **world.workers}
    pids = {process.pid: name for name, process in parents.items() if process.alive()}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
        if parent in pids:
            pids[int(stat.parent.name)] = pids[parent]
    return pids


def texts(world, folders):
    """(where, text)"""
    for folder in folders:
        for log in sorted(Path(folder).rglob("*.log")):
            if log.is_file():
                yield log.name, log.read_text(errors="replace")
    for pid, name in processes(world).items():
        for part in ("cmdline", "environ"):
            yield f"{name} {part}", Path(f"/proc/{pid}/{part}").read_bytes().decode("utf-8", "replace")
    for name, worker in {"command-api": world.api.worker, **world.workers}.items():
        if worker.alive():
            for page in ("/metrics", "/readyz", "/livez", "/startupz"):
                yield f"{name} {page}", worker.http(page)[1]


def found(world, folders, marks):
    """{where: places of the words that stand there}"""
    leaks, seen = {}, 0
    for where, text in texts(world, folders):
        seen += len(text)
        if told := marks.found(text):
            leaks[where] = told
    assert seen > 10_000, "there was hardly anything to search"
    return leaks


def audited(world, marks):
    leaks, records = {}, 0
    for message in world.streams.bus().messages("AUDIT"):
        records += 1
        if told := marks.found(message.data.decode("utf-8", "replace"), AUDITED.get(message.subject, ())):
            leaks[message.subject] = told
    assert records > 10, "there was hardly anything on AUDIT"
    return leaks


def demand_lines(world):
    """Of each call the log has what it may have, and nothing else."""
    lines = [line for line in world.api.worker.logs() if line.get("msg") == "call"]
    assert lines
    for line in lines:
        more = set(line) - {"ts", "level", "worker", "instance", "msg", "trace_id", "span_id"}
        assert more == {"request_id", "client", "call", "status", "code", "token", "ms", "bytes"}, line


def say_meanwhile(world, marks, straight):
    """One bad and one good request of each call, side by side: without NATS each waits as long as a reply may take."""
    speaker = Speaker(world.api, marks, straight)

    def say(call):
        body = json.dumps({**(call.body or {}), "reason": marks.new("body: an outage")}).encode()
        speaker.say(call.method, call.path + "?" + marks.new("query: an outage"), body)
        speaker.say(call.method, call.path, json.dumps(call.body).encode() if call.body else b"")
    with ThreadPoolExecutor(len(promises.calls())) as pool:
        list(pool.map(say, promises.calls()))


def scenario(world, folders, only=None):
    """Everything is said, also while Redis, the worker and (in the long form) NATS are away; then all is searched.
    only: names of calls, and nobody is away."""
    marks, api = Marks(), world.api
    said, statuses = say_everything(world, marks, only)
    leaks, on_audit = found(world, folders, marks), audited(world, marks)
    for away in () if only else (api.redis, api.worker, *([world.streams.server] if LONG else [])):
        away.kill()
        say_meanwhile(world, marks, straight=away is not api.worker)
        leaks |= found(world, folders, marks)
        away.start()
    print(f"{said} requests, {len(marks.places)} words")
    assert not leaks, f"told: {leaks}"
    assert not on_audit, f"told on AUDIT: {on_audit}"
    demand_lines(world)
    return said, statuses
