"""What an event costs by its size: the catalogue writer on new entities with so long a synopsis, the relay on rows with so
large a payload. The contestants are ours on these sizes, in turns; large events are fewer, so that all sizes have at most
256 MiB together."""
from bench.jobs import ours
from bench.jobs.writer import ENRICHED, entity, message, publish
from bench.kit import checker, fill
from bench.kit.job import Case, Figure, Job
from bench.peers import relays

SIZES = {"300 B": 300, "2 KiB": 2048, "16 KiB": 16384, "256 KiB": 262144}
MOST, OTHERS = 256 * 2**20, 130  # what an event has beside its synopsis


def entities(n, size):
    """n new entities in events of about that size."""
    text = fill.POOL * (size // len(fill.POOL) + 2)
    for i in range(n):
        start = i % len(fill.POOL)
        yield message(ENRICHED, 0, i, title=f"Title {i}", synopsis=text[start:start + size - OTHERS].strip() or "x",
                      sources=[f"https://myanimelist.net/anime/{i + 1}"])


class Payloads(Job):
    name, about = "payloads", __doc__
    figures = (ours.COST, ours.OWN_COST, ours.RATE, Figure("mib_rate", "MiB/s", "payload", True))
    postgres_settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

    def cases(self, scale):
        for who, full in (("writer", 20_000), ("relay", 300_000)):
            yield Case(who, {"events": {name: max(100, min(round(full * scale), round(MOST * scale) // size))
                                        for name, size in SIZES.items()}})

    def contestants(self, case):
        return ours.contestants([(name, f"{n:,} events") for name, n in case.parameters["events"].items()])

    def run(self, stage, case, contestant):
        stage.fresh()
        n, size = case.parameters["events"][contestant.name], SIZES[contestant.name]
        if case.name == "writer":
            publish(stage.bus, entities(n, size), "ANIME_EVENTS")
            found = ours.consume(stage, "catalogue", "ANIME_EVENTS", ["catalog-enriched"], n)
            found["lost"] = n - stage.db.one("SELECT count(*) FROM catalog.anime")
        else:
            relays.fill(stage.db, "echora", n, size, 100)
            found = {**ours.relay(stage, n), **checker.check(stage.nats.url, relays.STREAM, n, size)}
        return {**found, "mib_rate": found["rate"] * size / 2**20}


JOB = Payloads()
