"""The whole way: events in, committed rows, points out; and Qdrant misbehaving on the way."""
import json
import uuid

import pytest
from harness.process import eventually

TITLES = ["Cowboy Bebop", "Fullmetal Alchemist", "Frieren", "Mushishi", "Monster"]


def anime(i, **fields):
    return {"animeId": str(uuid.UUID(int=(0x0190 << 112) + (7 << 76) + (8 << 60) + i)),
            "anime": {"title": f"{TITLES[i % 5]} {i}", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_ONGOING",
                      "tags": ["space", "jazz"], "genres": ["Action"], "year": 1998 + i % 20,
                      "sources": [f"https://myanimelist.net/anime/{1000 + i}"], **fields}}


class Chain:
    def __init__(self, db, streams, qdrant, spawn, echora):
        self.db, self.streams, self.qdrant, self.spawn, self.echora = db, streams, qdrant, spawn, echora
        spawn("catalogue")
        spawn("relay")

    def publish(self, *events):
        result = self.echora("publish", "anime.enriched", "--json", input="\n".join(map(json.dumps, events)))
        assert result.code == 0, result

    def points(self):
        """id -> (payload, vector names), from the alias."""
        found, offset = {}, None
        while True:
            body = {"limit": 500, "with_payload": True, "with_vector": True}
            if offset:
                body["offset"] = offset
            status, reply = self.qdrant.call("POST", "/collections/anime_database/points/scroll", body)
            if status == 404:
                return {}
            for p in reply["result"]["points"]:
                found[p["id"]] = (p["payload"], p["vector"])
            offset = reply["result"]["next_page_offset"]
            if offset is None:
                return found

    def quiet(self, worker, timeout=20):
        """Every event is settled."""
        bus = self.streams.bus()

        def done():
            last = bus.stream("ANIME_SYNC").state.last_seq
            for name in ("anime-created", "anime-synced", "anime-deleted", "character-synced", "episode-synced"):
                info = bus.consumer("ANIME_SYNC", f"qdrant-{name}")
                if info.num_pending or info.num_ack_pending:
                    return False
            return last > 0
        eventually(done, timeout, "all synced")


@pytest.fixture
def chain(db, streams, qdrant, spawn, echora):
    return Chain(db, streams, qdrant, spawn, echora)


def test_published_anime_become_points(chain, spawn):
    worker = spawn("qdrant")
    chain.publish(*[anime(i) for i in range(20)])
    eventually(lambda: len(chain.points()) == 20, 20, "20 points")
    chain.quiet(worker)
    print(list(chain.points().values())[0][0])
