"""What `echora pause` promises, as one scenario: nothing of a paused consumer is handed out, whatever restarts."""
import json

from .catalogue import Catalogue, anime, new_id
from .process import eventually

PAUSED, OTHER = "catalog-enriched", "catalog-updated"


def waiting(catalogue, durable):
    return catalogue.bus.consumer("ANIME_EVENTS", durable).num_pending


def run_paused(streams, db, spawn, echora, env=None, wait="30s"):
    """Paused before and after restarts of the worker and of nats-server; then all of it is handled."""
    catalogue = Catalogue(streams, db)
    catalogue.bus.hasten("ANIME_EVENTS", 3)
    worker = spawn("catalogue", env=env)
    known = new_id()
    catalogue.enriched(known, anime())
    catalogue.settle()
    done = echora("pause", PAUSED, "--reason", "a test", "--wait", wait, "--json", ok=False)

    ids = [new_id() for _ in range(5)]
    for ident in ids:
        catalogue.enriched(ident, anime())
    for restart in (None, worker, streams.server, worker):
        if restart:
            restart.restart()
            eventually(worker.is_ready, 20, "ready again")
        # Another consumer of the same worker goes on, so that what did not come was not merely late.
        catalogue.updated(known, ["year"], anime(year=2001))
        eventually(lambda: catalogue.bus.settled("ANIME_EVENTS", OTHER), 20, f"the other consumer works after {restart and restart.name}")
        assert waiting(catalogue, PAUSED) == len(ids), "a paused consumer was handed events"
        eventually(lambda: json.loads(worker.http("/readyz")[1])["paused"] == [PAUSED], 10, "readyz tells")
    assert done.code == 0 and done.json == {"state": "paused", "consumers": [PAUSED], "quiet": True, "in_hand": 0}
    echora("resume", PAUSED)
    catalogue.settle()
    assert db.one("SELECT count(*) FROM catalog.anime") == 1 + len(ids)
    return worker
