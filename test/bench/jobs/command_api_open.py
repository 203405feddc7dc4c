"""How long good clients of the Command API wait, 300 calls a second through nginx at their own pace, while a thousand
connections are half open: silent, with slow heads, with slow bodies, and silent ones at the worker's own socket; and the
same without them, which is what it is held against."""
import asyncio
import contextlib
import multiprocessing
import time

from bench.kit import stats
from bench.kit.job import Case, Contestant, Failed, Figure, Job, Target
from bench.kit.meter import Meter
from harness import servers
from harness.gateway import CommandApi, Responder, reply
from harness.half_open import HalfOpen
from ops.fleet import system

RATE = 300
CLIENTS = 8  # connections that are kept
HALF_OPEN = {"silent": 250, "heads": 300, "bodies": 200, "strangers": 200, "direct": 50}


class Client:
    """One connection of a good client; a second call waits for the first one's answer."""

    def __init__(self, port, request):
        self.port, self.request, self.lock, self.writer = port, request, asyncio.Lock(), None

    async def call(self):
        """Whether it was answered with 200."""
        async with self.lock:
            try:
                return await self.exchange()
            except (OSError, asyncio.IncompleteReadError):
                self.writer = None
                return False

    async def exchange(self):
        if self.writer is None:
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writer.write(self.request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        await self.reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
        return head.startswith(b"http/1.1 200")


async def paced(port, request, n):
    """Milliseconds from when each call was due to its answer, and how many went wrong."""
    clients = [Client(port, request) for _ in range(CLIENTS)]
    took, refused = [], 0

    async def one(client, due):
        nonlocal refused
        refused += not await client.call()
        took.append((time.monotonic() - due) * 1000)
    for client in clients:
        await client.call()  # connected
    began, calls = time.monotonic() + 0.1, []
    for i in range(n):
        due = began + i / RATE
        await asyncio.sleep(max(0, due - time.monotonic()))
        calls.append(asyncio.ensure_future(one(clients[i % CLIENTS], due)))
    await asyncio.gather(*calls)
    return took, refused


def good_clients(port, request, n, answer):
    answer.put(asyncio.run(paced(port, request, n)))


class CommandApiOpen(Job):
    name, about = "command-api-open", __doc__
    figures = (Figure("p99", "ms", "p99", False), Figure("p50", "ms", "p50", False), Figure("worst", "ms", "worst", False))
    targets = (Target("p99 within 20 % of the one without", "p99", "<=", times=1.2, of="alone"),
               Target("nobody refused", "refused", "<=", bound=0))
    servers = ("nats",)

    def cases(self, scale):
        yield Case("calls", {"calls": max(300, round(9000 * scale))})

    def contestants(self, case):
        return [Contestant("echora", f"{sum(HALF_OPEN.values())} half-open connections", "ours"),
                Contestant("alone", "none", "reference")]

    def run(self, stage, case, contestant):
        stage.fresh()
        folder = stage.folder / f"api-{time.monotonic_ns()}"
        folder.mkdir()
        system.own(folder)
        folder.chmod(0o755)
        redis = servers.Redis(folder)
        redis.start()
        api = CommandApi(lambda kind, env: stage.worker(kind, **env).start(), redis, folder)
        try:
            api.start()
            with Responding(stage.bus):
                return self.measured(api, case.parameters["calls"], HALF_OPEN if contestant.kind == "ours" else {})
        finally:
            api.stop()
            redis.stop()

    @staticmethod
    def measured(api, n, half_open):
        request = (f"GET /workflow/runs/7 HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer {api.token()}\r\n\r\n"
                   ).encode()
        answer = multiprocessing.Queue()
        token = api.file("token", api.token())
        with HalfOpen(api.port, api.socket, token, **half_open) if half_open else contextlib.nullcontext():
            meter = Meter(api=api.worker.pid, nginx=api.nginx.pid)
            good = multiprocessing.Process(target=good_clients, args=(api.port, request, n, answer))
            good.start()
            took, refused = answer.get(timeout=120 + n / RATE)
            good.join()
            figures = meter.read()
        if len(took) != n:
            raise Failed(f"{len(took)} answers to {n} calls")
        took.sort()
        return {**figures, "p50": stats.percentile(took, 0.5), "p99": stats.percentile(took, 0.99), "worst": took[-1],
                "refused": refused}


class Responding:
    """Somebody who answers at once. Scripted: what is measured stands in front of it."""

    def __init__(self, bus):
        self.responder = Responder(bus, "command.run-get", "command.finalize-run")
        for subject in ("command.run-get", "command.finalize-run"):
            self.responder.answers[subject] = reply(200, {"run_id": 7})

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.responder.close()


JOB = CommandApiOpen()
