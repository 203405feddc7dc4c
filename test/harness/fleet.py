"""Our own executables under test: workers with their health endpoint, and the `echora` command."""
import json
import os
import re
import subprocess

from ops.fleet import system

from .process import Process, eventually
from .servers import http_get
from .settings import BUILD, ROOT

# Executable, NATS user and database role of each worker.
WORKERS = {
    "catalogue": ("workers/catalogue/echora-catalogue", "catalogue", "echora_catalogue"),
    "relay": ("outbox/echora-relay", "relay", "echora_relay"),
    "qdrant": ("workers/qdrant/echora-qdrant-sync", "qdrant", None),
    "dead-letters": ("workers/dead_letters/echora-dead-letters", "deadletters", "echora_deadletters"),
    "adapter": ("workers/adapter/echora-adapter", "adapter", "echora_adapter"),
    "command-api": ("workers/command_api/echora-command-api", "command", None),
    "plain-writer": ("test/bench/plain-writer", "catalogue", "echora_catalogue"),
    "scripted": ("test/worker/echora-scripted", "catalogue", "echora_catalogue"),
}


def executable(kind):
    return BUILD / WORKERS[kind][0]


def reachable_copy(path, folder):
    """The path itself, or a copy below `folder` when the servers' account can't reach the build folder."""
    if system.reachable(path):
        return path
    copy = folder / path.name
    if not copy.exists() or copy.stat().st_mtime < path.stat().st_mtime:
        copy.write_bytes(path.read_bytes())
        copy.chmod(0o755)
    return copy


class Worker(Process):
    """One process of the fleet on a free health port. `env` adds or overrides ECHORA_… variables."""

    def __init__(self, kind, folder, nats=None, database=None, qdrant=None, env=None, argv=(), name=None):
        _, user, role = WORKERS[kind]
        self.kind = kind
        self.port = system.free_port()
        settings = {"ECHORA_LISTEN": f"127.0.0.1:{self.port}", "ECHORA_LOG_LEVEL": "debug"}
        if nats:
            settings.update(ECHORA_NATS_URL=nats.url, ECHORA_NATS_USER=user,
                            ECHORA_NATS_PASSWORD_FILE=nats.secret_files[user])
        if database and role:
            settings.update(ECHORA_PG_URL=database.url(role),
                            ECHORA_PG_PASSWORD_FILE=database.password_file(role))
        if qdrant and kind == "qdrant":
            settings["ECHORA_QDRANT_URL"] = qdrant.url
        settings.update(env or {})
        program = reachable_copy(executable(kind), folder)
        wrapper = os.environ.get("ECHORA_TEST_WRAPPER", "").split()  # valgrind and its options
        super().__init__(name or f"{kind}-{self.port}", [*wrapper, program, *argv], folder, env=settings,
                         ready=lambda: self.http("/readyz")[0] == 200)

    def http(self, path):
        return http_get(f"http://127.0.0.1:{self.port}{path}")

    def is_ready(self):
        return self.http("/readyz")[0] == 200

    def wait_unready(self, timeout=5):
        eventually(lambda: not self.is_ready(), timeout, f"{self.name} not ready")

    def metrics(self):
        """{'name{label="value"}': number} from /metrics."""
        status, text = self.http("/metrics")
        assert status == 200, f"/metrics: {status} {text}"
        values = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.rpartition(" ")
                values[key] = float(value)
        return values

    def metric(self, name, **labels):
        """The sum of all series of that name that carry these labels."""
        total = 0.0
        for key, value in self.metrics().items():
            base, _, rest = key.partition("{")
            have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
            if base == name and all(have.get(k) == v for k, v in labels.items()):
                total += value
        return total

    def logs(self):
        """The parsed JSON log lines; what is no JSON is left out."""
        out = []
        for line in self.text().splitlines():
            try:
                out.append(json.loads(line))
            except ValueError:
                continue
        return out


class Result:
    def __init__(self, completed):
        self.code, self.out, self.err = completed.returncode, completed.stdout, completed.stderr

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        """One parsed JSON document per output line."""
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]

    def __repr__(self):
        return f"<exit {self.code}\nout: {self.out[-2000:]}\nerr: {self.err[-2000:]}>"


class Echora:
    """Runs the `echora` command against the test servers. Calls return a Result; ok=True asserts exit 0."""

    def __init__(self, nats=None, database=None, qdrant=None, user="operator", role="echora_reader"):
        self.nats, self.database, self.qdrant = nats, database, qdrant
        self.user, self.role = user, role

    def environment(self, user=None, role=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ECHORA_")}
        user, role = user or self.user, role or self.role
        if self.nats:
            env.update(ECHORA_NATS_URL=self.nats.url, ECHORA_NATS_USER=user,
                       ECHORA_NATS_PASSWORD_FILE=str(self.nats.secret_files[user]))
        if self.database:
            env.update(ECHORA_PG_URL=self.database.url(role),
                       ECHORA_PG_PASSWORD_FILE=str(self.database.password_file(role)))
        if self.qdrant:
            env["ECHORA_QDRANT_URL"] = self.qdrant.url
        return env

    def __call__(self, *argv, user=None, role=None, input=None, ok=True, timeout=60, env=None):
        environment = dict(self.environment(user, role), **(env or {}))
        binary = input is not None and isinstance(input, bytes)
        completed = subprocess.run([str(BUILD / "ops/echora"), *map(str, argv)], env=environment,
                                   cwd=str(ROOT), input=input, capture_output=True, text=not binary,
                                   timeout=timeout, stdin=None if input is not None else subprocess.DEVNULL)
        result = Result(completed)
        if ok:
            assert result.code == 0, f"echora {' '.join(map(str, argv))}: {result!r}"
        return result
