"""What tests of dead letters share: a writer, the dead-letter worker, and events that their consumer exhausts."""
import datetime
import json

from harness.catalogue import Catalogue, anime, event, new_id
from harness.dead_letters import DeadLetters
from harness.process import eventually
from nats.errors import TimeoutError as NothingCame


class Rig:
    def __init__(self, db, streams, spawn):
        self.db, self.streams, self.spawn = db, streams, spawn
        self.dlq, self.catalogue = DeadLetters(streams), Catalogue(streams, db)

    def worker(self, faults="", kill="", reconcile="0s", name=None):
        """Consumers are reconciled only where a test is about that."""
        env = {"ECHORA_RECONCILE_INTERVAL": reconcile, **({"PLANTED_FAULTS": faults} if faults else {}),
               **({"PLANTED_KILL": kill} if kill else {})}
        return self.spawn("dead-letters", env=env, **({"name": name} if name else {}))

    def anime_known(self):
        worker = self.spawn("catalogue")
        anime_id = new_id()
        self.catalogue.enriched(anime_id, anime())
        self.catalogue.settle()
        return anime_id, worker

    def letters(self, anime_id, n, consumer="catalog-updated"):
        """n letters, each of an event that the writer takes."""
        for i in range(1, n + 1):
            update = event("AnimeUpdatedEvent", i, anime_id=anime_id, changed_fields=["year"], anime=anime(year=1900 + i % 100))
            self.dlq.write(i, consumer=consumer, payload=update.SerializeToString())
        self.dlq.indexed()

    def limit(self, deliveries=2, ack_wait=0.2):
        """A person sets a small max deliver."""
        config = self.dlq.bus.consumer("ANIME_EVENTS", "catalog-updated").config
        config.max_deliver, config.ack_wait = deliveries, ack_wait
        self.dlq.bus.wait(self.dlq.bus.js.add_consumer("ANIME_EVENTS", config))

    def update(self, **headers):
        """An update's bytes, published; and its anime's id."""
        anime_id = new_id()
        return anime_id, self.catalogue.updated(anime_id, ["year"], anime(year=1999), **headers).SerializeToString()

    def exhausted(self, deliveries=2, advised=True):
        """An event that its consumer was given too often, and nobody is there; returns its anime's id and its bytes."""
        self.limit(deliveries)
        anime_id, payload = self.update(**{"Echora-Replay-Hop": "2"})
        taken = 0

        def over():
            nonlocal taken
            taken += len(self.take())
            info = self.dlq.bus.consumer("ANIME_EVENTS", "catalog-updated")
            return taken == deliveries and info.num_ack_pending == 0 and (
                not advised or self.dlq.bus.stream("ANIME_ADVISORY").state.messages)
        eventually(over, 20, "the server gave up")
        return anime_id, payload

    def take(self, n=1, timeout=0.3):
        """Up to n messages pulled as the writer would, not acknowledged."""
        dead = self.dlq.as_user("catalogue")

        async def go():
            sub = await dead.js.pull_subscribe_bind("catalog-updated", "ANIME_EVENTS", inbox_prefix=b"_INBOX_catalogue.")
            try:
                return await sub.fetch(n, timeout=timeout)
            except NothingCame:
                return []
            finally:
                await sub.unsubscribe()
        return dead.wait(go())

    def ack(self, *messages):
        for message in messages:
            self.dlq.as_user("catalogue").wait(message.ack_sync())

    def created(self):
        info = json.loads(self.dlq.bus.request("$JS.API.STREAM.INFO.ANIME_EVENTS").data)
        return int(datetime.datetime.fromisoformat(info["created"][:19] + "+00:00").timestamp())

    def identity(self, n=1):
        """What the worker would have called its dead letter."""
        return f"ANIME_EVENTS:{self.created()}:catalog-updated:{n}"
