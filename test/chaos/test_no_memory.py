"""One allocation fails while a worker has an event in hand: nothing is lost, refused or done twice, and the worker
says so and lives, or ends with a named exit code.

The allocations of our own code (and of the C library under it) each fail alone. Those of nats.c, libpq, jansson and
curl fail too, in a test of their own: a library that does not survive that takes the process along, which is a
kill -9 to everybody else, so there only the end counts.
"""
import json
import mmap
import random
import struct

import pytest
from harness import outbox
from harness.catalogue import Catalogue, anime, new_id
from harness.process import eventually
from harness.settings import BUILD, LONG

from ops.fleet import system

SAMPLES = 40 if LONG else 5
WHOSE = ["own", "all"] if LONG else ["own"]  # allocations
NAMED = range(1, 9)  # exit codes of events/worker.h


class Starved:
    """A worker in which the test makes allocations fail; started again when it ends. Of those of our own program, or of
    all with `libraries`; of those of at least `least` bytes."""

    def __init__(self, spawn, folder, kind, libraries=False, least=0, env=None):
        self.path = folder / f"plan-{kind}"
        self.path.write_bytes(struct.pack("=5q", 0, 0, 0, int(libraries), least))
        system.own(self.path)
        self.file = open(self.path, "r+b")
        self.plan = mmap.mmap(self.file.fileno(), 40)
        self.libraries, self.ends = libraries, []
        preload = {"LD_PRELOAD": str(BUILD / "test/faults/libno_memory.so"), "NO_MEMORY_PLAN": str(self.path)}
        self.worker = spawn(kind, env={**preload, **(env or {})})

    def fail(self, n):
        """The n-th allocation from now on; 0 = none."""
        self.plan[0:8] = struct.pack("=q", n)

    def hits(self):
        return struct.unpack_from("=q", self.plan, 8)[0]

    def counted(self):
        return struct.unpack_from("=q", self.plan, 16)[0]

    def revive(self):
        """Starts it again when it has ended; its way to end is checked."""
        if self.worker.alive():
            return
        self.fail(0)
        code = self.worker.child.returncode
        self.ends.append(code)
        assert self.libraries or code in NAMED, f"ended with {code}\n{self.worker.tail()}"
        self.worker.start()

    def each(self, act, done, samples=SAMPLES, timeout=60, within=None):
        """act(), and done() comes true, with the n-th allocation behind act() failing, for a sample of n, or for all
        `within`. Each time in a process of its own, for buffers are kept once they are there."""
        def handled():
            self.revive()
            return done()
        before = self.counted()
        act()
        eventually(handled, timeout, "handled undisturbed")
        span = self.counted() - before
        assert span > 0
        tried = within or sorted(random.Random(20260101).sample(range(1, span + 1), min(samples, span)))
        for n in tried:
            self.worker.restart()
            self.fail(n)
            act()
            eventually(handled, timeout, f"handled when allocation {n} fails")
            self.fail(0)
        print(f"{span} allocations; of {tried} {self.hits()} failed; exits: {self.ends}")
        # What libraries allocate beside the event varies with the load, so that many of the numbers are never reached.
        assert self.hits() >= len(tried) / (8 if self.libraries else 2)


def write(streams, db, spawn, folder, synopsis=3000, samples=SAMPLES, **starved):
    catalogue, sent = Catalogue(streams, db), {}

    def act():
        anime_id = new_id()
        sent[anime_id] = f"Title {len(sent)}"
        catalogue.enriched(anime_id, anime(title=sent[anime_id], tags=["a", "b"], synopsis="s" * synopsis))
        catalogue.updated(anime_id, ["year"], anime(year=1990 + len(sent)), at=1)

    def done():
        assert catalogue.dead_letters() == []
        return db.one("SELECT count(*) FROM catalog.anime WHERE year IS NOT NULL") == len(sent)
    writer = Starved(spawn, folder, "catalogue", **starved)
    writer.each(act, done, samples)
    catalogue.settle()
    assert dict(db.all("SELECT id::text, title FROM catalog.anime")) == sent
    assert catalogue.dead_letters() == []
    assert db.one("SELECT count(*) FROM catalog.inbox") == 2 * len(sent)
    # The update's clock of its own field: without it an older event would pass for newer.
    assert db.one("SELECT count(*) FROM catalog.anime WHERE clocks ? 'year'") == len(sent)
    told = [entity for subject, entity in catalogue.outbox() if subject == "anime.created"]
    assert sorted(told) == sorted(sent)


@pytest.mark.chaos(fault="no memory: one allocation fails", place="catalogue",
                   checks="rows, inbox, outbox, dead letters")
@pytest.mark.parametrize("libraries", WHOSE, ids=str)
def test_writer(streams, db, spawn, folder, libraries):
    write(streams, db, spawn, folder, libraries=libraries == "all")


@pytest.mark.chaos(fault="no memory: one large allocation fails", place="catalogue",
                   checks="rows, inbox, outbox, dead letters")
def test_writer_every_large_allocation(streams, db, spawn, folder):
    write(streams, db, spawn, folder, synopsis=100_000, samples=100, least=60_000)


@pytest.mark.chaos(fault="no memory: one large allocation fails, in a list", place="catalogue",
                   checks="the list is whole, dead letters")
def test_writer_keeps_every_relation(streams, db, spawn, folder):
    """A list is stored whole or not at all, whichever of the large allocations on the way fails."""
    catalogue, sources = Catalogue(streams, db), [f"https://anidb.net/anime/{i}" for i in range(1, 3001)]
    sent = []

    def act():
        a = anime(title="Many")
        a.related_anime["SEQUEL"].items.add(title="All", sources=sources)
        sent.append(new_id())
        catalogue.enriched(sent[-1], a)
    writer = Starved(spawn, folder, "catalogue", least=60_000)
    writer.each(act, lambda: db.one("SELECT count(*) FROM catalog.anime") == len(sent), samples=100)
    catalogue.settle()
    assert catalogue.dead_letters() == []
    assert db.all("SELECT count(*) FROM catalog.anime_relation GROUP BY from_id") == [(3000,)] * len(sent)


@pytest.mark.chaos(fault="no memory: one large allocation fails, in headers", place="catalogue",
                   checks="headers are whole, dead letters")
def test_a_waiting_update_keeps_its_flag(streams, db, spawn, folder):
    """Its headers wait with it, or it is not left waiting."""
    catalogue, sent = Catalogue(streams, db), []
    headers = {f"X-Number-{i}": "x" for i in range(200)}  # so many that they need an allocation of their own

    def act():
        sent.append(new_id())
        catalogue.updated(sent[-1], ["year"], anime(year=1990), **headers, **{"Echora-Risk": "odd"})
    writer = Starved(spawn, folder, "catalogue", least=10_000)
    writer.each(act, lambda: db.one("SELECT count(*) FROM catalog.pending_update") == len(sent), samples=100)
    assert catalogue.dead_letters() == []
    flagged = """SELECT count(*) FROM catalog.pending_update WHERE headers @> '[["Echora-Risk", "odd"]]'"""
    assert db.one(flagged) == len(sent)


@pytest.mark.chaos(fault="guard taken away: no memory is not taken for a large event", place="catalogue",
                   checks="the scenario turns red")
@pytest.mark.parametrize("fault", ["memory-taken-for-size"])
def test_it_is_seen(streams, db, spawn, folder, fault):
    with pytest.raises(AssertionError, match="too-large"):
        write(streams, db, spawn, folder, synopsis=100_000, samples=100, least=60_000, env={"PLANTED_FAULTS": fault})


@pytest.mark.chaos(fault="no memory: one allocation fails", place="relay", checks="each row one message")
@pytest.mark.parametrize("libraries", WHOSE, ids=str)
def test_relay(streams, db, spawn, folder, libraries):
    bus, written = streams.bus("admin"), [0]

    def act():
        with db.connect() as connection:
            outbox.fill(connection, 40)
        written[0] += 40

    relay = Starved(spawn, folder, "relay", libraries == "all")
    relay.each(act, lambda: outbox.stored(bus) >= written[0])
    assert outbox.check(db, bus) == written[0] == outbox.stored(bus)


def index(streams, db, qdrant, spawn, folder, libraries, faults="", within=None):
    catalogue, sent = Catalogue(streams, db), {}
    spawn("catalogue")
    spawn("relay")

    def act():
        anime_id = new_id()
        sent[anime_id] = f"Title {len(sent)}"
        catalogue.enriched(anime_id, anime(title=sent[anime_id], synopsis="s" * 3000))

    def titles():
        body = {"limit": 1000, "with_payload": ["title"], "with_vector": False}
        status, reply = qdrant.call("POST", "/collections/anime_database/points/scroll", body)
        return {p["id"]: p["payload"].get("title") for p in reply["result"]["points"]} if status == 200 else {}

    def done():
        assert catalogue.dead_letters() == []
        return titles() == sent
    sync = Starved(spawn, folder, "qdrant", libraries, env={"PLANTED_FAULTS": faults})
    sync.each(act, done, within=within)
    eventually(lambda: catalogue.bus.settled("ANIME_SYNC", "qdrant-anime-created"), 90, "settled")  # after an ack wait
    assert catalogue.dead_letters() == []
    reply = streams.bus("operator").request("catalog.reconcile", b"{}", timeout=20,
                                            headers={"Content-Type": "application/json"})
    drift = {name: int(value) for name, value in json.loads(reply.data).items()}
    assert drift == {**dict.fromkeys(drift, 0), "compared": len(sent)}


@pytest.mark.chaos(fault="no memory: one allocation fails", place="qdrant-sync", checks="points, dead letters, drift")
@pytest.mark.parametrize("libraries", WHOSE, ids=str)
def test_sync(streams, db, qdrant, spawn, folder, libraries):
    index(streams, db, qdrant, spawn, folder, libraries == "all")


HEADERS = range(4, 20)  # among these are those of a message's headers


@pytest.mark.chaos(fault="no memory: one allocation fails, in headers", place="any worker",
                   checks="the event comes again, whole")
def test_headers_for_which_there_is_no_memory(streams, db, qdrant, spawn, folder):
    """Half-read headers are those of another event: it must come again."""
    index(streams, db, qdrant, spawn, folder, True, within=HEADERS)


@pytest.mark.chaos(fault="guard taken away: half-read headers are no headers", place="any worker",
                   checks="the scenario turns red")
def test_headers_for_which_there_is_no_memory_are_missed(streams, db, qdrant, spawn, folder):
    with pytest.raises(AssertionError, match="foreign-message|unreadable-header"):
        index(streams, db, qdrant, spawn, folder, True, "headers-lost-for-memory", HEADERS)
