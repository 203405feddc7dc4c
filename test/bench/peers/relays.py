"""The contestants of the relay jobs: how their tables are made and filled, and how they are started.

Every contestant has its rows in a table of its own making with the same payloads and publishes to the same stream, as
`echora streams apply` makes it.
"""
import contextlib
import random
import shutil

from bench.kit import checker, peers
from bench.kit.job import Contestant
from harness.outbox import HEADERS
from harness.process import eventually
from ops.fleet import system

ENTITIES, STREAM, SUBJECT = 1000, "ANIME_SYNC", "anime.synced"
POOL_BYTES = 64_000
# Random text, so that PostgreSQL's compression finds nothing in one relay's table that it finds in no other's.
# As bytes: of a text, PostgreSQL counts the characters up to where a piece begins.
PAYLOAD = ("(convert_to(" + checker.SQL_HEAD.format(entities=ENTITIES) +
           ", 'UTF8') || substr({pool}, (1 + (i * 7919) % ({most} - {filler}))::int, {filler}))")
OURS = ("INSERT INTO catalog.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload) "
        "SELECT '" + STREAM + "', '" + SUBJECT + "', 'anime', md5({entity}::text)::uuid, gen_random_uuid(), "
        "'{headers}', {payload} FROM generate_series({first}, {last}) AS i")
PLAIN_TABLE = ("CREATE TABLE public.bench_outbox (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
               "subject text NOT NULL, event_id uuid NOT NULL, payload bytea NOT NULL); "
               "ALTER TABLE public.bench_outbox ALTER payload SET STORAGE EXTERNAL")
PLAIN = ("INSERT INTO public.bench_outbox (subject, event_id, payload) "
         "SELECT '" + SUBJECT + "', gen_random_uuid(), {payload} FROM generate_series({first}, {last}) AS i")
WATERMILL = ("INSERT INTO watermill_bench (uuid, payload, metadata, transaction_id) "
             "SELECT gen_random_uuid()::text, {payload}, '{{}}', pg_current_xact_id() "
             "FROM generate_series({first}, {last}) AS i")


def fill(db, name, rows, size, per_transaction):
    """Rows 0 to rows-1 into the contestant's table, in transactions of that many. Filling isn't measured, so it
    doesn't wait for the disk."""
    filler = size - checker.HEAD_BYTES
    most = max(POOL_BYTES, 2 * size)
    pool = "".join(random.Random(1).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=most))
    text = RELAYS[name][0].format(
        entity=checker.SQL_ENTITY.format(entities=ENTITIES), headers=HEADERS.replace("'", "''"),
        first="low", last=f"least(low + {per_transaction}, {rows}) - 1",
        payload=PAYLOAD.format(pool="pool", most=most, filler=filler))
    with db.connect() as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute(f"DO $fill$ DECLARE low bigint := 0; pool CONSTANT bytea := '{pool}'; BEGIN "
                           f"WHILE low < {rows} LOOP {text}; COMMIT; low := low + {per_transaction}; END LOOP; "
                           "END $fill$")


# name: (statement that fills its table, what makes that, kind, what it is)
RELAYS = {
    "echora": (OURS, "", "ours", "echora-relay with its defaults, the housekeeping included"),
    "go": (PLAIN, PLAIN_TABLE, "peer",
           "a careful relay in Go (peers/go/relay): pgx, nats.go, SKIP LOCKED, asynchronous publish, deletes"),
    "python": (PLAIN, PLAIN_TABLE, "peer", "the same in Python (peers/python/relay.py): asyncpg, nats-py, uvloop"),
    "watermill": (WATERMILL, "", "peer",
                  "Watermill (peers/go/watermill): SQL subscriber, router, JetStream publisher"),
    "bento": (PLAIN, PLAIN_TABLE + "; ALTER TABLE public.bench_outbox ADD claimed_at timestamptz", "peer",
              "Bento (peers/bento/relay.yaml): claims, publishes up to 1,024 at once, deletes; does not keep order"),
    "debezium": (PLAIN, PLAIN_TABLE + "; CREATE PUBLICATION bench FOR TABLE public.bench_outbox "
                 "WITH (publish = 'insert')", "peer",
                 "Debezium Server (peers/debezium): logical decoding, outbox event router, JetStream sink"),
}
# They take minutes for what others do in seconds, and are quicker with few rows.
SHARE = {"python": 0.1, "bento": 0.1, "watermill": 0.1}
MADE = {"go": (peers.go, "relay"), "watermill": (peers.go, "watermill"), "python": (peers.python,),
        "bento": (peers.go, "bento", "bento"), "debezium": (peers.debezium,)}


def versions(name):
    modules = {"go": ("go", "pgx/v5", "nats.go"), "bento": ("bento", "bento"),
               "watermill": ("go", "watermill", "watermill-sql/v4", "watermill-nats/v2")}
    if name in modules:
        return peers.go_versions(*modules[name])
    return {"python": lambda: peers.python_versions("asyncpg", "nats-py", "uvloop"),
            "debezium": peers.debezium_versions}.get(name, dict)()


def contestant(name):
    _, _, kind, about = RELAYS[name]
    if name in SHARE:
        about += "; relay-drain on a tenth of the rows"
    return Contestant(name, about, kind, MADE.get(name, ()), versions(name))


def prepare(stage, name):
    """The contestant's table, empty."""
    table = RELAYS[name][1]
    if table:
        stage.db.do(table)
    if name == "watermill":
        stage.process("watermill-init", [stage.reachable(peers.go("watermill")), "init"]).start(wait=False).wait(60)
        stage.db.do("ALTER TABLE watermill_bench ALTER payload SET STORAGE EXTERNAL")
    if name == "debezium":
        stage.db.do("SELECT pg_create_logical_replication_slot('bench', 'pgoutput')")


def process(stage, name, **env):
    """The contestant's process, not started."""
    if name == "echora":
        return stage.worker("relay", **env)
    if name == "python":
        return stage.process(name, [peers.python(), stage.reachable(peers.PEERS / "python/relay.py")], **env)
    if name == "bento":
        return stage.process(name, [stage.reachable(peers.go("bento", "bento")), "-c",
                                    stage.reachable(peers.PEERS / "bento/relay.yaml")], **env)
    if name == "debezium":
        return debezium(stage, **env)
    return stage.process(name, [stage.reachable(peers.go("relay" if name == "go" else name))], **env)


def debezium(stage, **env):
    folder = stage.folder / "config"  # where Quarkus looks, below the working directory
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    shutil.copyfile(peers.PEERS / "debezium/application.properties", folder / "application.properties")
    offsets = stage.folder / "offsets"
    offsets.unlink(missing_ok=True)
    offsets.touch()
    system.own(offsets)
    return stage.process("debezium", peers.debezium(), BENCH_PG_PORT=stage.pg.port,
                         BENCH_PG_PASSWORD=stage.pg.PASSWORD, BENCH_PG_DATABASE=stage.db.name,
                         BENCH_OFFSETS=offsets, BENCH_HTTP_PORT=system.free_port(), **env)


def finish(stage, name, running):
    """Stops it; a slot would keep its database."""
    if running and running.alive():
        with contextlib.suppress(AssertionError):
            running.stop(timeout=30)
    if name == "debezium":
        stage.db.do("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
        eventually(lambda: not stage.db.all("SELECT FROM pg_replication_slots WHERE active"), 20, "slot free")
        stage.db.do("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
