"""Who is who: what joins two entities is refused whole and changes nothing, what names one thing twice is one."""
import json

import pytest
from harness import wire
from harness.catalogue import Catalogue, anime, event, new_id
from oracle import Tables

A, B = "https://myanimelist.net/anime/1", "https://myanimelist.net/anime/2"
HERO, FOE = "https://myanimelist.net/character/1", "https://myanimelist.net/character/2"


@pytest.fixture
def catalogue(streams, db, spawn):
    spawn("catalogue")
    return Catalogue(streams, db)


@pytest.fixture
def ids(catalogue):
    """Two anime, two characters of the first, an episode of each."""
    ids = {name: new_id() for name in ("a", "b", "hero", "foe", "one", "other", "new")}
    c, e = wire.classes()["Character"], wire.classes()["Episode"]
    catalogue.enriched(ids["a"], anime(sources=[A, "https://www.imdb.com/title/tt1"]),
                       characters=[c(id=ids["hero"], name="Hero", sources=[HERO]),
                                   c(id=ids["foe"], name="Foe", sources=[FOE])],
                       episodes=[e(id=ids["one"], episode_number=1), e(episode_number=2)])
    catalogue.enriched(ids["b"], anime(sources=[B]), episodes=[e(id=ids["other"], episode_number=1)])
    catalogue.settle()
    return ids


def enriched(ids, who, sources=(), characters=(), episodes=()):
    classes = wire.classes()
    return "anime.enriched", event("AnimeEnrichedEvent", 9, anime_id=ids[who],
                                   anime=anime(title="Joined", sources=sources),
                                   characters=[classes["Character"](**c) for c in characters],
                                   episodes=[classes["Episode"](**e) for e in episodes])


def changed(subject, kind, ident, **fields):
    return subject, event(kind + "UpdatedEvent", 9, **{kind.lower() + "_id": ident}, changed_fields=list(fields),
                          **{kind.lower(): wire.classes()[kind](**fields)})


REFUSED = {
    "an anime's id and another's reference": lambda i: enriched(i, "a", [B]),
    "references of two anime under a new id": lambda i: enriched(i, "new", [A, B]),
    "an update that claims another's reference": lambda i: changed("anime.updated", "Anime", i["a"], sources=[A, B]),
    "a character's id and another's reference":
        lambda i: enriched(i, "a", [A], characters=[{"id": i["hero"], "name": "X", "sources": [FOE]}]),
    "references of two characters": lambda i: enriched(i, "new", characters=[{"name": "X", "sources": [HERO, FOE]}]),
    "a character's update that claims another's reference":
        lambda i: changed("character.updated", "Character", i["hero"], sources=[FOE]),
    "an episode's id under another number": lambda i: enriched(i, "a", episodes=[{"id": i["one"], "episode_number": 2}]),
    "an episode's id under a new number": lambda i: enriched(i, "a", episodes=[{"id": i["one"], "episode_number": 7}]),
    "an episode of another anime": lambda i: enriched(i, "a", episodes=[{"id": i["other"], "episode_number": 1}]),
    "a character under an anime's id": lambda i: enriched(i, "a", characters=[{"id": i["b"], "name": "X"}]),
    "an episode under a character's id": lambda i: enriched(i, "a", episodes=[{"id": i["hero"], "episode_number": 9}]),
    "an anime under an episode's id": lambda i: enriched(i, "one"),
    "an anime with a reference, under a character's id": lambda i: enriched(i, "hero", [A]),
    "an anime and its character under one new id":
        lambda i: enriched(i, "new", characters=[{"id": i["new"], "name": "X"}]),
    "a known episode under an anime's id": lambda i: enriched(i, "a", episodes=[{"id": i["b"], "episode_number": 2}]),
    "an update of an anime under a character's id": lambda i: changed("anime.updated", "Anime", i["hero"], title="X"),
    "an episode that changes its number":
        lambda i: changed("episode.updated", "Episode", i["one"], episode_number=2, title="X"),
}


def test_what_joins_two_is_refused_whole(catalogue, ids):
    before = Tables(catalogue.db).rows
    for number, (what, make) in enumerate(REFUSED.items(), 1):
        catalogue.publish(*make(ids))
        catalogue.settle()
        letters = catalogue.dead_letters()
        assert len(letters) == number and letters[-1][1] == "identity-conflict", (what, letters)
        assert Tables(catalogue.db).rows == before, what
    assert catalogue.db.one("SELECT count(*) FROM catalog.inbox") == 2


TAKEN = {
    "a reference that many share": (lambda i: enriched(i, "b", [B, "https://www.imdb.com/title/tt1"]), "b", "b"),
    "a new id of a known anime": (lambda i: enriched(i, "new", [A]), "new", "a"),
    "one more reference": (lambda i: enriched(i, "a", [A, "https://anidb.net/anime/1"]), "a", "a"),
    "an episode's own number": (lambda i: changed("episode.updated", "Episode", i["one"], episode_number=1, title="X"),
                                "a", "a"),
}


@pytest.mark.parametrize("what", TAKEN)
def test_what_names_one_is_taken(catalogue, ids, what):
    make, asked, canonical = TAKEN[what]
    catalogue.publish(*make(ids))
    catalogue.settle()
    assert catalogue.dead_letters() == []
    assert catalogue.get(ids[asked])["entries"][0]["canonicalId"] == ids[canonical]
    assert catalogue.db.one("SELECT count(*) FROM catalog.anime") == 2


def test_a_merged_anime_merged_on(catalogue, ids):
    """Whoever was merged into one that is merged itself is found at the end of the chain."""
    last = new_id()
    catalogue.enriched(last, anime(title="Last"))
    catalogue.settle()
    for lost, kept in ((ids["a"], ids["b"]), (ids["b"], last)):
        reply = catalogue.bus.request("catalog.anime.delete", json.dumps({"animeId": lost, "mergeInto": kept}).encode(),
                                      headers={"Content-Type": "application/json"})
        assert "Nats-Service-Error-Code" not in (reply.headers or {}), reply.headers
    for ident in (ids["a"], ids["b"]):
        assert catalogue.get(ident)["entries"][0]["canonicalId"] == last
    catalogue.updated(ids["a"], ["year"], wire.classes()["Anime"](year=2005), at=9)
    catalogue.enriched(new_id(), anime(title="Newest", sources=[A, B]), at=9)
    catalogue.settle()
    assert catalogue.dead_letters() == []
    assert catalogue.db.all("SELECT title, year FROM catalog.anime WHERE id = %s", last) == [("Newest", 2005)]
