"""Calls of the Command API, with tokens whose key is at hand and a responder that answers at once.

Ours is nginx and the worker behind it. The Go bridge has its own HTTP at the front, and stands once more behind the
same nginx, which then speaks HTTP to it over a Unix socket. Like ours it remembers for a while that a token was good;
once more it verifies each time. Redis, nats-server, responder and load are the same for all: the load keeps connections
with one call at a time on each, and checks status and body of every answer. Calls are check-tag, which needs no
Idempotency-Key; start-incremental-run with a new key each; and that with keys that came before. Each leaves a record on
the stream AUDIT. At a given rate the time of a call counts from when it was due.
"""
import json
import subprocess
from pathlib import Path

from bench.kit import peers
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter, family, peak_mib
from harness import tokens
from harness.gateway import EXECUTE, READ, CommandApi
from harness.process import eventually
from harness.settings import BUILD
from ops.fleet import system

FIRST, KEYS = 100_000_000, 1000  # numbers of calls; how many come before the measured ones
LIMIT = 1_000_000                # calls a minute: nobody is refused
CLIENTS = {"clients": [{"id": "n8n", "scopes": [READ, EXECUTE], "limits": {"read": LIMIT, "execute": LIMIT}}]}
UPSTREAM = "    upstream bridge {\n        server unix:%s;\n        keepalive 64;\n    }\n    server {\n"
PROXY = ("proxy_pass http://bridge;\n            proxy_http_version 1.1;\n            proxy_request_buffering off;\n"
         '            proxy_set_header Connection "";\n            proxy_set_header X-Request-Id $uuid;')
BEHIND_NGINX = ("echora", "go-nginx")
READS, STARTS, REPLAYS = "check-tag", "start-incremental-run", "replays"


def shared_mib(pid):
    """Resident memory of a process now, where a page that n processes have counts an n-th."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


class Bridge(CommandApi):
    """Ours; or the Go bridge, behind nginx or without."""

    def __init__(self, stage, name):
        super().__init__(self.go if name.startswith("go") else self.ours, stage.redis, stage.folder)
        self.stage, self.name, self.clients = stage, name, CLIENTS

    def ours(self, kind, env, wait=True):
        return self.stage.worker(kind, **{**env, "ECHORA_LOG_LEVEL": "info"}).start(wait=wait)

    def go(self, _kind, env, wait=True):
        listen = self.socket if self.name in BEHIND_NGINX else f"127.0.0.1:{self.port}"
        return self.stage.process(
            "go", [self.stage.reachable(peers.go("bridge", "bridge"))], LISTEN=listen, ISSUER=tokens.ISSUER,
            AUDIENCE=tokens.AUDIENCE, JWKS=env["ECHORA_JWKS"], CLIENTS=env["ECHORA_CLIENTS"],
            REDIS_ADDRESS=f"127.0.0.1:{self.redis.port}", REDIS_USER="command",
            REDIS_PASSWORD_FILE=self.redis.secret_files["command"],
            VERIFY="always" if self.name == "go-verifies" else "once").start(wait=wait)

    def connected(self):
        if self.name in BEHIND_NGINX:
            return super().connected()
        return eventually(lambda: system.port_open(self.port), 20, "the bridge")

    def nginx_conf(self, folder, **more):
        text = super().nginx_conf(folder, **more)
        if self.name == "go-nginx":
            text = text.replace("    server {\n", UPSTREAM % self.socket).replace(f"scgi_pass unix:{self.socket};", PROXY)
        return text

    def start(self):
        super().start(nginx=self.name in BEHIND_NGINX)
        if self.nginx:
            self.stage.processes.append(self.nginx)
        return self

    def load(self, call, connections, seconds, rate=0, first=FIRST, distinct=0):
        """What the load saw; Failed when an answer was wrong or none came."""
        told = self.try_load(call, connections, seconds, rate, first, distinct)
        if told["wrong"] or told["answered"] < told["sent"]:
            raise Failed(f"{told}\n{self.worker.tail()}")
        return told

    def try_load(self, call, connections, seconds, rate=0, first=FIRST, distinct=0):
        """What the load saw, wrong answers included."""
        argv = [BUILD / "test/bench/command_load", self.port, call, connections, seconds, rate, first, distinct]
        done = subprocess.run(list(map(str, argv)), input=self.token(f"{READ} {EXECUTE}"), text=True, capture_output=True,
                              timeout=seconds + 60)
        if done.returncode:
            raise Failed(f"{done.stderr}\n{self.worker.tail()}")
        return json.loads(done.stdout)


def start_responder(stage):
    """One that answers at once, and counts."""
    stage.process("responder", [stage.reachable(BUILD / "test/bench/command_responder"), stage.nats.url]).start()
    eventually(lambda: responded(stage), 20, "the responder")


def responded(stage):
    """What it counted; None while nobody listens."""
    try:
        return json.loads(stage.bus.request("bench.count", b"").data)
    except Exception:
        return None


class CommandApiJob(Job):
    name, about = "command-api", __doc__
    servers = ("nats", "redis")
    figures = (Figure("rate", "calls/s", "answered", True), Figure("p50", "ms", "p50", False),
               Figure("p99", "ms", "p99", False), Figure("bridge_us", "us", "its CPU a call, nginx included", False),
               Figure("worker_us", "us", "of it without nginx", False),
               Figure("bridge_mib", "MiB", "resident, nginx included", False),
               Figure("worker_mib", "MiB", "of it without nginx", False),
               Figure("bridge_pss_mib", "MiB", "nginx included, shared pages in part (Pss)", False))
    targets = (Target("2,000 calls a second", "rate", ">=", case="as fast", bound=2000),
               Target("p99 of 10 ms at 2,000 a second", "p99", "<=", case="2,000", bound=10),
               Target("20 MB resident", "worker_mib", "<=", bound=20e6 / 2**20),
               Target("1.5 times the Go bridge", "rate", ">=", case="as fast", times=1.5, of="go"),
               Target("1.5 times it behind the same nginx", "rate", ">=", case="as fast", times=1.5, of="go-nginx"),
               Target("1.5 times it where it verifies each token", "rate", ">=", case="as fast", times=1.5, of="go-verifies"),
               Target("half the Go bridge's memory", "bridge_mib", "<=", times=0.5, of="go"),
               Target("nothing lost", "lost", "<=", bound=0), Target("nothing repeated", "repeated", "<=", bound=0))

    def cases(self, scale):
        seconds = max(0.5, round(1.5 * scale, 1))
        for call, connections in ((READS, 32), (STARTS, 32), (REPLAYS, 32)):
            yield Case(f"as fast as they come: {call}",
                       {"call": call, "rate": 0, "connections": connections, "seconds": seconds})
        for call in (READS, STARTS):
            yield Case(f"2,000 a second: {call}", {"call": call, "rate": 2000, "connections": 48, "seconds": seconds})

    def contestants(self, case):
        yield Contestant("echora", "nginx and echora-command-api with its defaults", "ours")
        needs, versions = (peers.go, "bridge", "bridge"), peers.go_versions("bridge", "jwt/v5", "go-redis/v9", "nats.go")
        about = "net/http, golang-jwt, go-redis, nats.go (peers/bridge)"
        yield Contestant("go", about, "peer", needs, versions)
        if case.parameters["rate"] == 0:
            yield Contestant("go-nginx", "that behind the same nginx", "peer", needs, versions)
            yield Contestant("go-verifies", "that, which verifies a token each time that it comes", "peer", needs, versions)

    def run(self, stage, case, contestant):
        p = case.parameters
        stage.fresh()
        start_responder(stage)
        bridge = Bridge(stage, contestant.name).start()
        before = bridge.load("check-tag" if p["call"] == READS else "start", 16, 0.25, rate=KEYS / 0.25)
        watched = Meter(bridge=bridge.worker.pid, **({"nginx": bridge.nginx.pid} if bridge.nginx else {}), **stage.pids())
        how = {READS: ("check-tag", FIRST + KEYS, 0), STARTS: ("start", FIRST + KEYS, 0), REPLAYS: ("replay", FIRST, KEYS)}
        call, first, distinct = how[p["call"]]
        told = bridge.load(call, p["connections"], p["seconds"], p["rate"], first, distinct)
        return {**self.told(watched.read(), told, bridge),
                **self.checked(stage, before["answered"] + told["answered"],
                               before["answered"] + (0 if distinct else told["answered"]))}

    @staticmethod
    def told(figures, told, bridge):
        nginx = sum(filter(None, map(peak_mib, family(bridge.nginx.pid)))) if bridge.nginx else 0
        processes = [p for one in (bridge.worker, bridge.nginx) if one for p in family(one.pid)]
        worker, cpu, n = figures["peak_mib"]["bridge"], figures["cpu"], told["answered"]
        if nginx:
            figures["peak_mib"]["nginx"] = round(nginx, 1)
        return {**figures, "rate": n / told["seconds"], "p50": told["p50"] / 1000, "p99": told["p99"] / 1000,
                "worker_us": cpu["bridge"] / n * 1e6, "bridge_us": (cpu["bridge"] + cpu.get("nginx", 0)) / n * 1e6,
                "worker_mib": worker, "bridge_mib": round(worker + nginx, 1),
                "bridge_pss_mib": round(sum(map(shared_mib, processes)), 1)}

    def checked(self, stage, calls, effects):
        """Each call was carried out once, but for replays, and is in the audit."""
        eventually(lambda: stage.messages("AUDIT") >= calls, 10, f"{calls} audit records")
        counted = responded(stage)
        done, audited = counted["checked"] + counted["started"], stage.messages("AUDIT")
        return {"lost": max(0, effects - done) + max(0, calls - audited),
                "repeated": max(0, done - effects) + max(0, audited - calls)}


JOB = CommandApiJob()
