"""The catalogue writer, kind by kind: from bytes on the subject to rows, outbox and dead letters.

Messages are built from the published wire tables (harness/wire.py), answers are read from the tables or by
request; nothing is shared with the product.
"""
import json
import random
import re
import uuid

import pytest
from google.protobuf import json_format

from harness import wire
from harness.catalogue import T0, Catalogue, anime, event, new_id
from harness.process import eventually

@pytest.fixture
def catalogue(streams, db):
    return Catalogue(streams, db)


@pytest.fixture
def writer(catalogue, spawn):
    return spawn("catalogue")


def test_answers_what_was_sent(catalogue, writer):
    """Every domain field, but for those that are deliberately not stored."""
    sent = {}
    for seed in range(30):
        r = wire.Random(seed)
        anime_id = r.uuid()
        a = r.domain("Anime", id=anime_id)
        del a.sources[:]
        a.sources.extend(r.sources("anime"))
        characters = []
        for i in range(3):
            c = r.domain("Character")
            del c.sources[:]
            c.sources.extend(r.sources("character"))
            characters.append(c)
        episodes = []
        for number in range(1, 4):
            e = r.domain("Episode")
            e.episode_number = number
            episodes.append(e)
        catalogue.enriched(anime_id, a, characters=characters, episodes=episodes)
        sent[anime_id] = (a, characters, episodes)
    catalogue.settle()
    assert catalogue.dead_letters() == []
    classes = wire.classes()
    for anime_id, (a, characters, episodes) in sent.items():
        (entry,) = catalogue.get(anime_id)["entries"]
        record = json_format.ParseDict(entry["record"], classes["AnimeRecord"]())
        a.ClearField("similarity_score")
        a.entity_type = 1
        assert record.anime == a
        by_name = sorted(characters, key=lambda c: c.sources[0])
        for want, got in zip(by_name, sorted(record.characters, key=lambda c: c.sources[0]), strict=True):
            assert got.id
            got.ClearField("id")
            want.ClearField("id")
            want.entity_type = 2
            assert got == want
        for want, got in zip(episodes, sorted(record.episodes, key=lambda e: e.episode_number), strict=True):
            assert got.id and got.anime_id == anime_id
            for m in (got, want):
                m.ClearField("id")
                m.ClearField("anime_id")
            want.entity_type = 3
            assert got == want


def test_unknown_enum_numbers_are_kept(catalogue, writer):
    anime_id = new_id()
    catalogue.enriched(anime_id, anime(type=77, season=99, rating=88))
    catalogue.settle()
    assert catalogue.db.all("SELECT type, season, rating FROM catalog.anime") == [("UNKNOWN", "UNKNOWN", "UNKNOWN")]
    (entry,) = catalogue.get(anime_id)["entries"]
    assert (entry["record"]["anime"]["type"], entry["record"]["anime"]["season"]) == (77, 99)
    assert writer.metric("echora_catalogue_unknown_enums_total") == 3
    # ... and through a second event that loads the row again.
    catalogue.enriched(anime_id, anime(type=77, title="Other"), at=1)
    catalogue.settle()
    assert catalogue.get(anime_id)["entries"][0]["record"]["anime"]["season"] == 99


def test_good_neighbours_of_a_bad_event(catalogue, spawn):
    """A batch with refused events in it: the others commit, each refusal is one dead letter."""
    good = [new_id() for _ in range(20)]
    shared = "https://myanimelist.net/anime/1"
    catalogue.enriched(new_id(), anime(sources=[shared]))
    catalogue.enriched(new_id(), anime(sources=["https://myanimelist.net/anime/2"]))
    for i, anime_id in enumerate(good):
        catalogue.enriched(anime_id, anime())
        if i == 5:
            catalogue.publish("anime.enriched", b"\xff\xff\xff")
        if i == 10:  # joins two
            catalogue.enriched(new_id(), anime(sources=[shared, "https://myanimelist.net/anime/2"]))
    spawn("catalogue")
    catalogue.settle()
    assert catalogue.db.one("SELECT count(*) FROM catalog.anime") == 22
    assert sorted(catalogue.dead_letters()) == [("catalog-enriched", "decode"),
                                                ("catalog-enriched", "identity-conflict")]
    assert catalogue.db.one("SELECT count(*) FROM catalog.inbox") == 22


def test_duplicates_change_nothing(catalogue, writer):
    anime_id = new_id()
    e = catalogue.enriched(anime_id, anime(sources=["https://anidb.net/anime/7"]),
                           episodes=[wire.classes()["Episode"](episode_number=1, title="One")])
    catalogue.settle()

    def dump():
        return [catalogue.db.all(f"SELECT * FROM catalog.{table} ORDER BY 1, 2")
                for table in ("anime", "episode", "anime_xref", "outbox", "inbox", "graph_edge")]
    before = dump()
    for _ in range(3):
        catalogue.publish("anime.enriched", e)
    catalogue.settle()
    assert dump() == before
    assert [row[0] for row in catalogue.outbox()] == ["anime.created"]


def test_equal_content_is_no_change(catalogue, writer):
    """A newer event with equal values moves the clock and says nothing."""
    anime_id = new_id()
    for at in (0, 10):
        catalogue.enriched(anime_id, anime(), at=at)
    catalogue.settle()
    assert [row[0] for row in catalogue.outbox()] == ["anime.created"]
    assert catalogue.db.one("SELECT extract(epoch FROM clock_time)::bigint FROM catalog.anime") == T0 + 10


def history(anime_id, episode_ids, character_id):
    """Events of one anime that do not judge or join: whole, sparse, aired, of members; at distinct times."""
    c, e = wire.classes()["Character"], wire.classes()["Episode"]
    ref = f"https://anidb.net/anime/{uuid.UUID(anime_id).int % 10**9}"
    char_ref = f"https://anidb.net/character/{uuid.UUID(character_id).int % 10**9}"
    return [
        ("anime.enriched", event("AnimeEnrichedEvent", 10, anime_id=anime_id,
                                 anime=anime(sources=[ref], tags=["a"], year=2001),
                                 characters=[c(id=character_id, name="Hero", sources=[char_ref], roles=[1])],
                                 episodes=[e(id=episode_ids[0], episode_number=1, title="One")])),
        ("anime.enriched", event("AnimeEnrichedEvent", 30, anime_id=anime_id,
                                 anime=anime(synopsis="Long ago", tags=["a", "b"], month="MAY"),
                                 characters=[c(id=character_id, name="Hero", description="old", sources=[char_ref])],
                                 episodes=[e(id=episode_ids[1], episode_number=2, title="Two")])),
        ("anime.updated", event("AnimeUpdatedEvent", 20, anime_id=anime_id, changed_fields=["year", "genres"],
                                anime=wire.classes()["Anime"](year=2002, genres=["x"]))),
        ("anime.updated", event("AnimeUpdatedEvent", 40, anime_id=anime_id, changed_fields=["month", "nsfw"],
                                anime=wire.classes()["Anime"](nsfw=True))),
        ("anime.episode.aired", event("EpisodeAiredEvent", 25, anime_id=anime_id, aired_at="2023-11-14T00:00:00Z",
                                      episode=e(episode_number=2, synopsis="It airs"))),
        ("character.updated", event("CharacterUpdatedEvent", 35, character_id=character_id,
                                    changed_fields=["description", "traits"], character=c(traits=["brave"]))),
        ("episode.updated", event("EpisodeUpdatedEvent", 15, episode_id=episode_ids[0],
                                  changed_fields=["title", "score"], episode=e(title="First", score=7.5))),
    ]


@pytest.mark.parametrize("writers", [1, 2])
def test_any_order_gives_the_same_tables(catalogue, spawn, writers):
    """Shuffled and doubled, through one or two writers; updates come before their entities, too."""
    rnd = random.Random(7)
    orders = [sorted(range(7), key=lambda i: (0, i)), *(rnd.sample(range(7), 7) for _ in range(40))]
    runs = []
    for order in orders:
        ids = (new_id(), (new_id(), new_id()), new_id())
        events = history(*ids)
        # Equal event ids in every run: they are part of the order.
        for i, (_, message) in enumerate(events):
            message.event_id = str(uuid.uuid5(uuid.UUID(ids[0]), str(i)))
        runs.append((ids[0], [events[i] for i in order]))
    for _ in range(writers):
        spawn("catalogue")
    for step in range(7):
        for _, events in runs:
            catalogue.publish(*events[step])
            if step % 2:
                catalogue.publish(*events[step - 1])
    catalogue.settle()
    assert catalogue.dead_letters() == []
    assert catalogue.db.one("SELECT count(*) FROM catalog.pending_update") == 0

    def canonical(anime_id):
        text = json.dumps(catalogue.state(anime_id), sort_keys=True, default=str)
        for i in range(7):
            text = text.replace(str(uuid.uuid5(uuid.UUID(anime_id), str(i))), f"event-{i}")
        number = str(uuid.UUID(anime_id).int % 10**9)
        return text.replace(f"/anime/{number}", "/anime/N").replace(f"anidb:anime:{number}", "anidb:anime:N")

    want = strip_character_ref(canonical(runs[0][0]))
    assert '"First"' in want and '"brave"' in want and '"month": null' in want, want
    for (anime_id, events), order in zip(runs, orders):
        assert strip_character_ref(canonical(anime_id)) == want, f"order {order}"


def strip_character_ref(text):
    return re.sub(r"anidb\.net/character/\d+", "anidb.net/character/N", text)


def test_two_writers_meet_one_new_thing(catalogue, spawn):
    """The same works under two ids each, at once: one row per work, the other id an alias of it."""
    works = 60
    ids = [(new_id(), new_id()) for _ in range(works)]
    for pair in zip(*ids):
        order = list(range(works))
        random.Random(1).shuffle(order)
        for i in order:
            catalogue.enriched(pair[i], anime(sources=[f"https://anidb.net/anime/{i + 1}"], title=f"Work {i}"))
    for _ in range(2):
        spawn("catalogue", env={"ECHORA_FETCH_SIZE": "8"}, wait=False)
    catalogue.settle(40)
    db = catalogue.db
    assert catalogue.dead_letters() == []
    assert db.one("SELECT count(*) FROM catalog.anime") == works
    assert db.one("SELECT count(*) FROM catalog.entity_alias") == works
    assert db.one("SELECT count(*) FROM catalog.anime_xref") == works
    got = catalogue.get(*(i for pair in ids for i in pair), revisions_only=True)
    canonical = {entry["id"]: entry["canonicalId"] for entry in got["entries"]}
    assert all(canonical[a] == canonical[b] for a, b in ids)


def test_identity_conflict_names_both(catalogue, writer):
    a, b = new_id(), new_id()
    catalogue.enriched(a, anime(sources=["https://myanimelist.net/anime/1"]))
    catalogue.enriched(b, anime(sources=["https://anidb.net/anime/1"]))
    catalogue.enriched(new_id(), anime(sources=["https://anidb.net/anime/1", "https://myanimelist.net/anime/1"]))
    catalogue.enriched(a, anime(sources=["https://anidb.net/anime/1", "https://kitsu.io/anime/9"]))
    catalogue.settle()
    assert catalogue.dead_letters() == [("catalog-enriched", "identity-conflict")] * 2
    reason = catalogue.bus.messages("ANIME_DLQ")[0].headers["Echora-Dlq-Reason"]
    assert a in reason and b in reason
    # Nothing of a refused event stays: its third reference is free.
    assert catalogue.db.one("SELECT count(*) FROM catalog.anime_xref") == 2
    assert catalogue.db.one("SELECT count(*) FROM catalog.entity_alias") == 0


def test_relations_resolve_and_go_both_ways(catalogue, writer):
    items = lambda *urls: {"items": [{"title": "R", "sources": [url]} for url in urls]}  # noqa: E731

    def related(**keys):
        return json_format.ParseDict({"title": "T", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_FINISHED",
                                      "relatedAnime": keys}, wire.classes()["Anime"]())
    first, second, third = new_id(), new_id(), new_id()
    m = related(SEQUEL=items("https://anidb.net/anime/2"), ADAPTATION=items("https://anidb.net/anime/3"),
                Related=items("https://anidb.net/anime/3", "https://anidb.net/anime/99"))
    m.sources.append("https://anidb.net/anime/1")
    catalogue.enriched(first, m)
    catalogue.settle()
    db = catalogue.db
    assert db.one("SELECT count(*) FROM catalog.anime_relation WHERE to_id IS NULL") == 4
    revision = db.one("SELECT revision FROM catalog.anime")
    for anime_id, number in ((second, 2), (third, 3)):
        catalogue.enriched(anime_id, anime(sources=[f"https://anidb.net/anime/{number}"]))
    catalogue.settle()

    def edges():
        return sorted(db.all("SELECT from_id::text, edge_type, to_id::text FROM catalog.graph_edge"))
    assert edges() == sorted([(first, "sequel", second), (second, "prequel", first), (first, "adaptation", third),
                              (first, "related", third), (third, "related", first)])
    assert db.one("SELECT count(*) FROM catalog.anime_relation WHERE to_id IS NULL") == 1
    assert db.one("SELECT revision FROM catalog.anime WHERE id = %s", first) == revision  # resolving raises none
    # A newer list replaces the list.
    catalogue.enriched(first, related(prequel=items("https://anidb.net/anime/2")), at=5)
    catalogue.settle()
    assert edges() == sorted([(first, "prequel", second), (second, "sequel", first)])


def test_keys_of_relations_may_be_long(catalogue, writer):
    """Longer than what an index of PostgreSQL takes, and alike in front."""
    rng, url, first = random.Random(11), "https://anidb.net/anime/2", new_id()
    front = "".join(chr(rng.randrange(0x3041, 0x9fff)) for _ in range(2000))
    keys = {front + end: {"items": [{"title": "T", "sources": [url]}]} for end in ("a", "b")}
    m = json_format.ParseDict({"title": "First", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_ONGOING",
                               "relatedAnime": keys, "relatedSourceMaterial": keys}, wire.classes()["Anime"]())
    catalogue.enriched(first, m)
    catalogue.settle()
    assert catalogue.dead_letters() == []
    for table in ("anime_relation", "anime_source_material_relation"):
        ((key,),) = catalogue.db.all(f"SELECT key FROM catalog.{table}")
        assert len(key) >= 90 and front.startswith(key)
    assert set(catalogue.get(first)["entries"][0]["record"]["anime"]["relatedAnime"]) == set(keys)


def test_updates_wait_for_their_entity(catalogue, writer):
    anime_id, character_id = new_id(), new_id()
    Character = wire.classes()["Character"]
    catalogue.updated(anime_id, ["year"], wire.classes()["Anime"](year=1999), at=20)
    catalogue.updated(anime_id, ["year", "month"], wire.classes()["Anime"](year=1998, month="JUNE"), at=10)
    catalogue.publish("character.updated", event("CharacterUpdatedEvent", 25, character_id=character_id,
                                                 changed_fields=["name"], character=Character(name="Late")))
    catalogue.settle()
    db = catalogue.db
    assert db.one("SELECT count(*) FROM catalog.pending_update") == 3
    assert db.all("SELECT DISTINCT outcome FROM catalog.inbox") == [("pending",)]
    assert catalogue.outbox() == []
    catalogue.enriched(anime_id, anime(year=1990), characters=[Character(id=character_id, name="Early")])
    catalogue.settle()
    assert db.all("SELECT year, month FROM catalog.anime") == [(1999, "JUNE")]
    assert db.one("SELECT name FROM catalog.character") == "Late"
    assert db.one("SELECT count(*) FROM catalog.pending_update") == 0
    assert db.all("SELECT outcome, count(*) FROM catalog.inbox GROUP BY 1") == [("applied", 4)]
    assert [s for s, _ in catalogue.outbox()] == ["anime.created", "anime.synced", "anime.synced", "character.synced"]


def test_an_update_meets_the_update_that_makes_its_id_an_alias(catalogue, spawn):
    """One names a known anime by its source and a new id, the other comes for that id before the first is committed:
    it may not be left waiting for what is there."""
    known, other, url = new_id(), new_id(), "https://anidb.net/anime/7"
    writers = [spawn("catalogue", argv=("--lanes", "1"))]
    catalogue.enriched(known, anime(sources=[url]))
    catalogue.settle()
    db = catalogue.db
    with db.connect(autocommit=False) as hold:  # the first writer's alias waits for this one, which is never committed
        hold.execute("INSERT INTO catalog.entity_alias VALUES (%s, 'anime', %s)", (other, known))
        catalogue.updated(other, ["sources", "year"], anime(sources=[url], year=2001), at=1)
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%%{}%%'"
        eventually(lambda: db.one(waits.format("into entity_alias")) == 1, 20, "the first writer is held")
        writers.append(spawn("catalogue", argv=("--lanes", "1")))
        for i in range(20):  # some go to the second writer
            catalogue.updated(other, ["month"], wire.classes()["Anime"](month=f"M{i}"), at=2 + i)
        eventually(lambda: db.one("SELECT count(*) FROM catalog.pending_update") or db.one(waits.format("advisory")),
                   20, "the second writer has looked")
        hold.rollback()
    catalogue.settle()
    assert db.one("SELECT count(*) FROM catalog.pending_update") == 0
    assert db.all("SELECT id::text, year, month FROM catalog.anime") == [(known, 2001, "M19")]


def test_a_waiting_update_that_is_refused_is_a_dead_letter_at_once(catalogue, writer):
    """Its entity comes and would not have it: the rule's own code, no trace in the inbox, so that a replay counts."""
    late, other, db = new_id(), new_id(), catalogue.db
    Anime = wire.classes()["Anime"]
    shared, own = "https://anidb.net/anime/5", "https://anidb.net/anime/6"
    bad = catalogue.updated(late, ["year", "sources"], Anime(year=1999, sources=[shared]), at=10, **{"X-Mine": "1"})
    catalogue.updated(late, ["month"], Anime(month="JUNE"), at=11)
    catalogue.settle()
    catalogue.enriched(other, anime(sources=[shared]))
    catalogue.settle()
    assert catalogue.dead_letters() == []
    catalogue.enriched(late, anime(sources=[own], year=1990))
    catalogue.settle()
    eventually(catalogue.dead_letters, 10, "the refused update's dead letter")
    (letter,) = catalogue.bus.messages("ANIME_DLQ")
    assert letter.subject == "anime.dlq.catalog-updated" and letter.data == bad.SerializeToString()
    want = {"Code": "identity-conflict", "Class": "reject", "Entity": late, "Seq": "1", "Stream": "ANIME_EVENTS"}
    assert {k: letter.headers[f"Echora-Dlq-{k}"] for k in want} == want and letter.headers["X-Mine"] == "1"
    reason = letter.headers["Echora-Dlq-Reason"]
    assert late in reason and other in reason
    # Its neighbour was applied, nothing of it was.
    eventually(lambda: db.one("SELECT count(*) FROM catalog.pending_update") == 0, 5, "forgotten")
    assert db.all("SELECT year, month FROM catalog.anime WHERE id = %s", late) == [(1990, "JUNE")]
    assert db.one("SELECT count(*) FROM catalog.inbox WHERE event_id = %s", bad.event_id) == 0
    # A person merges the two, the letter is replayed: now it is applied.
    request = json.dumps({"animeId": other, "mergeInto": late, "actor": "t", "reason": "same"}).encode()
    catalogue.bus.request("catalog.anime.delete", request, headers={"Content-Type": "application/json"})
    catalogue.publish("anime.updated", bad)
    catalogue.settle()
    assert db.one("SELECT year FROM catalog.anime WHERE id = %s", late) == 1999
    assert len(catalogue.dead_letters()) == 1


def test_a_waiting_update_that_cannot_be_read_is_a_dead_letter_at_once(catalogue, writer):
    """Stored by a release that knew more, read by one that does not."""
    anime_id = new_id()
    e = catalogue.updated(anime_id, ["year"], wire.classes()["Anime"](year=1999))
    catalogue.settle()
    catalogue.db.do("UPDATE catalog.pending_update SET payload = '\\xffff'")
    catalogue.enriched(anime_id, anime())
    eventually(lambda: catalogue.dead_letters() == [("catalog-updated", "decode")], 10, "dead letter")
    eventually(lambda: catalogue.db.one("SELECT count(*) FROM catalog.inbox WHERE event_id = %s", e.event_id) == 0, 5,
               "forgotten")


def test_risky_updates_are_parked(catalogue, writer):
    anime_id = new_id()
    catalogue.enriched(anime_id, anime(title="Right", episode_count=12, tags=["a", "b", "c", "d"]))
    catalogue.settle()
    e = catalogue.updated(anime_id, ["title", "year", "episode_count", "tags"],
                          wire.classes()["Anime"](title="Wrong", year=2001, episode_count=11, tags=["a"]), at=10)
    catalogue.settle()
    db = catalogue.db
    assert db.all("SELECT title, year, episode_count FROM catalog.anime") == [("Right", 2001, 12)]
    ((review_id, event_id, fields, reasons, payload),) = db.all(
        "SELECT review_id::text, event_id::text, fields, reasons, payload FROM catalog.update_review")
    assert (event_id, sorted(fields)) == (e.event_id, ["episode_count", "tags", "title"])
    assert sorted(reasons) == ["episode-count-lowered", "tags-cut", "title-changed"]
    assert db.one("SELECT outcome FROM catalog.inbox WHERE event_id = %s", e.event_id) == "parked"
    subject, headers, sent = db.all("SELECT subject, headers, payload FROM catalog.outbox ORDER BY id")[-1]
    copy = wire.classes()["AnimeUpdatedEvent"].FromString(bytes(sent))
    assert subject == "anime.updated" and bytes(sent) == bytes(payload)
    assert f"Echora-Review: {review_id}" in headers and "Echora-Risk: " in headers
    assert copy.event_id == review_id and copy.anime.title == "Wrong" and copy.timestamp == e.timestamp
    # Our own copy is nobody's update; a publisher's flag parks everything.
    catalogue.publish("anime.updated", copy, **{"Echora-Review": review_id})
    catalogue.updated(anime_id, ["month"], wire.classes()["Anime"](month="MAY"), at=11, **{"Echora-Risk": "odd"})
    catalogue.settle()
    assert db.all("SELECT title, month FROM catalog.anime") == [("Right", None)]
    assert db.one("SELECT count(*) FROM catalog.update_review") == 2


def test_aired_episode_and_status(catalogue, writer):
    anime_id = new_id()
    Episode = wire.classes()["Episode"]
    catalogue.enriched(anime_id, anime(status=2, episode_count=1), episodes=[Episode(episode_number=1, title="One")])
    catalogue.settle()
    catalogue.publish("anime.episode.aired", event("EpisodeAiredEvent", 10, anime_id=anime_id, status=3,
                                                   aired_at="2024-05-17T12:30:00+09:00",
                                                   episode=Episode(episode_number=2, title="Two")))
    catalogue.settle()
    db = catalogue.db
    assert db.all("SELECT status, episode_count, episode_rows FROM catalog.anime") == [("ONGOING", 1, 2)]
    assert db.one("SELECT aired_at::text FROM catalog.episode WHERE episode_number = 2").startswith("2024-05-17 03:30")
    said = db.all("SELECT subject FROM catalog.outbox ORDER BY id")
    assert said == [("anime.created",), ("anime.synced",), ("episode.synced",)]
    sent = wire_synced(db, "anime.synced")
    assert sorted(sent) == ["episode_count", "status"]


def wire_synced(db, subject):
    """changed_fields of the newest row of the subject."""
    payload = bytes(db.one("SELECT payload FROM catalog.outbox WHERE subject = %s ORDER BY id DESC LIMIT 1", subject))
    names, i = [], 0
    while i < len(payload):  # fields 1 to 5 are length-delimited, revision is a varint
        tag, i = payload[i], i + 1
        if tag & 7 == 0:
            while payload[i] & 0x80:
                i += 1
            i += 1
            continue
        length, shift = 0, 0
        while True:
            length |= (payload[i] & 0x7F) << shift
            shift, i = shift + 7, i + 1
            if not payload[i - 1] & 0x80:
                break
        if tag >> 3 == 4:
            names.append(payload[i:i + length].decode())
        i += length
    return names


def test_members_follow_nsfw(catalogue, writer):
    anime_id = new_id()
    Character, Episode = wire.classes()["Character"], wire.classes()["Episode"]
    catalogue.enriched(anime_id, anime(), characters=[Character(name="A"), Character(name="B")],
                       episodes=[Episode(episode_number=1, title="One")])
    catalogue.settle()
    db = catalogue.db
    before = dict(db.all("SELECT id, revision FROM catalog.character UNION ALL SELECT id, revision FROM catalog.episode"))
    catalogue.updated(anime_id, ["nsfw"], wire.classes()["Anime"](nsfw=True), at=5)
    catalogue.settle()
    after = dict(db.all("SELECT id, revision FROM catalog.character UNION ALL SELECT id, revision FROM catalog.episode"))
    assert len(before) == 3 and all(after[key] > before[key] for key in before)
    assert sorted(s for s, _ in catalogue.outbox()) == ["anime.created", "anime.synced", "character.synced",
                                                        "character.synced", "episode.synced"]
    assert wire_synced(db, "episode.synced") == ["nsfw"]


def test_one_row_per_event_and_entity(catalogue, spawn):
    """An event changes an episode and, by nsfw, all members; another one of its batch changes that episode, too."""
    worker = spawn("catalogue")
    anime_id, Episode = new_id(), wire.classes()["Episode"]
    catalogue.enriched(anime_id, anime(), episodes=[Episode(episode_number=1, title="One")])
    catalogue.settle()
    worker.stop()
    for _ in range(8):  # batches grow from one event to eight
        catalogue.enriched(new_id(), anime())
    for at, title in enumerate(("Two", "Three"), 1):
        catalogue.enriched(anime_id, anime(nsfw=True), at=at, episodes=[Episode(episode_number=1, title=title)])
    spawn("catalogue")
    catalogue.settle()
    subjects = [s for s, entity in catalogue.outbox() if s != "anime.created"]
    assert sorted(subjects) == ["anime.synced", "episode.synced", "episode.synced"]
    assert catalogue.db.one("SELECT count(*) - count(DISTINCT event_id) FROM catalog.outbox") == 0


def test_characters_are_matched(catalogue, writer):
    """By reference, else id, else name within the anime; a character of two anime is one row."""
    one, two = new_id(), new_id()
    Character = wire.classes()["Character"]
    url = "https://anidb.net/character/5"
    catalogue.enriched(one, anime(), characters=[Character(name="Ref", sources=[url]), Character(name="Plain")])
    catalogue.settle()
    catalogue.enriched(two, anime(), characters=[Character(name="Ref again", sources=[url]), Character(name="Plain")])
    catalogue.enriched(one, anime(), at=9, characters=[Character(name="Plain", description="known by name")])
    catalogue.settle()
    db = catalogue.db
    assert db.all("SELECT description FROM catalog.character WHERE name = 'Plain' ORDER BY 1") == [
        ("known by name",), (None,)]
    assert db.one("SELECT count(*) FROM catalog.character") == 3
    assert db.one("SELECT count(*) FROM catalog.anime_character") == 4
    assert db.one("SELECT count(*) FROM catalog.graph_edge WHERE family = 'cast'") == 8
    assert catalogue.dead_letters() == []


def test_companies_are_matched_by_url(catalogue, writer):
    Company = wire.classes()["CompanyEntry"]
    for url, name in (("https://anidb.net/creator/1", "Studio X"), ("https://anidb.net/creator/1", "Studio X2")):
        catalogue.enriched(new_id(), anime(studios=[Company(name=name, sources=[url]), Company(name="By name")]))
    catalogue.settle()
    db = catalogue.db
    assert db.one("SELECT count(*) FROM catalog.company") == 1
    assert db.one("SELECT count(*) FROM catalog.anime_company WHERE company_id IS NULL AND name = 'By name'") == 2
    assert db.all("SELECT edge_type, count(*) FROM catalog.graph_edge GROUP BY 1 ORDER BY 1") == [
        ("produced", 2), ("studio", 2)]


def test_lookups_hold_the_wires_names(db):
    """Each lookup table has the enum's values without their prefix, and UNKNOWN."""
    tables = {"AnimeType": "anime_type", "AnimeStatus": "anime_status", "AnimeRating": "anime_rating",
              "AnimeSeason": "anime_season", "SourceMaterialType": "source_material_type",
              "CharacterRole": "character_role", "AnimeRelationType": "anime_relation_type",
              "SourceMaterialRelationType": "source_material_relation_type"}
    rows = wire.rows("enums.csv")
    for enum, table in tables.items():
        names = [row["value"] for row in rows if row["enum"] == enum]
        prefix = names[0].removesuffix("UNSPECIFIED")
        have = {value for (value,) in db.all(f"SELECT value FROM catalog.{table}")}
        assert {name.removeprefix(prefix) for name in names} <= have, table
        if "Relation" not in enum:
            assert "UNKNOWN" in have, table
    inverses = dict(db.all("SELECT edge, inverse FROM catalog.edge_type WHERE family = 'relation'"))
    assert all(inverses[back] == edge for edge, back in inverses.items() if back)
    assert {edge for edge, back in inverses.items() if edge == back} == {
        "related", "crossover", "alternative_version", "alternative_setting"}


def test_waiting_updates_expire(catalogue, spawn):
    """An update whose entity never comes is dead-lettered whole, and can be replayed then."""
    spawn("catalogue", env={"ECHORA_PENDING_KEEP": "400ms"})
    anime_id = new_id()
    e = catalogue.updated(anime_id, ["year"], wire.classes()["Anime"](year=1999), **{"X-Mine": "1"})
    eventually(lambda: catalogue.dead_letters() == [("catalog-updated", "unknown-entity")], 15, "expired")
    db = catalogue.db
    eventually(lambda: db.one("SELECT count(*) FROM catalog.pending_update") == 0, 5, "forgotten")
    assert db.one("SELECT count(*) FROM catalog.inbox") == 0
    (letter,) = catalogue.bus.messages("ANIME_DLQ")
    assert letter.data == e.SerializeToString() and letter.headers["X-Mine"] == "1"
    assert letter.headers["Echora-Dlq-Class"] == "expired" and letter.headers["Echora-Dlq-Entity"] == anime_id
    # The entity comes, the letter is replayed: now it is applied.
    catalogue.enriched(anime_id, anime())
    catalogue.settle()
    catalogue.publish("anime.updated", e)
    catalogue.settle()
    assert db.one("SELECT year FROM catalog.anime") == 1999
