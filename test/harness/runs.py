"""catalog.reconcile under an Idempotency-Key, as the Command API passes it on."""
import concurrent.futures
import json

from .chain import anime, ident
from .once import key_hash, once_headers


class Refused(Exception):
    """code: Nats-Service-Error-Code."""

    def __init__(self, headers):
        super().__init__(f"{headers['Nats-Service-Error-Code']}: {headers['Nats-Service-Error']}")
        self.code, self.refusal = headers["Nats-Service-Error-Code"], headers["Echora-Error-Class"]


class Runs:
    """A chain with some anime, which are then taken out of the index behind everybody's back."""

    def __init__(self, chain, spawn, n=30):
        self.chain, self.all = chain, [anime(i) for i in range(n)]
        self.worker = spawn("qdrant")
        chain.publish(*self.all)
        chain.quiet()

    def lose(self, *numbers):
        points = [ident(1, i) for i in numbers or range(len(self.all))]
        status, _ = self.chain.qdrant.call("POST", "/collections/anime_database/points/delete?wait=true", {"points": points})
        assert status == 200

    def ask(self, key="k", token=1, bus=None, timeout=60, **body):
        headers = {"Content-Type": "application/json", **(once_headers(key, token) if key else {})}
        reply = (bus or self.chain.streams.bus("operator")).request("catalog.reconcile", json.dumps(body).encode(),
                                                                    headers=headers, timeout=timeout)
        if "Nats-Service-Error-Code" in (reply.headers or {}):
            raise Refused(reply.headers)
        return json.loads(reply.data)

    def refusal(self, *args, **body):
        """The code, or the reply when it was none."""
        try:
            return self.ask(*args, **body)
        except Refused as e:
            return e.code

    def at_once(self, n, **body):
        """What n askers at the same time are told."""
        return [asked.result() for asked in [self.begin(**body) for _ in range(n)]]

    def begin(self, **body):
        """Asks, and does not wait: a future of what `refusal` returns."""
        asker = concurrent.futures.ThreadPoolExecutor(1)
        future = asker.submit(self.refusal, bus=self.chain.streams.bus("operator"), **body)
        asker.shutdown(wait=False)
        return future

    def subject(self, key="k"):
        return f"kept.catalog.reconcile.{key_hash(key)}"

    def note(self, key="k"):
        return next((json.loads(m.data) for m in self.chain.bus.messages("WORKER_REPLIES") if m.subject == self.subject(key)), None)

    def sent(self):
        """How many entities repair has sent to be synced."""
        return sum("Echora-Repair" in (headers or {}) for _, _, headers, _ in self.chain.bus.read("ANIME_SYNC"))

    def check(self):
        self.chain.quiet()
        self.chain.check(self.all)
