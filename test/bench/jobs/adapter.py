"""The event adapter to a fast receiver on the same machine: dead letters that wait in the stream, until the receiver
has had each.

The receiver is one Python process without a framework. Every contestant signs each call, makes four at once, writes
one row per attempt and acknowledges after it. Lost and repeated are counted by the receiver, by webhook-id; delivery
is at least once.
"""
import time

from bench.jobs.writer import publish
from bench.kit import peers
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from bench.kit.receiver import Receiver
from harness.receiver import new_secret

CALLS = 4
TABLE = "CREATE TABLE public.bench_delivery (id text, status int, ms int, at timestamptz DEFAULT now())"


def letters(n):
    for i in range(1, n + 1):
        yield "anime.dlq.catalog-updated", b"p" * 512, {
            "Nats-Msg-Id": f"ANIME_EVENTS:1:catalog-updated:{i}", "Echora-Dlq-Subject": "anime.updated",
            "Echora-Dlq-Code": "bad-uuid", "Echora-Dlq-Deliveries": "1", "Echora-Dlq-Fingerprint": "0123456789abcdef",
            "Echora-Dlq-Entity": "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10", "Echora-Dlq-Failed-At": "2026-01-01T00:00:00Z"}


def worker(stage, url, secret_file, **env):
    return stage.worker("adapter", ECHORA_BASE_URL=url, ECHORA_SECRET_FILES=secret_file, ECHORA_ALLOW_HTTP="true",
                        ECHORA_ALLOW_NETWORKS="127.0.0.0/8", ECHORA_CALLS=CALLS, **env)


def secret_file(stage, secret):
    file = stage.folder / "webhook-secret"
    file.write_text(secret + "\n")
    file.chmod(0o644)
    return file


class Adapter(Job):
    name, about = "adapter", __doc__
    figures = (Figure("rate", "webhooks/s", "delivered", True),
               Figure("cpu_per_million", "s", "its CPU a million webhooks", False))
    targets = (Target("5 times the Python sender", "rate", ">=", times=5, of="python"),
               Target("1,000 webhooks a second", "rate", ">=", bound=1000),
               Target("15 MB resident", "peak_mib.sender", "<=", bound=15e6 / 2**20),
               Target("nothing lost", "lost", "<=", bound=0))

    def cases(self, scale):
        yield Case("dead letters", {"letters": max(200, round(20_000 * scale)), "calls": CALLS})

    def contestants(self, case):
        yield Contestant("echora", "echora-adapter with its defaults", "ours")
        yield Contestant("python", "nats-py, httpx, standardwebhooks, asyncpg (peers/python/sender.py)", "peer",
                         (peers.python,),
                         peers.python_versions("nats-py", "httpx", "standardwebhooks", "asyncpg"))

    def run(self, stage, case, contestant):
        n = case.parameters["letters"]
        stage.fresh()
        publish(stage.bus, letters(n), "ANIME_DLQ")
        file = secret_file(stage, new_secret())
        with Receiver() as target:
            if contestant.name == "echora":
                process = worker(stage, target.url, file)
            else:
                stage.db.do(TABLE)
                stage.bus.add_consumer("ANIME_DLQ", "bench", ack_wait=60)
                process = stage.process("python", [peers.python(), stage.reachable(peers.PEERS / "python/sender.py")],
                                        STREAM="ANIME_DLQ", DURABLE="bench", URL=target.url, SECRET_FILE=file,
                                        CALLS=CALLS)
            stage.settle()
            meter = Meter(receiver=target.process.pid, **stage.pids())
            process.start(wait=False)
            meter.add("sender", process.pid)
            began = first = None
            while target.distinct.value < n:
                if began is None and target.calls.value:
                    began, first = time.monotonic(), target.calls.value
                if not process.alive():
                    raise Failed(process.tail())
                time.sleep(0.002 if began is None else 0.01)
            took = time.monotonic() - began if began else 1e-3
            figures = meter.read()
            process.stop(timeout=30)
            calls, distinct = target.calls.value, target.distinct.value
        return {**figures, "rate": (n - (first or 0)) / max(took, 1e-3), "lost": n - distinct,
                "repeated": calls - distinct, "cpu_per_million": figures["cpu"]["sender"] / n * 1e6}


JOB = Adapter()
