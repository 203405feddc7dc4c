"""Speaks to the catalogue writer as publishers do, and looks at what it did."""
import json
import uuid

from . import wire
from .process import eventually

DURABLES = {"anime.enriched": "catalog-enriched", "anime.updated": "catalog-updated",
            "anime.episode.aired": "catalog-episode-aired", "character.updated": "catalog-character-updated",
            "episode.updated": "catalog-episode-updated"}
T0 = 1_700_000_000


def new_id():
    return str(uuid.uuid4())


def event(name, at=0, **fields):
    """An event message at T0 + `at` seconds."""
    message = wire.classes()[name](event_id=new_id(), **fields)
    micro = round((T0 + at) * 1_000_000)
    message.timestamp.seconds, message.timestamp.nanos = micro // 1_000_000, micro % 1_000_000 * 1000
    return message


def anime(**fields):
    return wire.classes()["Anime"](**{"title": "Title", "type": 5, "status": 1, **fields})


class Catalogue:
    def __init__(self, streams, db):
        self.bus, self.db = streams.bus("admin"), db
        self.sent = 0

    def publish(self, subject, message, **headers):
        payload = message if isinstance(message, bytes) else message.SerializeToString()
        self.sent += 1
        return self.bus.publish(subject, payload, headers={"Nats-Msg-Id": f"m{self.sent}", **headers})

    def enriched(self, anime_id, message, at=0, characters=(), episodes=()):
        e = event("AnimeEnrichedEvent", at, anime_id=anime_id, anime=message, characters=characters,
                  episodes=episodes)
        self.publish("anime.enriched", e)
        return e

    def updated(self, anime_id, fields, message, at=0, **headers):
        e = event("AnimeUpdatedEvent", at, anime_id=anime_id, changed_fields=fields, anime=message)
        self.publish("anime.updated", e, **headers)
        return e

    def settle(self, timeout=20):
        """Until every consumer has settled everything."""
        eventually(lambda: self.bus.settled("ANIME_EVENTS", *DURABLES.values()), timeout, "all events settled")

    def dead_letters(self):
        return [(m.headers["Echora-Dlq-Consumer"], m.headers["Echora-Dlq-Code"])
                for m in self.bus.messages("ANIME_DLQ")]

    def outbox(self):
        return self.db.all("SELECT subject, entity_id::text FROM catalog.outbox ORDER BY id")

    def get(self, *ids, **request):
        body = json.dumps({"ids": list(ids), **request}).encode()
        reply = self.bus.request("catalog.record.get", body, headers={"Content-Type": "application/json"})
        assert "Nats-Service-Error-Code" not in (reply.headers or {}), reply.headers
        return json.loads(reply.data)

    def state(self, anime_id):
        """What is stored of an anime and its members, without ids, revisions and times of writing."""
        rows = self.db.all("""
            SELECT to_jsonb(a) - '{id,revision,created_at,updated_at}'::text[],
                   (SELECT jsonb_agg(to_jsonb(e) - '{id,anime_id,revision,created_at,updated_at}'::text[]
                                     ORDER BY e.episode_number)
                      FROM catalog.episode e WHERE e.anime_id = a.id),
                   (SELECT jsonb_agg((to_jsonb(c) - '{id,revision,created_at,updated_at}'::text[])
                                     || (to_jsonb(m) - '{anime_id,character_id}'::text[]) ORDER BY c.name)
                      FROM catalog.anime_character m JOIN catalog.character c ON c.id = m.character_id
                     WHERE m.anime_id = a.id),
                   (SELECT jsonb_agg(ref ORDER BY ref) FROM catalog.anime_xref x WHERE x.anime_id = a.id)
              FROM catalog.anime a WHERE a.id = %s""", anime_id)
        assert len(rows) == 1, rows
        return rows[0]
