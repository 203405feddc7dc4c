"""One, two and four processes of the catalogue writer and of the index worker on one stream.

The contestants are ours in these numbers, in turns; the relay is none of them, for it has one leader by design and others
that wait. They share this machine's cores with PostgreSQL and nats-server (and, with the index worker, with the front),
so that more processes show what they cost each other here, and not what as many machines would do.
"""
from bench.jobs import ours
from bench.jobs.sync import ALIAS, count, relayed
from bench.jobs.writer import HOT, make_hot, new_entities
from bench.kit.job import Case, Figure, Job, Target
from ops.nats.users import QDRANT_DURABLES

NUMBERS = {"1 process": 1, "2 processes": 2, "4 processes": 4}


def held_by(stage):
    return stage.db.one("SELECT count(*) FROM catalog.outbox")


class Replicas(Job):
    name, about = "replicas", __doc__
    servers = ("postgres", "nats", "qdrant")
    figures = (ours.RATE, ours.COST, ours.OWN_COST, Figure("seconds", "s", "first delivery to last acknowledgement"))
    targets = (Target("nothing lost", "lost", "<=", bound=0, who="4 processes"),)
    postgres_settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

    def cases(self, scale):
        yield Case("writer, new entities", {"kind": "new", "events": max(500, round(50_000 * scale))})
        yield Case("writer, 1,000 hot entities", {"kind": "hot", "events": max(HOT, round(50_000 * scale))})
        yield Case("index worker, new points", {"kind": "points", "events": max(200, round(20_000 * scale))})

    def contestants(self, case):
        return ours.contestants([(name, "defaults") for name in NUMBERS])

    def run(self, stage, case, contestant):
        stage.fresh()
        kind, n, replicas = case.parameters["kind"], case.parameters["events"], NUMBERS[contestant.name]
        found = getattr(self, kind)(stage, n, replicas)
        return {**found, "seconds": n / found["rate"]}

    def new(self, stage, n, replicas):
        return {**ours.write_new(stage, n, replicas), "repeated": held_by(stage) - n}

    def hot(self, stage, n, replicas):
        make_hot(stage)
        return ours.write_hot(stage, n, replicas)

    def points(self, stage, n, replicas):
        catalogue = stage.worker("catalogue").start()
        relayed(stage, new_entities(n, 600), n)
        found = ours.consume(stage, "qdrant", "ANIME_SYNC", QDRANT_DURABLES, n, replicas)
        catalogue.stop()
        return {**found, "lost": n - count(stage, ALIAS)}


JOB = Replicas()
