"""How long good clients of the Command API wait, 300 calls a second through nginx at their own pace, while a thousand
connections are half open: silent, with slow heads, with slow bodies, and silent ones at the worker's own socket; and the
same without them, which is what it is held against. The time of a call counts from when it was due, and each answer is
checked."""
import contextlib

from bench.jobs.command_api import READS, Bridge, start_responder
from bench.kit.job import Case, Contestant, Figure, Job, Target
from bench.kit.meter import Meter
from harness.half_open import HalfOpen

RATE = 300
CONNECTIONS = 8  # of the good clients
HALF_OPEN = {"silent": 250, "heads": 300, "bodies": 200, "strangers": 200, "direct": 50}


class CommandApiOpen(Job):
    name, about = "command-api-open", __doc__
    figures = (Figure("p99", "ms", "p99", False), Figure("p50", "ms", "p50", False), Figure("worst", "ms", "worst", False))
    targets = (Target("p99 within 20 % of the one without", "p99", "<=", times=1.2, of="alone"),
               Target("nobody refused", "refused", "<=", bound=0))
    servers = ("nats", "redis")

    def cases(self, scale):
        yield Case("calls", {"seconds": max(1, round(30 * scale, 1))})

    def contestants(self, case):
        return [Contestant("echora", f"{sum(HALF_OPEN.values())} half-open connections", "ours"),
                Contestant("alone", "none", "reference")]

    def run(self, stage, case, contestant):
        stage.fresh()
        start_responder(stage)
        bridge = Bridge(stage, "echora").start()
        token = bridge.file("token", bridge.token())
        crowd = HALF_OPEN if contestant.kind == "ours" else {}
        with HalfOpen(bridge.port, bridge.socket, token, **crowd) if crowd else contextlib.nullcontext():
            bridge.try_load(READS, CONNECTIONS, 0.5, RATE)  # connected, the token known
            meter = Meter(api=bridge.worker.pid, nginx=bridge.nginx.pid)
            told = bridge.try_load(READS, CONNECTIONS, case.parameters["seconds"], RATE)
            figures = meter.read()
        return {**figures, "p50": told["p50"] / 1000, "p99": told["p99"] / 1000, "worst": told["most"] / 1000,
                "refused": told["sent"] - told["answered"], "first_refused": told["first_wrong"]}


JOB = CommandApiOpen()
