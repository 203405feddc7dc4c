"""The index worker: relayed events that wait in the stream, until every point is in the index and every event
acknowledged.

Ours asks the catalogue writer for the entities (so that one runs too, and is counted), embeds by its built-in feature
hashing, writes under guards and reads back. The Python worker reads the rows from PostgreSQL itself and writes without
guards. "ready" is no worker: the same front takes ready-made bodies of the same shape from a loop. The front is
Qdrant's engine behind Python (ops/qdrant-edge), so it is the limit of all three; a Qdrant server would take more.
"""
import json
import time

from bench.jobs.writer import UPDATED, consumed, entity, message, new_entities, publish
from bench.kit import peers
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from harness import wire
from harness.process import eventually
from ops.nats.users import QDRANT_DURABLES

ALIAS, OWN, BODY_POINTS, BODIES = "anime_database", "bench", 64, 16


def count(stage, collection):
    status, reply = stage.qdrant.call("POST", f"/collections/{collection}/points/count", {"exact": True}, timeout=60)
    return reply["result"]["count"] if status == 200 else 0


def relayed(stage, messages, subject_total):
    """Publishes, writes and relays; a catalogue writer stays."""
    publish(stage.bus, messages, "ANIME_EVENTS")
    relay = stage.worker("relay").start()
    eventually(lambda: stage.messages() >= subject_total, 3600, "all relayed")
    relay.stop()


class Sync(Job):
    name, about = "sync", __doc__
    servers = ("postgres", "nats", "qdrant")
    figures = (Figure("rate", "points/s", "indexed", True),
               Figure("cpu_per_million", "s", "its CPU a million points", False))
    targets = (Target("0.9 times ready-made bodies", "rate", ">=", case="new", times=0.9, of="ready"),
               Target("nothing lost", "lost", "<=", bound=0))

    def __init__(self):
        self.kept = {}  # of a stage: how ours made its collection, and bodies of its points

    def cases(self, scale):
        for full in (20_000, 200_000):
            yield Case(f"new points, {full:,}", {"points": max(200, round(full * scale)), "unchanged": False})
        yield Case("vectors unchanged, 20,000", {"points": max(200, round(20_000 * scale)), "unchanged": True})

    def contestants(self, case):
        yield Contestant("echora", "echora-qdrant-sync and the catalogue writer that it asks, defaults", "ours")
        yield Contestant("python", "nats-py, asyncpg, qdrant-client (peers/python/sync.py)", "peer",
                         (peers.python,), peers.python_versions("nats-py", "asyncpg", "qdrant-client"))
        if not case.parameters["unchanged"]:
            yield Contestant("ready", "ready-made bodies from a loop (peers/python/ready.py)", "reference",
                             (peers.python,))

    def run(self, stage, case, contestant):
        n, unchanged = case.parameters["points"], case.parameters["unchanged"]
        if contestant.name != "echora" and stage not in self.kept:
            self.echora(stage, BODY_POINTS * BODIES, False)
        return getattr(self, contestant.name)(stage, n, unchanged)

    def echora(self, stage, n, unchanged):
        stage.fresh()
        catalogue = stage.worker("catalogue").start()
        stage.worker("qdrant").start().stop()  # has made its collection, as is done before the others' time counts
        relayed(stage, new_entities(n, 600), n)
        if unchanged:
            first = stage.worker("qdrant").start()
            consumed(stage.bus, "ANIME_SYNC", QDRANT_DURABLES, first)
            first.stop()
            relayed(stage, (message(UPDATED, 1, i, year=1960 + i % 60) for i in range(n)), 2 * n)
        before = sum(stage.bus.consumer("ANIME_SYNC", d).delivered.consumer_seq for d in QDRANT_DURABLES)
        stage.settle()
        process, meter = stage.worker("qdrant"), Meter(catalogue=catalogue.pid, **stage.pids())
        process.start(wait=False)
        meter.add("sync", process.pid)
        seconds = consumed(stage.bus, "ANIME_SYNC", QDRANT_DURABLES, process, already=before)
        figures = meter.read()
        lost = n - count(stage, ALIAS)
        if unchanged:
            lost += n - self.of_year(stage, ALIAS)
        if stage not in self.kept:
            self.kept[stage] = self.shape(stage)
        process.stop()
        return self.told(figures, n, seconds, lost)

    @staticmethod
    def of_year(stage, collection):
        status, reply = stage.qdrant.call("POST", f"/collections/{collection}/points/count", {
            "exact": True, "filter": {"must": [{"key": "year", "range": {"gte": 1960, "lte": 2019}}]}}, timeout=60)
        if status != 200:
            raise Failed(f"count by year: {status} {reply}")
        return reply["result"]["count"]

    @staticmethod
    def shape(stage):
        """How ours made its collection, and a file of bodies like those that it sends."""
        info = stage.qdrant.call("GET", f"/collections/{ALIAS}")[1]["result"]
        status, reply = stage.qdrant.call("POST", f"/collections/{ALIAS}/points/scroll", {
            "limit": BODY_POINTS * BODIES, "with_payload": True, "with_vector": True}, timeout=120)
        if status != 200:
            raise Failed(f"scroll: {status} {reply}")
        points, file = reply["result"]["points"], stage.folder / "bodies.ndjson"
        texts = {entity(i): text for i, text in enumerate(texts_of(len(points)))}
        with open(file, "w", encoding="utf-8") as out:
            for at in range(0, len(points), BODY_POINTS):
                made = [{"id": "@ID@", "payload": p["payload"],
                         "vector": {"dense": p["vector"]["dense"],
                                    "bm25": {"model": "qdrant/bm25", "text": texts.get(p["id"], "a title")}}}
                        for p in points[at:at + BODY_POINTS]]
                out.write(json.dumps({"points": made}, separators=(",", ":")) + "\n")
        file.chmod(0o644)
        return info, file

    def own_collection(self, stage):
        """Made like ours, without points."""
        info, file = self.kept[stage]
        params = info["config"]["params"]
        stage.qdrant.wipe()
        status, reply = stage.qdrant.call("PUT", f"/collections/{OWN}", {
            "vectors": params["vectors"], "sparse_vectors": params["sparse_vectors"], "on_disk_payload": True})
        for name, schema in info["payload_schema"].items():
            if status == 200:
                status, reply = stage.qdrant.call("PUT", f"/collections/{OWN}/index?wait=true",
                                                  {"field_name": name, "field_schema": schema["data_type"]})
        if status != 200:
            raise Failed(f"collection: {status} {reply}")
        return params["vectors"]["dense"]["size"], file

    def python(self, stage, n, unchanged):
        stage.fresh()
        dimension, _ = self.own_collection(stage)
        stream, bus = "BENCH", stage.bus
        publish(bus, new_entities(n, 600), "ANIME_EVENTS")
        writer = stage.worker("catalogue").start()
        consumed(bus, "ANIME_EVENTS", ["catalog-enriched"], writer)
        bus.add_stream(stream, ["bench.>"])
        bus.add_consumer(stream, "bench", ack_wait=60, max_ack_pending=10_000)

        def tell():
            publish(bus, (("bench.synced", json.dumps({"id": entity(i)}).encode(), None) for i in range(n)), stream)
        tell()
        argv = [peers.python(), stage.reachable(peers.PEERS / "python/sync.py")]
        env = {"STREAM": stream, "DURABLE": "bench", "COLLECTION": OWN, "DIMENSION": dimension}
        if unchanged:
            first = stage.process("python", argv, **env).start()
            consumed(bus, stream, ["bench"], first)
            first.stop(timeout=30)
            publish(bus, (message(UPDATED, 1, i, year=1960 + i % 60) for i in range(n)), "ANIME_EVENTS")
            consumed(bus, "ANIME_EVENTS", ["catalog-updated"], writer)
            tell()
        writer.stop()
        stage.settle()
        before = bus.consumer(stream, "bench").delivered.consumer_seq
        process, meter = stage.process("python", argv, **env), Meter(**stage.pids())
        process.start(wait=False)
        meter.add("sync", process.pid)
        seconds = consumed(bus, stream, ["bench"], process, already=before)
        figures = meter.read()
        process.stop(timeout=30)
        lost = n - count(stage, OWN) + (n - self.of_year(stage, OWN) if unchanged else 0)
        return self.told(figures, n, seconds, lost)

    def ready(self, stage, n, unchanged):
        stage.fresh()
        _, file = self.own_collection(stage)
        meter = Meter(**stage.pids())
        argv = [peers.python(), stage.reachable(peers.PEERS / "python/ready.py"), file, n]
        process = stage.process("ready", argv, COLLECTION=OWN)
        process.start(wait=False)
        meter.add("sync", process.pid)
        while process.alive():
            figures = meter.read()
            time.sleep(0.05)
        if process.child.returncode:
            raise Failed(process.tail())
        told = json.loads(process.text().strip().splitlines()[-1])
        return self.told(figures, told["points"], told["seconds"], told["points"] - count(stage, OWN))

    @staticmethod
    def told(figures, n, seconds, lost):
        return {**figures, "points": n, "rate": n / max(seconds, 1e-3), "lost": lost,
                "cpu_per_million": figures["cpu"]["sync"] / n * 1e6}


def texts_of(n):
    """What BM25 reads of the first n entities."""
    for _, payload, _ in new_entities(n, 600):
        made = wire.classes()["AnimeEnrichedEvent"].FromString(payload)
        yield f"{made.anime.title} {made.anime.synopsis}"


JOB = Sync()
