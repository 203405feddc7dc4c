"""The whole chain on real servers: published JSON in, points of the index out.

The oracle here computes payloads, search texts and embedding hashes from the published JSON alone.
"""
import datetime
import hashlib
import json
import uuid

from oracle import Oracle

from .catalogue import DURABLES
from .process import eventually

SYNC = ("anime-created", "anime-synced", "anime-deleted", "character-synced", "episode-synced")
TITLES = ["Cowboy Bebop", "Fullmetal Alchemist", "Frieren", "Mushishi", "Monster", "銀河英雄伝説"]


def ident(kind, i):
    return str(uuid.UUID(int=(0x01900000 << 96) + (kind << 80) + (7 << 76) + (8 << 60) + i))


def anime(i, characters=(), episodes=(), **fields):
    return {"animeId": ident(1, i),
            "anime": {"title": f"{TITLES[i % 6]} {i}", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_ONGOING",
                      "tags": ["space", f"tag {i % 7}"], "genres": ["Action"], "year": 1998 + i % 20,
                      "sources": [f"https://myanimelist.net/anime/{1000 + i}"], **fields},
            "characters": list(characters), "episodes": list(episodes)}


# --- the oracle ----------------------------------------------------------------------------------------

PREFIXES = {"type": "ANIME_TYPE_", "status": "ANIME_STATUS_", "season": "ANIME_SEASON_",
            "rating": "ANIME_RATING_", "source_material": "SOURCE_MATERIAL_TYPE_"}
TEXTS = {"anime": [("title", "title"), ("title", "titleEnglish"), ("title", "titleJapanese"), ("title", "synonyms"),
                   ("synopsis", "synopsis"), ("tag", "tags"), ("genre", "genres"), ("demographic", "demographics")],
         "character": [("title", "name"), ("title", "nameNative"), ("title", "nameVariations"), ("title", "nicknames"),
                       ("synopsis", "description"), ("tag", "traits")],
         "episode": [("title", "title"), ("title", "titleRomaji"), ("title", "titleJapanese"),
                     ("synopsis", "synopsis")]}


def changed(event, **fields):
    """The event with other fields of its anime, for what must be stored after an update."""
    return {**event, "anime": {**event["anime"], **fields}}


def emb(kind, thing, model="hash/1"):
    text = model
    for field, name in TEXTS[kind]:
        values = thing.get(name) or []
        for value in [values] if isinstance(values, str) else values:
            if value.strip():
                text += f"\x1e{field}\x1f{value.strip()}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def check_anime(payload, event, model="hash/1"):
    want = event["anime"]
    assert payload["entity_type"] == "anime" and payload["title"] == want["title"]
    for name in ("type", "status"):
        assert PREFIXES[name] + payload[name] == want[name]
    for name in ("tags", "genres", "year", "sources"):
        assert payload[name] == want[name], name
    assert payload["nsfw"] is want.get("nsfw", False)
    assert payload.get("episode_count", 0) == max(want.get("episodeCount", 0), len(event["episodes"]))
    assert payload["emb"] == emb("anime", want, model)
    assert payload["rev"] > 0 and len(payload["trace"]) == 32


# --- the rig -------------------------------------------------------------------------------------------

class Chain:
    """Starts catalogue writer and relay, with the options given; Qdrant sync is the test's."""

    def __init__(self, db, streams, qdrant, spawn, echora, catalogue=None, relay=None):
        self.db, self.streams, self.qdrant, self.spawn, self.echora = db, streams, qdrant, spawn, echora
        self.bus = streams.bus()
        self.deletions = {}  # anime id -> the request, as it is made however often
        self.catalogue = spawn("catalogue", **(catalogue or {}))
        self.relay = spawn("relay", **(relay or {}))

    def publish(self, *events, subject="anime.enriched"):
        result = self.echora("publish", subject, "--json", input="\n".join(map(json.dumps, events)))
        assert result.code == 0, result
        return result.lines

    def ask(self, subject, user="operator", timeout=30, **body):
        reply = self.streams.bus(user).request(subject, json.dumps(body).encode(), timeout=timeout,
                                               headers={"Content-Type": "application/json"})
        assert "Nats-Service-Error-Code" not in (reply.headers or {}), reply.headers
        return json.loads(reply.data)

    def drift(self, **body):
        got = self.ask("catalog.reconcile", **body)
        return {k: int(v) for k, v in got.items()}

    def points(self, vectors=False):
        """id -> payload (or payload and vectors), by way of the alias."""
        found, offset = {}, None
        while True:
            body = {"limit": 500, "with_payload": True, "with_vector": vectors}
            if offset:
                body["offset"] = offset
            status, reply = self.qdrant.call("POST", "/collections/anime_database/points/scroll", body)
            if status == 404:
                return {}
            for p in reply["result"]["points"]:
                found[p["id"]] = (p["payload"], p["vector"]) if vectors else p["payload"]
            offset = reply["result"]["next_page_offset"]
            if offset is None:
                return found

    def change(self, i, **fields):
        """Publishes an update of one anime; returns what its line of publish says."""
        return self.publish({"animeId": ident(1, i), "changedFields": list(fields), "anime": fields},
                            subject="anime.updated")

    def deletion(self, i):
        """The request that deletes an anime: always the same, as of when it was first wanted."""
        now = datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
        return self.deletions.setdefault(i, {"animeId": ident(1, i), "reason": "test", "actor": "test", "asOf": now})

    def delete(self, i):
        return self.ask("catalog.anime.delete", **self.deletion(i))

    def living(self):
        return {i: p for i, p in self.points().items() if not p.get("deleted")}

    def quiet(self, timeout=40):
        """Every published event is written, relayed and settled by sync."""
        def done():
            return (self.bus.settled("ANIME_EVENTS", *DURABLES.values())
                    and self.db.one("SELECT count(*) FROM outbox") == self.bus.stream("ANIME_SYNC").state.last_seq
                    and self.bus.settled("ANIME_SYNC", *(f"qdrant-{name}" for name in SYNC)))
        eventually(done, timeout, "all synced")

    def dead_letters(self):
        return self.bus.messages("ANIME_DLQ")

    def check(self, events, model="hash/1"):
        """The index holds these anime and nothing else, as published; all the rest is the oracle's, with what
        ANIME_EVENTS holds for input. No event was given up."""
        living = self.living()
        assert {i for i, p in living.items() if p["entity_type"] == "anime"} == {e["animeId"] for e in events}
        for event in events:
            check_anime(living[event["animeId"]], event, model)
        requests = [("catalog.anime.delete", json.dumps(body).encode(), {}) for body in self.deletions.values()]
        Oracle(self.db, self.bus, self.qdrant).check(self.bus.events() + requests)
