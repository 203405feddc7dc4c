"""What an event costs in a catalogue of ten thousand to ten million entities, made in SQL (kit/fill.py).

The contestants are ours on each size, in turns. A run writes small updates of entities picked from all of them, then new
entities whose keys fall anywhere among the others, then relays both. Each size is filled once; runs use a copy of it,
but for the largest, to which a run adds less than a five hundredth. The inbox has as many rows
as there are entities, all of today, the day that the events are of. Costs are CPU seconds of the worker and PostgreSQL,
with what its checkpointer and its log of changes need.
"""
import itertools
import random
import uuid

from bench.jobs import ours
from bench.jobs.writer import ENRICHED, UPDATED, about, publish
from bench.kit import fill
from bench.kit.job import Case, Failed, Figure, Job, Target
from harness import wire

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)


def title(size):
    return f"{size:,} entities"


def updates(n, entities):
    """n small updates of entities anywhere, each newer than all before."""
    r, now = random.Random(), ours.seconds_now() - 600
    for k in range(n):
        yield about(UPDATED, now + k * 1e-4, fill.entity(r.randrange(entities), entities),
                    duration=int(now) % 10_000 * 100_000 + k)


def arrivals(n, entities, turn):
    """n new entities anywhere among the others, each with a reference and with a sequel that is there. References of
    another turn, which may have gone to the same tables, are others."""
    r, now, free, width = random.Random(), ours.seconds_now() - 600, fill.NUMBERS // entities, n // entities + 1
    related = wire.classes()["RelatedAnimeList"]
    if (turn + 1) * width >= free:
        raise Failed(f"no free references for turn {turn}")
    for k in r.sample(range(entities * width), n):
        near, extra = divmod(k, width)
        new = uuid.UUID(f"{r.getrandbits(47):012x}7{r.getrandbits(12):03x}8{r.getrandbits(60):015x}")
        yield about(ENRICHED, now, str(new), title=f"Title {k}", synopsis=fill.POOL[:300], year=2020,
                      sources=[f"https://myanimelist.net/anime/{fill.number(near, entities) + 1 + turn * width + extra}"],
                      related_anime={"SEQUEL": related(items=[{
                          "title": "Sequel", "sources": [f"https://myanimelist.net/anime/{fill.number(near, entities)}"]}])})


class Growth(Job):
    name, about = "growth", __doc__
    figures = (Figure("cost", "s", "CPU of writer and PostgreSQL, a million small updates", False),
               Figure("own_cost", "s", "of that the writer", False),
               Figure("new_cost", "s", "CPU of writer and PostgreSQL, a million new entities", False),
               Figure("relay_cost", "s", "CPU of relay and PostgreSQL, a million rows", False),
               Figure("rate", "events/s", "small updates", True), Figure("new_rate", "events/s", "new entities", True),
               Figure("relay_rate", "rows/s", "relayed", True), Figure("gib", "GiB", "the database"))
    targets = tuple(Target(f"{text}: at ten million at most 1.5 times the cost at ten thousand", figure, "<=", times=1.5,
                           who=title(SIZES[-1]), of=title(SIZES[0]))
                    for figure, text in (("cost", "small updates"), ("new_cost", "new entities"), ("relay_cost", "relay")))
    postgres_settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

    def __init__(self):
        self.filled = {}  # database of (stage, size)
        self.turns = itertools.count()

    def cases(self, scale):
        yield Case("writer and relay", {"sizes": [round(size * scale) for size in SIZES],
                                        "events": max(500, round(20_000 * scale))})

    def contestants(self, case):
        sizes = case.parameters["sizes"]
        return ours.contestants([(title(size), "echora-catalogue and echora-relay, defaults") for size in sizes])

    def run(self, stage, case, contestant):
        size, n = int(contestant.name.partition(" ")[0].replace(",", "")), case.parameters["events"]
        if (stage, size) not in self.filled:
            self.filled[stage, size] = fill.catalogue(stage, size)
        whole = self.filled[stage, size]
        stage.fresh(whole if n * 500 <= size else stage.pg.database(of=whole))
        fill.accept_stream(stage.db)
        held = stage.db.one("SELECT count(*) FROM catalog.outbox")
        publish(stage.bus, updates(n, size), "ANIME_EVENTS")
        updated = ours.consume(stage, "catalogue", "ANIME_EVENTS", ["catalog-updated"], n)
        publish(stage.bus, arrivals(n, size, next(self.turns)), "ANIME_EVENTS")
        new = ours.consume(stage, "catalogue", "ANIME_EVENTS", ["catalog-enriched"], n)
        announced = stage.db.one("SELECT count(*) FROM catalog.outbox") - held
        if announced != 2 * n:
            raise Failed(f"{announced} changes announced of {2 * n}")
        relayed = ours.relay(stage, announced)
        return {**updated, "new_cost": new["cost"], "new_rate": new["rate"], "relay_cost": relayed["cost"],
                "relay_rate": relayed["rate"], "gib": fill.gib(stage.db)}


JOB = Growth()
