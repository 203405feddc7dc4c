"""How much of the catalogue writer's speed the outbox takes: the writer in one process without NATS (writer.c), reading
events from a file, with its outbox rows and with that one call taken out.

Both are the same program; without the outbox nothing would ever be published, so this is no way to run it.
"""
import json
import subprocess

from bench.jobs.writer import entity, new_entities
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from google.protobuf import json_format
from harness import wire
from harness.settings import BUILD


class WriterCommit(Job):
    name, about = "writer-commit", __doc__
    servers = ("postgres",)
    figures = (Figure("rate", "events/s", "committed", True), Figure("rss_mib", "MiB", "most resident"))
    targets = (Target("at most 10 % lost to the outbox", "rate", ">=", times=0.9, of="without"),)
    postgres_settings = {"shared_buffers": "512MB", "max_wal_size": "4GB"}

    def cases(self, scale):
        for batch in (1, 64, 256):
            full = 5_000 if batch == 1 else 50_000
            yield Case(f"{batch} events a transaction", {"events": max(200, round(full * scale)), "batch": batch})

    def contestants(self, case):
        return [Contestant("echora", "with the outbox row of each change", "ours"),
                Contestant("without", "the same without outbox rows", "reference")]

    def file(self, stage, n):
        path = stage.folder / f"events-{n}.ndjson"
        if not path.exists():
            read = wire.classes()["AnimeEnrichedEvent"].FromString
            with open(path, "w", encoding="utf-8") as out:
                for _, payload, _ in new_entities(n):
                    out.write(json_format.MessageToJson(read(payload), indent=None) + "\n")
        return path

    def run(self, stage, case, contestant):
        stage.fresh()
        file = self.file(stage, case.parameters["events"])
        stage.settle()
        meter = Meter(**stage.pids())
        argv = [BUILD / "test/bench/bench-writer", stage.db.url(), case.parameters["batch"], file, "anime.enriched"]
        env = {"BENCH_PG_PASSWORD": stage.pg.passwords["echora_catalogue"],
               **({} if contestant.kind == "ours" else {"BENCH_WITHOUT_OUTBOX": "1"})}
        done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=1800, env=env,
                              stdin=subprocess.DEVNULL)
        if done.returncode:
            raise Failed(done.stderr[-1000:])
        told, figures = json.loads(done.stdout), meter.read()
        figures["cpu"]["writer"] = told["user"] + told["sys"]
        rows = stage.db.one("SELECT count(*) FROM catalog.outbox")
        expected = told["events"] if contestant.kind == "ours" else 0
        entities = stage.db.one("SELECT count(*) FROM catalog.anime WHERE id = ANY(%s)",
                                [entity(i) for i in range(told["events"])])
        return {**figures, "rate": told["events"] / told["busy"], "rss_mib": told["rss_kb"] / 1024,
                "lost": told["events"] - entities + abs(expected - rows), "repeated": 0}


JOB = WriterCommit()
