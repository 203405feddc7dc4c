"""Ours while a transaction stays open that began before (somebody's forgotten psql, a long backup), and beside an outbox
full of rows that are published and kept.

No row that an open transaction might see can be removed, so every version of a hot row stays. The relay has to remember
that transaction in each batch. The kept rows are 300 B each, in all slots, made in SQL once for all runs; runs add less
than they are. A relay has been there before, looked past the kept rows for each of its streams and noted so; what is
measured is the next one, as after a failover. The latency is that of relay-latency with hint: the return of the commit to
the message's arrival.
"""
from harness.process import eventually

from bench.jobs import ours
from bench.jobs.relay_latency import HINT, RelayLatency
from bench.jobs.writer import HOT, make_hot
from bench.kit import checker, fill
from bench.kit.job import Case, Figure, Job, Target
from bench.peers import relays

ALONE, OLD, KEPT, BOTH = "echora", "old transaction", "kept rows", "kept rows and old transaction"


class OldTransaction(Job):
    name, about = "old-transaction", __doc__
    figures = (ours.COST, ours.OWN_COST, ours.RATE, Figure("p50", "ms", "p50", False),
               Figure("p99", "ms", "p99", False), Figure("gib", "GiB", "the database"))
    targets = tuple(Target(f"{name}: nothing {what}", what, "<=", bound=0, who=name)
                    for name in (OLD, KEPT, BOTH) for what in ("lost", "reordered"))
    postgres_settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

    def __init__(self):
        self.filled = {}  # database of a stage

    def cases(self, scale):
        for kind, name, events in (("hot", "writer, 1,000 hot entities", 50_000), ("new", "writer, new entities", 20_000)):
            yield Case(name, {"kind": kind, "events": max(HOT, round(events * scale))})
        kept = max(1000, round(10_000_000 * scale))
        yield Case("relay, drain", {"kind": "drain", "events": max(1000, round(300_000 * scale)), "kept": kept})
        yield Case("relay, 1,000 rows/s", {"kind": "pace", "seconds": max(1, round(20 * scale)), "kept": kept})

    def contestants(self, case):
        found = [(ALONE, "an empty outbox, no other transaction"), (OLD, "while one stays open")]
        if "kept" in case.parameters:
            rows = f"{case.parameters['kept']:,}"
            found += [(KEPT, f"with {rows} rows that are kept"), (BOTH, f"with {rows} rows, and while one stays open")]
        return ours.contestants(found)

    def run(self, stage, case, contestant):
        kept = None
        if contestant.name in (KEPT, BOTH):
            if stage not in self.filled:
                self.filled[stage] = fill.published(stage, case.parameters["kept"], relays.HEADERS)
            kept = self.filled[stage]
        stage.fresh(kept)
        fill.accept_stream(stage.db)
        if kept:
            look_past(stage)
        if case.parameters["kind"] == "hot":
            make_hot(stage)
        old = stage.db.connect(autocommit=False)
        try:
            if contestant.name in (OLD, BOTH):
                old.execute("SELECT pg_current_xact_id()")
            found = getattr(self, case.parameters["kind"])(stage, case.parameters)
        finally:
            old.close()
        return {**found, "gib": fill.gib(stage.db)}

    def hot(self, stage, parameters):
        return ours.write_hot(stage, parameters["events"])

    def new(self, stage, parameters):
        return ours.write_new(stage, parameters["events"])

    def drain(self, stage, parameters):
        n = parameters["events"]
        relays.fill(stage.db, "echora", n, 300, 100)
        return {**ours.relay(stage, n), **checker.check(stage.nats.url, relays.STREAM, n, 300)}

    def pace(self, stage, parameters):
        process = stage.worker("relay").start()
        found = RelayLatency.measured(stage, process, "echora", 1000, parameters["seconds"], HINT)
        process.stop()
        return ours.costs(found, ["relay"], 1000 * (parameters["seconds"] + 1))


def look_past(stage):
    """Until each lane has noted how far it has looked."""
    process = stage.worker("relay").start()
    eventually(lambda: stage.db.one("SELECT bool_and(looked IS NOT NULL) FROM catalog.outbox_lane "
                                    "WHERE stream <> 'ANIME_SYNC'"), 300, "all lanes have looked")
    process.stop()


JOB = OldTransaction()
