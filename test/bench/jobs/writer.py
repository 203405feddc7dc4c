"""The catalogue writer on messages that wait in a stream, until all are acknowledged.

The peers' job is one inbox row and one upsert of the whole payload per message. `runtime` does just that, with the
runtime of our workers under it (plain_writer.c); `runtime-2` with two lanes, as Go has two workers, is what the target
is for (neither could tell an older payload of an entity that comes late). `catalogue` is the catalogue writer on
the very same messages: it decodes and checks them, writes an inbox row, the entity's row by columns with the time of
each field, its references, and an outbox row, so it does more. Every contestant acknowledges after its commit. The rate
counts from the first delivery to the last acknowledgement, both as the consumer tells, looked at every 20 ms. Lost are
messages without inbox row and entities that are not there; repeated are changes made or announced twice; reordered are
entities that do not hold their newest message.
"""
import functools
import random
import time
import uuid

from bench.kit import peers
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from harness import catalogue, wire
from harness.settings import data_folder

ENRICHED, UPDATED = "anime.enriched", "anime.updated"
HOT = 1000
TABLES = ("CREATE TABLE public.bench_inbox (event_id text PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()); "
          "CREATE TABLE public.bench_item (id text PRIMARY KEY, data bytea NOT NULL, rev bigint NOT NULL); "
          "GRANT SELECT, INSERT, UPDATE ON public.bench_inbox, public.bench_item TO echora_catalogue")
# Of our runtime: messages a transaction, lanes.
RUNTIMES = {"runtime": (500, 1), "runtime-100": (100, 1), "runtime-2": (500, 2)}
NAMES = {UPDATED: "AnimeUpdatedEvent", ENRICHED: "AnimeEnrichedEvent"}


def entity(i):
    return str(uuid.UUID(int=(0x01900000 << 96) + (7 << 76) + (8 << 60) + i))


def message(subject, at, i, **fields):
    """(subject, payload, headers) of one event about entity i."""
    return about(subject, at, entity(i), **fields)


def about(subject, at, anime_id, **fields):
    """The same about the entity of that id."""
    more = {"changed_fields": list(fields)} if subject == UPDATED else {}
    made = catalogue.event(NAMES[subject], at, anime_id=anime_id, **more)
    made.anime.MergeFrom(catalogue.anime(**fields))
    if subject == UPDATED:
        made.anime.ClearField("type")
        made.anime.ClearField("status")
    return subject, made.SerializeToString(), {"Nats-Msg-Id": made.event_id, "Bench-Entity": anime_id}


def new_entities(n, size=1000):
    """n entities nobody knows, about `size` bytes each, with one reference."""
    r = random.Random(2)
    words = "".join(r.choices("abcdefghijklmnopqrstuvwxyz    ", k=60_000))
    for i in range(n):
        start = i * 37 % (len(words) - size)
        yield message(ENRICHED, 0, i, title=f"Title {i}", synopsis=words[start:start + size - 200].strip() or "x",
                      sources=[f"https://myanimelist.net/anime/{i + 1}"])


def hot_updates(n):
    """n small updates of HOT entities in turn, each newer than the one before and with another year."""
    for k in range(n):
        yield message(UPDATED, 1 + k, k % HOT, year=year_of(k))


def make_hot(stage):
    """The catalogue has the HOT entities."""
    publish(stage.bus, new_entities(HOT), "ANIME_EVENTS")
    catalogue_worker = stage.worker("catalogue").start()
    consumed(stage.bus, "ANIME_EVENTS", ["catalog-enriched"], catalogue_worker)
    catalogue_worker.stop()


def year_of(k):
    return 1900 + k // HOT % 200


def publish(bus, messages, stream):
    """Into the stream by core NATS, few at a time, so that the server keeps up."""
    async def go(some):
        for subject, payload, headers in some:
            await bus.nc.publish(subject, payload, headers=headers)
        await bus.nc.flush(30)
    before, sent, some = bus.stream(stream).state.last_seq, 0, []

    def flush():
        nonlocal sent
        bus.wait(go(some), 60)
        sent += len(some)
        end = time.monotonic() + 120
        while bus.stream(stream).state.last_seq < before + sent:
            if time.monotonic() > end:
                raise Failed(f"{stream} does not take what is published")
            time.sleep(0.005)
        some.clear()
    for m in messages:
        some.append(m)
        if len(some) == 500:
            flush()
    flush()
    return sent


def consumed(bus, stream, durables, process, already=0, begin=120, limit=3600):
    """Seconds from the first delivery (beyond those already made) to the last acknowledgement. Failed when none is
    made within `begin` seconds."""
    first, end, left = None, time.monotonic() + begin, list(durables)
    while True:
        infos = [bus.consumer(stream, d) for d in left]
        now = time.monotonic()
        if first is None and sum(i.delivered.consumer_seq for i in infos) > already:
            first, end = now, now + limit
        if first is not None:  # nothing comes into what is done, and each look costs the server
            left = [d for d, i in zip(left, infos) if i.num_pending or i.num_ack_pending]
            if not left:
                return now - first
        if not process.alive() or now > end:
            raise Failed(f"not done:\n{process.tail()}")
        time.sleep(0.005 if first is None else 0.02)


@functools.cache
def snapshot():
    data = data_folder()
    return str(next(data.glob("anime-offline-database_*.jsonl.zst"))) if data else ""


class Writer(Job):
    name, about = "writer", __doc__
    figures = (Figure("rate", "messages/s", "done", True),
               Figure("cpu_per_million", "s", "its CPU a million messages", False))
    targets = (Target("2 times Go with batches", "rate", ">=", case="new", times=2, of="go", who="runtime-2"),
               Target("4,000 anime a second", "rate", ">=", case="snapshot", bound=4000, who="catalogue"),
               *(Target(f"nothing {what} by {who}", what, "<=", case=case, who=who)
                 for what in ("lost", "repeated", "reordered")
                 for who, case in (("catalogue", ""), ("runtime", "new"), ("runtime", "hot"), ("runtime-2", "new"))))
    postgres_settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

    def cases(self, scale):
        yield Case("new entities, 1 KB", {"kind": "new", "messages": max(500, round(100_000 * scale))})
        yield Case("hot entities, small updates", {"kind": "hot", "messages": max(HOT, round(100_000 * scale))})
        if snapshot() and scale >= 1:
            yield Case("snapshot, real records", {"kind": "snapshot", "messages": 0})

    def contestants(self, case):
        if case.parameters["kind"] != "snapshot":
            for name, (batch, lanes) in RUNTIMES.items():
                yield Contestant(name, f"our runtime, statements over arrays of {batch} messages, lanes: {lanes} "
                                       "(plain_writer.c)", "ours")
        yield Contestant("catalogue", "echora-catalogue with its defaults: more than the peers' job", "ours")
        if case.parameters["kind"] != "snapshot":
            yield Contestant("go", "a transaction of 100 messages by pgx.Batch, two workers (peers/go/writer)", "peer",
                             (peers.go, "writer"), peers.go_versions("go", "pgx/v5", "nats.go"))
            yield Contestant("python", "the same with asyncpg, statements over arrays (peers/python/writer.py)", "peer",
                             (peers.python,), peers.python_versions("asyncpg", "nats-py", "uvloop"))
            yield Contestant("bento", "batches of 100, one statement each (peers/bento/writer.yaml)", "peer",
                             (peers.go, "bento", "bento"), peers.go_versions("bento", "bento"))

    def run(self, stage, case, contestant):
        stage.fresh()
        kind, n = case.parameters["kind"], case.parameters["messages"]
        if contestant.name == "catalogue":
            return self.catalogue(stage, kind, n)
        return self.peers_job(stage, contestant.name, kind, n)

    def catalogue(self, stage, kind, n):
        stream, bus = "ANIME_EVENTS", stage.bus
        if kind == "snapshot":
            stage.echora("import", "manami", snapshot(), timeout=600)
            n = bus.stream(stream).state.messages
        else:
            if kind == "hot":
                make_hot(stage)
            publish(bus, new_entities(n) if kind == "new" else hot_updates(n), stream)
        stage.settle()
        announced = stage.db.one("SELECT count(*) FROM catalog.outbox")
        process, meter = stage.worker("catalogue"), Meter(**stage.pids())
        process.start(wait=False)
        meter.add("writer", process.pid)
        seconds = consumed(bus, stream, ["catalog-updated" if kind == "hot" else "catalog-enriched"], process)
        figures = meter.read()
        process.stop()
        done = stage.db.one("SELECT count(*) FROM catalog.inbox") - (HOT if kind == "hot" else 0)
        held = dict(stage.db.all("SELECT id::text, year FROM catalog.anime")) if kind == "hot" else {}
        repeated = stage.db.one("SELECT count(*) FROM catalog.outbox") - announced - n
        return self.told(figures, n, seconds, n - done, repeated, self.outdated(held, n) if held else 0)

    @staticmethod
    def made(stage, name):
        """The contestant's process, not started."""
        if name in RUNTIMES:
            batch, lanes = RUNTIMES[name]
            return stage.worker("plain-writer", ECHORA_FETCH_SIZE=str(batch), ECHORA_LANES=str(lanes))
        argv = {"go": lambda: [stage.reachable(peers.go("writer"))],
                "python": lambda: [peers.python(), stage.reachable(peers.PEERS / "python/writer.py")],
                "bento": lambda: [stage.reachable(peers.go("bento", "bento")), "-c",
                                  stage.reachable(peers.PEERS / "bento/writer.yaml")]}[name]()
        return stage.process(name, argv, STREAM="BENCH", DURABLE="bench")

    def peers_job(self, stage, name, kind, n):
        stream, bus = "BENCH", stage.bus
        stage.db.do(TABLES)
        bus.add_stream(stream, ["bench.>"])
        own = {"deliver_subject": "_INBOX.bench"} if name == "bento" else \
            {"filter_subject": "bench.>"} if name in RUNTIMES else {}  # of all that is there, which ours wants told
        bus.add_consumer(stream, "bench", ack_wait=60, max_ack_pending=10_000, **own)
        messages = new_entities(n) if kind == "new" else hot_updates(n)
        publish(bus, (("bench." + subject, payload, headers) for subject, payload, headers in messages), stream)
        stage.settle()
        process, meter = self.made(stage, name), Meter(**stage.pids())
        process.start(wait=False)
        meter.add("writer", process.pid)
        seconds = consumed(bus, stream, ["bench"], process)
        figures = meter.read()
        process.stop(timeout=30)
        lost = n - stage.db.one("SELECT count(*) FROM bench_inbox")
        lost += (n if kind == "new" else min(n, HOT)) - stage.db.one("SELECT count(*) FROM bench_item")
        repeated = stage.db.one("SELECT coalesce(sum(rev), 0) FROM bench_item") - n
        read = wire.classes()[NAMES[UPDATED]].FromString
        held = {i: read(data).anime.year for i, data in stage.db.all("SELECT id, data FROM bench_item")} \
            if kind == "hot" else {}
        return self.told(figures, n, seconds, lost, repeated, self.outdated(held, n) if held else 0)

    @staticmethod
    def outdated(held, n):
        """How many of the hot entities do not hold the last of n updates; held: {id: year}."""
        return sum(held.get(i) != year for i, year in {entity(k % HOT): year_of(k) for k in range(n)}.items())

    @staticmethod
    def told(figures, n, seconds, lost, repeated, reordered):
        return {**figures, "messages": n, "rate": n / max(seconds, 1e-3),
                "lost": int(lost), "repeated": int(max(0, repeated)), "reordered": reordered,
                "cpu_per_million": figures["cpu"]["writer"] / n * 1e6}


JOB = Writer()
