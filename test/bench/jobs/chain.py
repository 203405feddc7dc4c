"""The whole chain with everything running: publishing, catalogue writer, relay, index worker, until every event is a
point in the index. With real records when they lie beside the checkout, else with made ones."""
import time

from bench.jobs.sync import ALIAS, count
from bench.jobs.writer import new_entities, publish, snapshot
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from harness.catalogue import DURABLES
from ops.nats.users import QDRANT_DURABLES

KINDS = ("catalogue", "relay", "qdrant")


def fleet(stage):
    return {kind: stage.worker(kind).start(timeout=30) for kind in KINDS}


class Chain(Job):
    name, about = "chain", __doc__
    servers = ("postgres", "nats", "qdrant")
    figures = (Figure("rate", "events/s", "published to indexed", True),
               Figure("published", "s", "all published after"),
               Figure("relayed", "s", "all committed and relayed after"), Figure("indexed", "s", "all indexed after"))
    targets = (Target("nothing lost", "lost", "<=", bound=0),)

    def cases(self, scale):
        if snapshot() and scale >= 1:
            yield Case("snapshot, real records", {"real": True})
        yield Case("new entities, 1 KB", {"real": False, "events": max(200, round(20_000 * scale))})

    def contestants(self, case):
        return [Contestant("echora", "one worker of each kind, defaults", "ours")]

    def run(self, stage, case, contestant):
        stage.fresh()
        workers = fleet(stage)
        meter = Meter(**{kind: w.pid for kind, w in workers.items()}, **stage.pids())
        began, marks = time.monotonic(), {}
        if case.parameters["real"]:
            stage.echora("import", "manami", snapshot(), timeout=1800)
            n = stage.bus.stream("ANIME_EVENTS").state.messages
        else:
            n = publish(stage.bus, new_entities(case.parameters["events"]), "ANIME_EVENTS")
        marks["published"] = time.monotonic() - began
        while "indexed" not in marks:
            if "relayed" not in marks and stage.bus.settled(
                "ANIME_EVENTS", *DURABLES.values()) and stage.messages() >= n:
                marks["relayed"] = time.monotonic() - began
            if "relayed" in marks and stage.bus.settled("ANIME_SYNC", *QDRANT_DURABLES):
                marks["indexed"] = time.monotonic() - began
            if not all(w.alive() for w in workers.values()):
                raise Failed("\n".join(w.tail(5) for w in workers.values()))
            time.sleep(0.05)
        return {**meter.read(), **marks, "events": n, "rate": n / marks["indexed"], "lost": n - count(stage, ALIAS),
                "repeated": stage.messages() - n}


JOB = Chain()
