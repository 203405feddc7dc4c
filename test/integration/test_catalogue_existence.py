"""Deletion, revival and merging of anime, by request and by event."""
import json

import pytest

from harness import wire
from harness.catalogue import T0, Catalogue, anime, event, new_id


class Requests(Catalogue):
    def ask(self, subject, **body):
        reply = self.bus.request(subject, json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        code = (reply.headers or {}).get("Nats-Service-Error-Code")
        return code or json.loads(reply.data)

    def delete(self, anime_id, **more):
        return self.ask("catalog.anime.delete", animeId=anime_id, **more)

    def restore(self, anime_id, **more):
        return self.ask("catalog.anime.restore", animeId=anime_id, **more)

    def deleted(self, anime_id):
        (entry,) = self.get(anime_id, includeDeleted=True, revisionsOnly=True)["entries"]
        return entry.get("deleted", False)

    def subjects(self):
        return [row[0] for row in self.outbox()]


@pytest.fixture
def catalogue(streams, db, spawn):
    spawn("catalogue")
    return Requests(streams, db)


def at(seconds):
    from datetime import datetime, timezone
    return datetime.fromtimestamp(T0 + seconds, timezone.utc).isoformat().replace("+00:00", "Z")


def test_delete_and_restore(catalogue):
    Character, Episode = wire.classes()["Character"], wire.classes()["Episode"]
    one, two = new_id(), new_id()
    url = "https://anidb.net/character/1"
    catalogue.enriched(one, anime(), characters=[Character(name="Alone"), Character(name="Both", sources=[url])],
                       episodes=[Episode(episode_number=1, title="One")])
    catalogue.settle()
    catalogue.enriched(two, anime(), characters=[Character(name="Both", sources=[url])], at=1)
    catalogue.settle()
    before = catalogue.subjects()
    first = catalogue.delete(one, actor="test", reason="no reason")
    assert not first.get("alreadyDeleted") and catalogue.deleted(one)
    # Its own members are covered, the character that stays is told.
    assert catalogue.subjects()[len(before):] == ["anime.deleted", "character.synced"]
    again = catalogue.delete(one)
    assert again == {"revision": first["revision"], "alreadyDeleted": True}
    assert catalogue.delete(one, expectedRevision="1") == "revision-conflict"
    # Changes go on below, and show after the revival.
    catalogue.updated(one, ["year"], wire.classes()["Anime"](year=2005), at=50)
    catalogue.settle()
    assert catalogue.deleted(one)
    count = len(catalogue.subjects())
    revived = catalogue.restore(one)
    assert int(revived["revision"]) > int(first["revision"])
    assert catalogue.subjects()[count:] == ["anime.created"]
    entry = catalogue.get(one)["entries"][0]
    assert entry["record"]["anime"]["year"] == 2005 and len(entry["record"]["episodes"]) == 1
    assert catalogue.restore(new_id()) == "not-found"
    assert catalogue.delete("nonsense") == "bad-uuid"


def test_the_order_rule_holds_for_existence(catalogue):
    anime_id = new_id()
    # Deleted before anybody heard of it: older events find it deleted, a newer one revives it.
    assert not catalogue.delete(anime_id, asOf=at(20)).get("alreadyDeleted")
    catalogue.enriched(anime_id, anime(title="Old"), at=10)
    catalogue.settle()
    assert catalogue.deleted(anime_id)
    assert catalogue.db.one("SELECT title FROM catalog.anime") == "Old"
    catalogue.enriched(anime_id, anime(title="New"), at=30)
    catalogue.settle()
    assert not catalogue.deleted(anime_id)
    assert catalogue.subjects()[-1] == "anime.created"
    assert catalogue.delete(anime_id, asOf=at(25)) == "superseded"
    # An ordinary update revives nothing.
    catalogue.delete(anime_id, asOf=at(40))
    catalogue.updated(anime_id, ["year"], wire.classes()["Anime"](year=2005), at=50)
    catalogue.settle()
    assert catalogue.deleted(anime_id)


def test_merge_into(catalogue):
    from google.protobuf import json_format
    lost, kept, other = new_id(), new_id(), new_id()
    catalogue.enriched(lost, anime(sources=["https://anidb.net/anime/1"]))
    catalogue.enriched(kept, anime(sources=["https://myanimelist.net/anime/1"]))
    catalogue.enriched(other, json_format.ParseDict(
        {"title": "O", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_FINISHED", "relatedAnime": {
            "SEQUEL": {"items": [{"title": "L", "sources": ["https://anidb.net/anime/1"]}]}}}, wire.classes()["Anime"]()))
    catalogue.settle()
    both = anime(sources=["https://anidb.net/anime/1", "https://myanimelist.net/anime/1"], title="Both")
    catalogue.enriched(new_id(), both, at=5)
    catalogue.settle()
    assert catalogue.dead_letters() == [("catalog-enriched", "identity-conflict")]
    assert catalogue.delete(lost, mergeInto=new_id()) == "bad-survivor"
    assert catalogue.delete(lost, mergeInto=lost) == "bad-survivor"
    first = catalogue.delete(lost, mergeInto=kept)
    assert catalogue.delete(lost, mergeInto=kept) == {"revision": first["revision"], "alreadyDeleted": True}
    assert catalogue.delete(lost) == {"revision": first["revision"], "alreadyDeleted": True}
    db = catalogue.db
    assert {str(i) for (i,) in db.all("SELECT DISTINCT anime_id FROM catalog.anime_xref")} == {kept}
    assert sorted(db.all("SELECT from_id::text, edge_type, to_id::text FROM catalog.graph_edge")) == sorted(
        [(other, "sequel", kept), (kept, "prequel", other)])
    # What comes for the lost id finds the survivor, the refused event is fine now.
    catalogue.updated(lost, ["month"], wire.classes()["Anime"](month="MAY"), at=9)
    e = event("AnimeEnrichedEvent", 8, anime_id=lost, anime=both)
    catalogue.publish("anime.enriched", e)
    catalogue.settle()
    assert db.all("SELECT title, month FROM catalog.anime WHERE id = %s", kept) == [("Both", "MAY")]
    assert catalogue.get(lost)["entries"][0]["canonicalId"] == kept
    alias = new_id()
    catalogue.enriched(alias, both, at=10)
    catalogue.settle()
    assert catalogue.delete(alias) == "alias" and not catalogue.deleted(kept)


def test_the_survivor_was_merged_away_itself(catalogue):
    one, two, three = new_id(), new_id(), new_id()
    for anime_id in (one, two, three):
        catalogue.enriched(anime_id, anime())
    catalogue.settle()
    catalogue.delete(two, mergeInto=three)
    assert catalogue.delete(one, mergeInto=two) == "bad-survivor" and not catalogue.deleted(one)
    assert not catalogue.delete(one, mergeInto=three).get("alreadyDeleted")


def test_what_waited_for_an_id_that_is_merged_goes_to_the_survivor(catalogue):
    unknown, kept = new_id(), new_id()
    catalogue.enriched(kept, anime())
    catalogue.updated(unknown, ["month"], wire.classes()["Anime"](month="MAY"), at=9)
    catalogue.settle()
    assert catalogue.db.one("SELECT count(*) FROM catalog.pending_update") == 1
    catalogue.delete(unknown, mergeInto=kept)
    assert catalogue.db.one("SELECT count(*) FROM catalog.pending_update") == 0
    assert catalogue.db.all("SELECT month FROM catalog.anime WHERE id = %s", kept) == [("MAY",)]
    assert catalogue.outbox()[-1] == ("anime.synced", kept)
