"""A backlog in the outbox table, filled before the relay starts, until every row is in the stream.

The rate is that of the stream's own time stamps, first to last message. Every contestant has its rows in a table
of its own making with the same payloads, publishes to the same stream as `echora streams apply` makes it (with the
consumers of the index on it), and starts from an empty nats-server. Ours puts its headers (schema, trace, position, event
id) on each message, the peers a Nats-Msg-Id alone.
"""
import random
import re
import subprocess
import time

from bench.kit import checker, peers
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from harness.outbox import HEADERS
from harness.process import eventually

ENTITIES, STREAM, SUBJECT = 1000, "ANIME_SYNC", "anime.synced"
POOL_BYTES = 64_000
# Random text, so that PostgreSQL's compression finds nothing in one relay's table that it finds in no other's.
PAYLOAD = ("convert_to(" + checker.SQL_HEAD.format(entities=ENTITIES) +
           " || substr({pool}, (1 + (i * 7919) % ({most} - {filler}))::int, {filler}), 'UTF8')")
OURS = ("INSERT INTO catalog.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload) "
        "SELECT '" + STREAM + "', '" + SUBJECT + "', 'anime', md5((i % {entities})::text)::uuid, gen_random_uuid(), "
        "'{headers}', {payload} FROM generate_series({first}, {last}) AS i")
PLAIN_TABLE = ("CREATE TABLE public.bench_outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, subject text NOT NULL, "
               "event_id uuid NOT NULL, payload bytea NOT NULL); ALTER TABLE public.bench_outbox ALTER payload SET STORAGE EXTERNAL")
PLAIN = ("INSERT INTO public.bench_outbox (subject, event_id, payload) SELECT '" + SUBJECT + "', gen_random_uuid(), {payload} "
         "FROM generate_series({first}, {last}) AS i")
WATERMILL = ("INSERT INTO watermill_bench (uuid, payload, metadata, transaction_id) SELECT gen_random_uuid()::text, {payload}, "
             "'{{}}', pg_current_xact_id() FROM generate_series({first}, {last}) AS i")


def fill(db, statement, rows, size, per_transaction):
    """Rows 0 to rows-1 by `statement`, in transactions of that many. Filling isn't measured, so it doesn't wait for the disk."""
    filler = size - checker.HEAD_BYTES
    pool = "".join(random.Random(1).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=POOL_BYTES))
    text = statement.format(
        entities=ENTITIES, headers=HEADERS.replace("'", "''"), first="low", last=f"least(low + {per_transaction}, {rows}) - 1",
        payload=PAYLOAD.format(pool="pool", most=POOL_BYTES, filler=filler))
    with db.connect() as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(f"DO $fill$ DECLARE low bigint := 0; pool CONSTANT text := '{pool}'; BEGIN WHILE low < {rows} LOOP "
                           f"{text}; COMMIT; low := low + {per_transaction}; END LOOP; END $fill$")


CONTESTANTS = {
    "echora": (OURS, "", "echora-relay with its defaults, the housekeeping included"),
    "go": (PLAIN, PLAIN_TABLE, "a careful relay in Go (peers/go/relay): pgx, nats.go, SKIP LOCKED, asynchronous publish, deletes"),
    "python": (PLAIN, PLAIN_TABLE, "the same in Python (peers/python/relay.py): asyncpg, nats-py, uvloop"),
    "watermill": (WATERMILL, "", "Watermill (peers/go/watermill): SQL subscriber, router, JetStream publisher"),
    "broker": (None, "", "no relay: `nats bench js pub async`, which reads no table and checks nothing"),
}


def contestant(name):
    _, _, about = CONTESTANTS[name]
    missing, versions = "", {}
    if name in ("go", "watermill"):
        missing = peers.why_missing(peers.go, {"go": "relay"}.get(name, name))
        versions = peers.go_versions("go", "pgx/v5", "nats.go", *(("watermill", "watermill-sql/v4", "watermill-nats/v2")
                                                                   if name == "watermill" else ()))
    elif name == "python":
        missing, versions = peers.why_missing(peers.python), peers.python_versions("asyncpg", "nats-py", "uvloop")
    kind = {"echora": "ours", "broker": "reference"}.get(name, "peer")
    return Contestant(name, about, kind, missing, versions)


def relay(stage, name, **env):
    """The contestant's process, not started."""
    if name == "echora":
        return stage.worker("relay", **env)
    if name == "python":
        return stage.process(name, [peers.python(), stage.reachable(peers.PEERS / "python/relay.py")], **env)
    return stage.process(name, [stage.reachable(peers.go({"go": "relay"}.get(name, name)))], **env)


def broker(stage, rows, size):
    """The broker's own asynchronous publisher; messages a second as it says, and CPU seconds."""
    meter = Meter(**{"nats-server": stage.nats.pid})
    done = subprocess.run([str(stage.nats_cli()), "--server", stage.nats.url, "bench", "js", "pub", "async", SUBJECT, "--no-progress",
                           f"--msgs={rows}", f"--size={size}B", "--batch=500", f"--stream={STREAM}"],
                          capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL, cwd=stage.folder,
                          env={"HOME": str(stage.folder), "PATH": "/usr/bin:/bin"})
    found = re.search(r"([\d,]+) msgs/sec", done.stdout)
    if done.returncode or not found:
        raise Failed(f"nats bench: {(done.stdout + done.stderr)[-500:]}")
    return {"rate": float(found[1].replace(",", "")), **meter.read()}


class RelayDrain(Job):
    name, about = "relay-drain", __doc__
    figures = (Figure("rate", "rows/s", "stored", True), Figure("first_after", "s", "start to first message", False),
               Figure("cpu_per_million", "s", "relay's CPU a million rows", False),
               Figure("inversions", "", "messages behind a later row of any entity"))
    targets = (Target("3 times the careful Go relay", "rate", ">=", times=3, of="go"),
               Target("8 times Debezium", "rate", ">=", times=8, of="debezium"),
               Target("above the broker's own asynchronous benchmark", "rate", ">=", times=1, of="broker"),
               Target("4 CPU seconds a million", "cpu_per_million", "<=", case="300 B", bound=4),
               Target("15 MB resident", "peak_mib.relay", "<=", bound=15),
               Target("nothing lost", "lost", "<=", bound=0), Target("nothing repeated", "repeated", "<=", bound=0),
               Target("each entity in order", "reordered", "<=", bound=0))
    postgres_settings = {"wal_level": "logical", "shared_buffers": "512MB", "max_wal_size": "4GB"}

    def cases(self, scale):
        shapes = (("300 B, 100 rows a transaction", 1_000_000, 300, 100), ("300 B, one transaction", 1_000_000, 300, 0),
                  ("2 KiB, 100 rows a transaction", 200_000, 2048, 100), ("2 KiB, one transaction", 200_000, 2048, 0))
        for title, full, size, per_transaction in shapes:
            rows = max(1000, round(full * scale))
            yield Case(title, {"rows": rows, "bytes": size, "rows_per_transaction": per_transaction or rows})

    def contestants(self, case):
        return [contestant(name) for name in CONTESTANTS]

    def run(self, stage, case, contestant):
        rows, size = case.parameters["rows"], case.parameters["bytes"]
        stage.fresh()
        statement, table, _ = CONTESTANTS[contestant.name]
        if statement is None:
            return broker(stage, rows, size)
        if table:
            stage.db.do(table)
        if contestant.name == "watermill":
            initialise = stage.process("watermill-init", [stage.reachable(peers.go("watermill")), "init"])
            initialise.start(wait=False).wait(60)
            stage.db.do("ALTER TABLE watermill_bench ALTER payload SET STORAGE EXTERNAL")
        fill(stage.db, statement, rows, size, case.parameters["rows_per_transaction"])
        stage.settle()
        meter = Meter(**stage.pids())
        process = relay(stage, contestant.name)
        started = time.time()
        process.start(wait=False)
        meter.add("relay", process.pid)

        def stored():
            if not process.alive():
                raise Failed(f"it ended:\n{process.tail()}")
            return stage.messages() >= rows
        eventually(stored, 1800, "all rows stored")
        figures = meter.read()
        first, last = stage.stored_at(1), stage.stored_at(rows)
        figures.update(rate=rows / max(last - first, 1e-6), first_after=round(first - started, 3),
                       cpu_per_million=figures["cpu"]["relay"] / rows * 1e6)
        process.stop(timeout=30)
        return {**figures, **checker.check(stage.nats.url, STREAM, rows, size)}


JOB = RelayDrain()
