"""Writers that meet: one new thing under two ids, deletion against update against revival, and hot entities under
the eyes of readers. What is left over is what the oracle says; what is seen meanwhile is committed and whole.
"""
import json
import random
import threading

import pytest
from chaos.test_histories import Arena
from harness import wire
from harness.catalogue import anime, event, new_id
from harness.history import Recorder
from harness.settings import LONG
from oracle import Oracle

SEED = random.randrange(10**9)


@pytest.fixture
def arena(pg_server, nats, qdrant, spawn, echora_for):
    return Arena(pg_server, nats, qdrant, spawn, echora_for)


def meet(arena, rounds, env=None):
    """One new anime under two ids, told of side by side: two at a time, so that two writers have one of them each, and
    then all others at once, with an update of each id."""
    first, updates = [], []
    for i in range(rounds):
        reference, ids = f"https://example.org/anime/{new_id()}", (new_id(), new_id())
        for n, ident in enumerate(ids):
            fields = {"year": 1990 + i % 40} if n else {"month": "MAY"}
            first.append(("anime.enriched", event("AnimeEnrichedEvent", n, anime_id=ident,
                                                  anime=anime(sources=[reference], **fields))))
        for ident in ids:
            updates.append(("anime.updated", event("AnimeUpdatedEvent", 5, anime_id=ident, changed_fields=["duration"],
                                                   anime=wire.classes()["Anime"](duration=i + 1))))
    steps = [*(first[i:i + 4] for i in range(0, 40, 4)), first[40:] + updates]
    recorder, db = arena.run(steps, writers=4, env=env, meet=range(len(steps)))
    arena.check(recorder, db)
    assert db.one("SELECT count(*) FROM catalog.anime") == db.one("SELECT count(*) FROM catalog.anime_xref") == rounds
    assert db.one("SELECT count(*) FROM catalog.entity_alias") == rounds
    db.drop()


def existence(arena, animes, each, seed, env=None):
    """Deletions, revivals by request and by event, and updates of the same few anime, all at once."""
    rnd, actions = random.Random(seed), []
    for _ in range(animes):
        ident = new_id()
        for at in range(each):
            what = rnd.random()
            if what < 0.35 or at == 0:
                e = event("AnimeEnrichedEvent", at, anime_id=ident, anime=anime(year=1990 + at),
                          episodes=[wire.classes()["Episode"](episode_number=at % 3, title=f"at {at}")])
                actions.append(("anime.enriched", e))
            elif what < 0.6:
                e = event("AnimeUpdatedEvent", at, anime_id=ident, changed_fields=["duration"],
                          anime=wire.classes()["Anime"](duration=at))
                actions.append(("anime.updated", e))
            else:
                actions.append(("delete" if what < 0.85 else "restore", ident, at + 0.5))
    rnd.shuffle(actions)
    recorder, db = arena.run([actions], writers=4, env=env)
    arena.check(recorder, db)
    db.drop()


def pair(at, ident):
    """Two fields that only ever change together."""
    both = f"v{at}"
    return ("anime.updated", event("AnimeUpdatedEvent", at, anime_id=ident,
                                   changed_fields=["title_english", "title_japanese", "duration"],
                                   anime=wire.classes()["Anime"](title_english=both, title_japanese=both,
                                                                 duration=at)))


def hot(arena, entities, updates, writers, seed, env=None):
    """Many updates of few anime, in any order; two writers have one of them in hand at once."""
    rnd, ids = random.Random(seed), [new_id() for _ in range(entities)]
    updates = [pair(at, rnd.choice(ids)) for at in range(1, updates + 1)]
    rnd.shuffle(updates)
    first = [("anime.enriched", event("AnimeEnrichedEvent", 0, anime_id=i, anime=anime())) for i in ids]
    recorder, db = arena.run([first, updates], writers, env=env, meet=[1])
    arena.check(recorder, db)
    db.drop()


class Reader(threading.Thread):
    """Looks at random anime until it is told to stop. What it sees is whole, never goes back, and is not deleted."""

    def __init__(self, ids, deleted, seed):
        super().__init__(daemon=True)
        self.ids, self.deleted, self.random = ids, deleted, random.Random(seed)
        self.over, self.newest, self.looks, self.failed = threading.Event(), {}, 0, None

    def run(self):
        try:
            while not self.over.is_set():
                ident = self.random.choice(self.ids)
                gone = ident in self.deleted  # before we look
                seen = self.look(ident)
                self.looks += 1
                assert not (gone and seen and self.hides), f"{ident}: seen after its deletion was answered: {seen}"
                if seen:
                    revision, one, two, duration = seen
                    assert one == two and (one is None or one == f"v{duration}"), f"{ident}: mixed: {seen}"
                    assert revision >= self.newest.get(ident, 0), f"{ident}: went back: {seen}, {self.newest[ident]}"
                    self.newest[ident] = revision
        except BaseException as e:  # told by the test
            self.failed = e

    hides = True


class Asking(Reader):
    def __init__(self, bus, *more):
        super().__init__(*more)
        self.bus = bus

    def look(self, ident):
        reply = self.bus.request("catalog.record.get", json.dumps({"ids": [ident]}).encode(), timeout=30,
                                 headers={"Content-Type": "application/json"})
        for entry in json.loads(reply.data).get("entries", ()):
            a = entry["record"]["anime"]
            return int(entry["revision"]), a.get("titleEnglish"), a.get("titleJapanese"), a.get("duration")


class Selecting(Reader):
    def __init__(self, db, *more):
        super().__init__(*more)
        self.connection = db.connect("echora_reader")

    def look(self, ident):
        return self.connection.execute(
            "SELECT revision, title_english, title_japanese, duration_seconds FROM catalog.anime "
            "WHERE id = %s AND deleted_at IS NULL", (ident,)).fetchone()


class Searching(Selecting):
    """The index follows: what it shows was committed before, and hidden things may be there a moment longer."""
    hides = False

    def __init__(self, qdrant, *more):
        super().__init__(*more)
        self.qdrant = qdrant

    def look(self, ident):
        status, text = self.qdrant.call("POST", "/collections/anime_database/points",
                                        {"ids": [ident], "with_payload": True}, timeout=60)
        for point in text["result"] if status == 200 else ():
            p = point["payload"]
            committed = self.connection.execute("SELECT revision FROM catalog.anime WHERE id = %s", (ident,))
            assert p["rev"] <= committed.fetchone()[0], f"{ident}: not committed: {p}"
            if not p.get("deleted"):
                return p["rev"], p.get("title_english"), p.get("title_japanese"), p.get("duration")


@pytest.mark.chaos(fault="two at once: writers of the same few, under readers", place="catalogue, postgres",
                   checks="oracle, what is read is committed and whole")
@pytest.mark.parametrize("writers", [2, 4] if LONG else [3])
def test_readers_of_hot_entities(streams, db, qdrant, spawn, writers):
    print(f"seed {SEED}")
    rnd, ids, deleted = random.Random(SEED), [new_id() for _ in range(100)], set()
    for kind in ["catalogue"] * writers + ["relay", "qdrant"]:
        spawn(kind)
    recorder = Recorder(streams, db)
    recorder.send_all([("anime.enriched", event("AnimeEnrichedEvent", 0, anime_id=i, anime=anime())) for i in ids])
    recorder.settle()
    readers = [Asking(streams.bus(), ids, deleted, SEED), Selecting(db, ids, deleted, SEED + 1),
               Searching(qdrant, db, ids, deleted, SEED + 2)]
    for reader in readers:
        reader.start()
    for at in range(1, 101):  # of 1,000 updates in the long form, of 40 in the short one
        size = 1000 if LONG else 40
        batch = [pair(at * size + i, rnd.choice(ids)) for i in range(size)]
        rnd.shuffle(batch)
        if at % 5 == 0:
            gone = rnd.choice(ids)
            if gone not in deleted:  # later than everything, so it stays
                recorder.send_all([("delete", gone, 10**6 + at)])
                deleted.add(gone)
        recorder.send_all(batch)
    recorder.rest(timeout=240)
    for reader in readers:
        reader.over.set()
        reader.join(60)
        assert reader.failed is None, f"{type(reader).__name__}: {reader.failed}"
        assert reader.looks > 50, f"{type(reader).__name__} looked {reader.looks} times"
    assert len(deleted) > 10
    Oracle(db, recorder.bus, qdrant).check(recorder.inputs)


@pytest.mark.chaos(fault="two at once: one new thing under two ids", place="catalogue, postgres",
                   checks="oracle, one row, one alias each")
def test_one_new_thing_under_two_ids(arena):
    meet(arena, 1000 if LONG else 150)


@pytest.mark.chaos(fault="two at once: deletion, update and revival", place="catalogue, postgres", checks="oracle")
def test_deletion_update_and_revival(arena):
    print(f"seed {SEED}")
    existence(arena, animes=200 if LONG else 40, each=20, seed=SEED)


@pytest.mark.chaos(fault="two at once: four writers of few entities", place="catalogue, postgres", checks="oracle")
def test_hot_entities(arena):
    print(f"seed {SEED}")
    hot(arena, entities=100, updates=100_000 if LONG else 2_000, writers=4, seed=SEED)
