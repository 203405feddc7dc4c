"""All that answers the Command API's calls: the real workers of risky updates, dead letters and drift repair, and a
scripted responder for `command.*`, which no worker serves yet. It says the document's own examples, and tells nothing
about workers to come.

Everything is set up so that each example of contracts/openapi.json is a good call.
"""
import contextlib
import hashlib
import json
import uuid

from . import promises
from .catalogue import event
from .dead_letters import DeadLetters
from .gateway import Responder, refusal, reply
from .process import eventually
from .reviews import Reviews, of


class World:
    """workers: those that a test needs."""

    def __init__(self, api, streams, db, spawn, workers=("catalogue", "dead-letters", "qdrant")):
        self.api, self.streams = api, streams
        self.workers = {kind: spawn(kind) for kind in workers}
        self.reviews, self.letters = Reviews(streams, db), DeadLetters(streams)
        commands = [c for c in promises.calls() if "/workflow/" in c.pattern]
        self.responder = Responder(streams.bus("workflow"), *(f"command.{c.name}" for c in commands))
        self.responder.answers = {f"command.{c.name}": said(c) if c.name != "artifact-get" else artifact
                                  for c in commands}
        self.scripted = {c.name for c in commands}

    def example_update(self):
        """The risky update that the examples name, parked afresh."""
        (call,) = (c for c in promises.calls() if c.name == "update-get")
        parked = event("AnimeUpdatedEvent", 10, anime_id=self.reviews.living(title="Right"), changed_fields=["title"],
                       anime=of(title="Wrong"))
        parked.event_id = call.placed("path")["event_id"]["example"]
        self.reviews.publish("anime.updated", parked)
        self.reviews.settle()
        return parked.event_id

    def example_letters(self, n=3):
        for i in range(1, n + 1):
            self.letters.write(i, payload=b"a payload that nobody shall see", entity=str(uuid.UUID(int=i)))
        eventually(lambda: self.letters.list().get("source") == "index" and len(self.letters.letters()) == n, 20,
                   "an index of the letters")

    @contextlib.contextmanager
    def answering(self, call, answer):
        """Meanwhile the scripted responder says this."""
        before = self.responder.answers[f"command.{call.name}"]
        self.responder.answers[f"command.{call.name}"] = answer
        yield
        self.responder.answers[f"command.{call.name}"] = before

    def close(self):
        self.responder.close()


def start(api, change=str, **more):
    """Starts the worker and nginx. Each bad token spends a bucket of its own: 429 would be all that is seen."""
    api.start(nginx=False)
    api.start_nginx(change=lambda text: change(text).replace("REMOTE_ADDR $remote_addr", "REMOTE_ADDR $uuid"), **more)


def artifact(message):
    """The one artifact that there is; the example names it."""
    content = b"test"
    known = json.loads(message.data)["sha256"] == hashlib.sha256(content).hexdigest()
    return ({"Echora-Status": "200"}, content) if known else refusal(404, "not_found")


def said(call):
    """The examples of a call's good answers as a responder: begun (202) unless the caller waits."""
    answers = {int(s): promises.resolved(r) for s, r in call.operation["responses"].items() if s < "300"}
    bodies = {s: r["content"]["application/json"]["example"] for s, r in answers.items()}

    def answer(message):
        status = 202 if 202 in bodies and "Echora-Wait" not in message.headers else min(bodies)
        body = bodies[status]
        if "run_id" in body and "run_id" in (asked := json.loads(message.data)):
            body = {**body, "run_id": asked["run_id"]}
        return reply(status, body)
    return answer
