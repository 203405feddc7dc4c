"""Many clients that send the same bytes until each has its final answer, while the servers between them and the effect
are killed. The clients know HTTP as far as this takes and nothing of the product."""
import asyncio
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import threading
import time

from harness.settings import PATIENCE

AT_ONCE = 400  # connections
LATER = {(409, "request_in_progress"), (503, "retryable_upstream_error"), (504, "retryable_upstream_error")}


async def exchange(port, request):
    """(status, headers, body) of the one answer on a connection that the server closes; None when it did not come whole."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    try:
        writer.write(request)
        raw = await reader.read(-1)
    except OSError:
        return None
    finally:
        writer.close()
    head, end, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict((n.lower(), v) for n, v in (line.split(": ", 1) for line in lines[1:] if ": " in line))
    if not end or len(body) != int(headers.get("content-length", -1)):
        return None
    return int(lines[0].split()[1]), headers, body


class Storm:
    """`run()` sends `request` from n clients. final: (status, body) → how many got it. told_later: (status, code) → how
    often. strange: answers that nobody may get. broken: connections that brought none."""

    def __init__(self, port, request, n, seed, first=lambda: None, limit=600):
        self.port, self.request, self.n, self.first, self.limit = port, request, n, first, limit * PATIENCE
        self.random = random.Random(seed)
        self.final, self.told_later, self.strange = collections.Counter(), collections.Counter(), []
        self.broken = self.replayed = 0
        self.began = None

    def run(self):
        self.began = time.monotonic()
        asyncio.run(asyncio.wait_for(self.all(), self.limit))
        self.seconds = time.monotonic() - self.began

    async def all(self):
        self.gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self.client() for _ in range(self.n)))

    async def client(self):
        while True:
            async with self.gate:
                answer = await exchange(self.port, self.request)
            if answer is None:
                self.broken += 1
            elif await self.over(*answer):
                return
            await asyncio.sleep(self.random.uniform(0.02, 0.3))

    async def over(self, status, headers, body):
        if 200 <= status < 300:
            if not self.final:
                await asyncio.get_running_loop().run_in_executor(None, self.first)
            self.final[status, body] += 1
            self.replayed += headers.get("idempotent-replayed") == "true"
            return True
        told = json.loads(body)
        self.told_later[status, told["code"]] += 1
        if (status, told["code"]) in LATER and told["retryable"] and int(headers.get("retry-after", 0)) > 0:
            return False
        self.strange.append((status, headers, body))
        return True


class Victim:
    """Something that is killed and started again."""

    def __init__(self, kill, start, alive=lambda: True):
        self.kill, self.start, self.alive = kill, start, alive


def worker(process, points):
    """A process of ours. points: of PLANTED_KILL, where it dies by itself; each start takes the next, while there are
    some."""
    points = list(points)

    def start():
        process.env.pop("PLANTED_KILL", None)
        if points:
            process.env["PLANTED_KILL"] = points.pop(0)
        process.start(wait=False)
    return Victim(process.kill, start, process.alive)


def nginx(api):
    def kill():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(api.nginx.pid, signal.SIGKILL)  # master and worker
        api.nginx.child.wait(10)
    return Victim(kill, api.nginx.start)


def redis(server, emptied):
    def start():
        if emptied:
            shutil.rmtree(server.data / "appendonlydir", ignore_errors=True)
        server.start()
    return Victim(server.kill, start)


class Deaths(threading.Thread):
    """While the storm lasts, kills a victim every now and then, in an order of the seed, and starts it again; none before
    the first has died by itself. `after` (name → function) is called when one is back that died by itself or was killed.
    deaths: name → how often."""

    def __init__(self, seed, victims, after):
        super().__init__(daemon=True)
        self.random, self.victims, self.after = random.Random(seed), victims, after
        self.over, self.deaths, self.trouble = threading.Event(), collections.Counter(), None

    def run(self):
        try:
            while not self.over.is_set():
                self.one()
        except Exception as e:  # told by the test
            self.trouble = e

    def one(self):
        self.wait_and_mend(self.random.uniform(0.1, 0.6))
        if not self.deaths:
            return
        name = self.random.choice(sorted(self.victims))
        self.victims[name].kill()
        self.over.wait(self.random.uniform(0, 0.3))
        self.back(name)

    def wait_and_mend(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.over.wait(0.02):
            for name, victim in self.victims.items():
                if not victim.alive():
                    self.back(name)

    def back(self, name):
        self.deaths[name] += 1
        self.victims[name].start()
        self.after.get(name, lambda: None)()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()
