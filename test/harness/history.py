"""Publishes to a fleet, remembers what went in, and waits until it is at rest: input of the oracle (test/oracle.py)."""
import asyncio
import json
from datetime import datetime, timezone

from nats.js.errors import NotFoundError

from .catalogue import T0, Catalogue
from .process import eventually

INDEX_DURABLES = ("qdrant-anime-created", "qdrant-anime-synced", "qdrant-anime-deleted", "qdrant-character-synced",
                  "qdrant-episode-synced")


def moment(at):
    """RFC 3339 of T0 + `at` seconds."""
    return datetime.fromtimestamp(T0 + at, timezone.utc).isoformat().replace("+00:00", "Z")


class Recorder(Catalogue):
    def __init__(self, streams, db):
        super().__init__(streams, db)
        self.inputs = []

    def publish(self, subject, message, **headers):
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        self.inputs.append((subject, payload, headers))
        return super().publish(subject, message, **headers)

    def existence(self, verb, anime_id, at):
        """catalog.anime.delete or restore as of T0 + at; the error code, None when it was done."""
        subject, body = f"catalog.anime.{verb}", json.dumps({"animeId": anime_id, "asOf": moment(at)}).encode()
        reply = self.bus.request(subject, body, headers={"Content-Type": "application/json"}, timeout=30)
        code = (reply.headers or {}).get("Nats-Service-Error-Code")
        if not code:
            self.inputs.append((subject, body, None))
        return code

    def send_all(self, actions, at_once=128, timeout=120):
        """Publishes (subject, message) pairs and asks (verb, anime id, at) triples, many at a time. What is
        restored before its anime came is asked for again until it is there."""
        self.inputs += [(a[0], a[1].SerializeToString(), None) for a in actions if len(a) == 2]
        slots = asyncio.Semaphore(at_once)

        async def send(number, action):
            async with slots:
                if len(action) == 2:
                    await self.bus.js.publish(action[0], action[1].SerializeToString(), timeout=30,
                                              headers={"Nats-Msg-Id": f"all{number}"})
                    return
            verb, anime_id, at = action
            body, code = json.dumps({"animeId": anime_id, "asOf": moment(at)}).encode(), "not-found"
            while code == "not-found":
                reply = await self.bus.nc.request(f"catalog.anime.{verb}", body, timeout=30,
                                                  headers={"Content-Type": "application/json"})
                code = (reply.headers or {}).get("Nats-Service-Error-Code")
                await asyncio.sleep(0.02 if code == "not-found" else 0)
            assert code in (None, "superseded"), (action, code)
            self.inputs.append((f"catalog.anime.{verb}", body, None))

        async def go():
            first = self.sent
            self.sent += len(actions)
            await asyncio.gather(*(send(first + i, action) for i, action in enumerate(actions)))
        self.bus.wait(go(), timeout)

    def relayed(self):
        last = self.db.one("SELECT max(id) FROM catalog.outbox WHERE stream = 'ANIME_SYNC'")
        if last is None:
            return True
        try:
            tail = self.bus.message("ANIME_SYNC", self.bus.stream("ANIME_SYNC").state.last_seq)
        except NotFoundError:
            return False
        return int(tail.headers["Echora-Position"].split(":")[1]) >= last

    def rest(self, index=True, timeout=60):
        """Until every event is handled, every row relayed and, with an index, every message consumed."""
        self.settle(timeout)
        eventually(self.relayed, timeout, "everything relayed")
        if index:
            eventually(lambda: self.bus.settled("ANIME_SYNC", *INDEX_DURABLES), timeout, "everything indexed")
