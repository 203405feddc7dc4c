"""Runs of ours for jobs that compare ours with itself: at other sizes, with other settings, in other numbers."""
import time

from bench.jobs.relay_drain import RelayDrain
from bench.jobs.writer import HOT, consumed, hot_updates, new_entities, publish
from bench.kit.job import Contestant, Figure
from bench.kit.meter import Meter
from harness import catalogue

COST = Figure("cost", "s", "CPU of ours and PostgreSQL, a million events", False)
OWN_COST = Figure("own_cost", "s", "of that ours", False)
RATE = Figure("rate", "events/s", "handled", True)


def contestants(names):
    """The first is ours as it is, which the others are held against."""
    return [Contestant(name, about, "reference" if i else "ours") for i, (name, about) in enumerate(names)]


class Together:
    """Several processes of one kind as one."""

    def __init__(self, processes):
        self.processes = processes

    def start(self, meter):
        for p in self.processes:
            p.start(wait=False)
        for p in self.processes:
            meter.add(p.name, p.pid)

    def alive(self):
        return all(p.alive() for p in self.processes)

    def tail(self):
        return "\n".join(p.tail(5) for p in self.processes)

    def stop(self):
        for p in self.processes:
            p.stop()


def consume(stage, kind, stream, durables, n, replicas=1, **env):
    """The figures of n events that wait in the stream, handled by so many workers."""
    stage.settle()
    workers, meter = Together([stage.worker(kind, **env) for _ in range(replicas)]), Meter(**stage.pids())
    workers.start(meter)
    seconds = consumed(stage.bus, stream, durables, workers)
    figures = meter.read()
    workers.stop()
    return costs(figures, [w.name for w in workers.processes], n) | {"rate": n / max(seconds, 1e-3)}


def write_new(stage, n, replicas=1, **env):
    """The figures of n new entities, written by so many catalogue writers."""
    publish(stage.bus, new_entities(n), "ANIME_EVENTS")
    found = consume(stage, "catalogue", "ANIME_EVENTS", ["catalog-enriched"], n, replicas, **env)
    return {**found, "lost": n - stage.db.one("SELECT count(*) FROM catalog.anime")}


def write_hot(stage, n, replicas=1):
    """The figures of n updates of the hot entities, which are there (make_hot)."""
    publish(stage.bus, hot_updates(n), "ANIME_EVENTS")
    found = consume(stage, "catalogue", "ANIME_EVENTS", ["catalog-updated"], n, replicas)
    return {**found, "lost": n + HOT - stage.db.one("SELECT count(*) FROM catalog.inbox")}


def costs(figures, own, n):
    """With the CPU of ours as one figure, whatever its processes are called, and the costs of an event."""
    cpu, peak = figures["cpu"], figures["peak_mib"]
    figures["cpu"] = {"ours": round(sum(cpu[name] for name in own), 3), **{k: v for k, v in cpu.items() if k not in own}}
    figures["peak_mib"] = {"ours": max((peak[name] for name in own if name in peak), default=0),
                           **{k: v for k, v in peak.items() if k not in own}}
    mine = figures["cpu"]["ours"]
    return {**figures, "own_cost": mine / n * 1e6, "cost": (mine + figures["cpu"]["PostgreSQL"]) / n * 1e6}


def relay(stage, rows, **env):
    """The figures of n rows that wait in the outbox, published by a relay into an empty stream."""
    stage.settle()
    process = stage.worker("relay", **env)
    figures = RelayDrain.drained(stage, process, rows)
    process.stop()
    return costs(figures, ["relay"], rows)


def seconds_now():
    """What `message` of the job writer wants for an event of now."""
    return time.time() - catalogue.T0
