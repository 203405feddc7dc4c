"""Dead letters as workers write them, made here by hand, and requests about them as `nats req` sends them."""
import functools
import json

import jsonschema

from .process import eventually
from .settings import ROOT


@functools.cache
def schema(subject, part):
    """The published schema of a request or an answer."""
    file = ROOT / f"contracts/schemas/v1/{subject}.{part}.json"
    return jsonschema.Draft202012Validator(json.loads(file.read_text()))


def demand_schema(subject, part, value):
    wrong = [f"{e.json_path}: {e.message}"[:300] for e in schema(subject, part).iter_errors(value)]
    assert not wrong, f"not what contracts/schemas says of {subject}, {part}: {wrong[:3]}"


class Refused(Exception):
    """An answer that is an error; str() is its code."""


class DeadLetters:
    def __init__(self, streams):
        self.streams, self.buses = streams, {}
        self.bus = streams.bus("admin")

    def as_user(self, user):
        if user not in self.buses:
            self.buses[user] = self.streams.bus(user)
        return self.buses[user]

    def ask(self, subject, user="operator", timeout=10, headers=None, **body):
        """The answer. It, and what was asked, are held against the published schemas."""
        reply = self.as_user(user).request(subject, json.dumps(body).encode(), timeout=timeout, headers=headers)
        code = (reply.headers or {}).get("Nats-Service-Error-Code")
        if code:
            raise Refused(code, reply.headers["Nats-Service-Error"])
        assert reply.headers["Content-Type"] == "application/json"
        answer = json.loads(reply.data)
        demand_schema(subject, "request", body)
        demand_schema(subject, "answer", answer)
        return answer

    def list(self, user="viewer", **body):
        return self.ask("dlq.list", user, **body)

    def letters(self, **filter):
        return self.list(filter=filter).get("letters", [])

    def write(self, n, consumer="catalog-updated", code="bad-uuid", kind="reject", payload=b"payload", stream="ANIME_EVENTS",
              subject="anime.updated", hop=0, parked=False, entity="", reason="", fingerprint=None, headers=None):
        """A letter of sequence n of the stream; returns its id."""
        created = 1_700_000_000
        identity = f"{stream}:{created}:{consumer}:{n}"
        self.as_user("deadletters").publish(
            f"anime.dlq.{'parked.' if parked else ''}{consumer}", payload, headers={
                "Nats-Msg-Id": identity, "Echora-Dlq-Stream": stream, "Echora-Dlq-Consumer": consumer,
                "Echora-Dlq-Subject": subject, "Echora-Dlq-Seq": str(n), "Echora-Dlq-Deliveries": "1",
                "Echora-Dlq-Class": kind, "Echora-Dlq-Code": code, "Echora-Dlq-Hop": str(hop),
                "Echora-Dlq-Fingerprint": fingerprint or f"{consumer}/{code}", "Echora-Dlq-Reason": reason or "a reason",
                "Echora-Dlq-First-Seen": "2026-01-01T00:00:00Z", "Echora-Dlq-Failed-At": f"2026-01-01T01:{n % 60:02}:00Z",
                "Echora-Dlq-Worker": "test", **({"Echora-Dlq-Entity": entity} if entity else {}), **(headers or {})})
        return identity

    def indexed(self, timeout=20):
        """Waits until the index holds all that the stream holds."""
        eventually(lambda: self.bus.settled("ANIME_DLQ", "dlq-index"), timeout, "all letters indexed")

    def plan(self, plan_id, user="viewer"):
        (plan,) = self.ask("dlq.status", user, planId=plan_id)["plans"]
        return {k: int(v) if k in COUNTS else v for k, v in plan.items()}

    def replay(self, action="replay", **body):
        return self.ask(f"dlq.{action}", **body)["plan"]

    def finished(self, plan_id, timeout=30, state="done"):
        """Waits until the plan has this state and no event is without its outcome; returns the plan."""
        def over():
            plan = self.plan(plan_id)
            return plan if plan["state"] == state and not plan.get("sent") and not plan.get("enqueued") else None
        try:
            return eventually(over, timeout, "plan finished")
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.plan(plan_id)}") from None

    def audit(self, plan_id=None):
        records = [json.loads(m.data) for m in self.bus.messages("AUDIT") if m.subject == "audit.dlq"]
        return [r for r in records if plan_id in (None, r["planId"])]

    def replayed(self, stream="ANIME_EVENTS"):
        """What replays have published: (headers, payload)."""
        return [(headers, payload) for _, _, headers, payload in self.bus.read(stream) if "Echora-Replay-Id" in headers]


COUNTS = {"total", "waiting", "sent", "enqueued", "done", "failed", "discarded", "skipped", "gone"}
