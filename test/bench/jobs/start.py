"""From starting a worker's process until it says that it is ready, with its servers there and nothing to do. Asked
every millisecond."""
import socket
import time

from bench.jobs.adapter import secret_file, worker
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from harness.gateway import CommandApi
from harness.receiver import new_secret

KINDS = ("catalogue", "relay", "qdrant", "dead-letters", "adapter", "command-api")


def ready(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
            s.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return s.recv(64).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


class Start(Job):
    name, about = "start", __doc__
    servers = ("postgres", "nats", "qdrant", "redis")
    figures = (Figure("ready_ms", "ms", "ready after", False), Figure("rss_mib", "MiB", "resident then", False))
    targets = (Target("50 ms", "ready_ms", "<=", bound=50),)

    def cases(self, scale):
        for kind in KINDS:
            yield Case(kind)

    def contestants(self, case):
        return [Contestant("echora", f"{case.name}, defaults", "ours")]

    def run(self, stage, case, contestant):
        if stage.db is None:
            stage.fresh()
            if case.name == "qdrant":  # which is not ready before the catalogue answers
                stage.worker("catalogue").start()
            # What a first start makes (collections, batches) is there at every other one.
            self.process(stage, case.name).start().stop()
        process = self.process(stage, case.name)
        began = time.monotonic()
        process.start(wait=False)
        while not ready(process.port):
            if not process.alive() or time.monotonic() - began > 30:
                raise Failed(process.tail())
            time.sleep(0.001)
        took = time.monotonic() - began
        resident = process.memory() / 2**20
        process.stop()
        return {"ready_ms": took * 1000, "rss_mib": resident}

    @staticmethod
    def process(stage, kind):
        """A worker with its defaults, not started."""
        if kind == "adapter":
            return worker(stage, "http://127.0.0.1:9", secret_file(stage, new_secret()))
        if kind == "command-api":  # the worker alone: nginx is no program of ours
            api = CommandApi(lambda kind, env, wait: stage.worker(kind, **env), stage.redis, stage.folder)
            return api.start(nginx=False, wait=False).worker
        return stage.worker(kind)


JOB = Start()
