"""A backlog in the outbox table, filled before the relay starts, until every row is in the stream.

The rate is that of the stream's own time stamps, first to last message. Every contestant has its rows in a table of
its own making with the same payloads, publishes to the same stream as `echora streams apply` makes it (with the
consumers of the index on it), and starts from an empty nats-server. Ours puts its headers (schema, trace, position,
event id) on each message, the peers a Nats-Msg-Id alone.
"""
import re
import subprocess
import time

from bench.kit import checker
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from bench.peers import relays
from bench.peers.relays import STREAM, SUBJECT
from harness.process import eventually

def broker(stage, rows, size):
    """The broker's own asynchronous publisher; messages a second as it says, and CPU seconds."""
    meter = Meter(**{"nats-server": stage.nats.pid})
    argv = [stage.nats_cli(), "--server", stage.nats.url, "bench", "js", "pub", "async", SUBJECT, "--no-progress",
            f"--msgs={rows}", f"--size={size}B", "--batch=500", f"--stream={STREAM}"]
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=600,
                          stdin=subprocess.DEVNULL, cwd=stage.folder,
                          env={"HOME": str(stage.folder), "PATH": "/usr/bin:/bin"})
    found = re.search(r"([\d,]+) msgs/sec", done.stdout)
    if done.returncode or not found:
        raise Failed(f"nats bench: {(done.stdout + done.stderr)[-500:]}")
    return {"rate": float(found[1].replace(",", "")), **meter.read()}


OLD = "300 B, while an old transaction stays open"


class RelayDrain(Job):
    name, about = "relay-drain", __doc__
    figures = (Figure("rate", "rows/s", "stored", True), Figure("first_after", "s", "start to first message", False),
               Figure("cpu_per_million", "s", "relay's CPU a million rows", False),
               Figure("servers_per_million", "s", "both servers' CPU a million rows", False),
               Figure("inversions", "", "messages behind a later row of any entity"))
    targets = (Target("3 times the careful Go relay", "rate", ">=", times=3, of="go"),
               Target("8 times Debezium", "rate", ">=", times=8, of="debezium"),
               Target("above the broker's own asynchronous benchmark", "rate", ">=", times=1, of="broker"),
               Target("4 CPU seconds a million", "cpu_per_million", "<=", case="300 B", bound=4),
               Target("15 MB resident", "peak_mib.relay", "<=", bound=15e6 / 2**20),
               Target("nothing lost", "lost", "<=", bound=0), Target("nothing repeated", "repeated", "<=", bound=0),
               Target("each entity in order", "reordered", "<=", bound=0))
    postgres_settings = {"wal_level": "logical", "shared_buffers": "512MB", "max_wal_size": "4GB"}

    def cases(self, scale):
        shapes = (("300 B, 100 rows a transaction", 1_000_000, 300, 100), ("300 B, one transaction", 1_000_000, 300, 0),
                  (OLD, 300_000, 300, 100),
                  ("2 KiB, 100 rows a transaction", 200_000, 2048, 100), ("2 KiB, one transaction", 200_000, 2048, 0))
        for title, full, size, per_transaction in shapes:
            rows = max(1000, round(full * scale))
            yield Case(title, {"rows": rows, "bytes": size, "rows_per_transaction": per_transaction or rows})

    def contestants(self, case):
        return [*map(relays.contestant, relays.RELAYS),
                Contestant("broker", "no relay: `nats bench js pub async`, which reads no table and checks nothing",
                           "reference")]

    def run(self, stage, case, contestant):
        size = case.parameters["bytes"]
        rows = max(1000, round(case.parameters["rows"] * relays.SHARE.get(contestant.name, 1)))
        stage.fresh()
        if contestant.name == "broker":
            return broker(stage, rows, size)
        process = old = None
        try:
            relays.prepare(stage, contestant.name)
            if case.name == OLD:
                old = stage.db.connect(autocommit=False)
                old.execute("SELECT pg_current_xact_id()")
            relays.fill(stage.db, contestant.name, rows, size, case.parameters["rows_per_transaction"])
            stage.settle()
            process = relays.process(stage, contestant.name)
            figures = self.drained(stage, process, rows)
        finally:
            if old:
                old.close()
            relays.finish(stage, contestant.name, process)
        return {**figures, **checker.check(stage.nats.url, STREAM, rows, size)}

    @staticmethod
    def drained(stage, process, rows):
        meter = Meter(**stage.pids())
        started = time.time()
        process.start(wait=False)
        meter.add("relay", process.pid)

        def stored():
            n = stage.messages()
            if not process.alive() or (n == 0 and time.time() - started > 180):
                raise Failed(f"{n} of {rows} rows stored:\n{process.tail()}")
            return n >= rows
        eventually(stored, 1800, "all rows stored")
        figures = meter.read()
        first, last = stage.stored_at(1), stage.stored_at(rows)
        cpu = figures["cpu"]
        return {**figures, "rate": rows / max(last - first, 1e-6), "first_after": round(first - started, 3),
                "cpu_per_million": cpu["relay"] / rows * 1e6,
                "servers_per_million": (cpu["PostgreSQL"] + cpu["nats-server"]) / rows * 1e6}


JOB = RelayDrain()
