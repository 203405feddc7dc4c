"""`echora reindex`: a new collection beside the old one, and an alias that never points to less than everything."""
import signal
import threading

import pytest
from harness.chain import SYNC, Chain, anime, changed, ident
from harness.process import eventually
from harness.settings import LONG

MANY = 600
OLD, NEW = "anime_database_v1", "anime_database_v2"
PLAIN = ("--embed-provider", "none")


class Searcher:
    """Looks at the alias all the time, as searches do."""

    def __init__(self, qdrant, expected):
        self.qdrant, self.expected, self.wrong, self.looks = qdrant, expected, [], 0
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending.is_set():
            status, reply = self.qdrant.call("POST", "/collections/anime_database/points/count", {"exact": True})
            found = reply["result"]["count"] if status == 200 else status
            self.looks += 1
            if found < self.expected or status != 200:
                self.wrong.append(found)

    def end(self):
        self.ending.set()
        self.thread.join()
        assert self.looks > 10 and not self.wrong, f"searches saw {self.wrong[:5]} of {self.expected} points"


def target(qdrant):
    aliases = qdrant.call("GET", "/aliases")[1]["result"]["aliases"]
    return {a["alias_name"]: a["collection_name"] for a in aliases}["anime_database"]


def count(qdrant, collection):
    status, reply = qdrant.call("POST", f"/collections/{collection}/points/count", {"exact": True})
    return reply["result"]["count"] if status == 200 else 0


def run_reindex(db, streams, qdrant, spawn, echora, kill="refill-page:2", fault=""):
    chain = Chain(db, streams, qdrant, spawn, echora)
    worker = spawn("qdrant")
    events = [anime(i) for i in range(MANY)]
    chain.publish(*events)
    chain.quiet(90)
    searcher = Searcher(qdrant, MANY)
    try:
        broken = echora("reindex", "--collection", NEW, *PLAIN, ok=False, timeout=120,
                        env={"PLANTED_KILL": kill, "PLANTED_FAULTS": fault})
        assert broken.code == -signal.SIGKILL
        assert target(qdrant) == OLD, "the alias points to what is not whole"
        assert 0 < count(qdrant, NEW) <= MANY
        # What changes meanwhile is not lost either.
        chain.change(3, year=1955)
        chain.delete(4)
        before = count(qdrant, NEW)
        done = echora("reindex", "--collection", NEW, *PLAIN, "--json", timeout=120).json
        assert (done["already"], done["things"], done["refused"]) == (False, MANY, 0) and before > 0
        assert target(qdrant) == NEW and count(qdrant, NEW) >= MANY
    finally:
        searcher.end()
    chain.change(5, year=1956)  # its event waits for the workers of the new collection
    worker.stop()
    spawn("qdrant", argv=["--collection", NEW, "--embed-provider=none"])
    echora("resume", "qdrant")
    eventually(lambda: chain.points()[ident(1, 5)]["year"] == 1956, 30, "the workers serve the new collection")
    chain.quiet()
    events[3], events[5] = changed(events[3], year=1955), changed(events[5], year=1956)
    chain.check([e for i, e in enumerate(events) if i != 4], "none/1")
    assert chain.drift() == {"compared": MANY - 1}
    assert not [d for d in SYNC if chain.bus.consumer("ANIME_SYNC", f"qdrant-{d}").num_pending]
    again = echora("reindex", "--collection", NEW, *PLAIN).out
    assert "points to anime_database_v2 already" in again


@pytest.mark.chaos(fault="kill -9: in echora reindex", place="cli",
                   checks="resumed, the alias never points to less than everything")
@pytest.mark.parametrize("kill", ["refill-page:2", "before-alias-switch"] if LONG else ["refill-page:2"])
def test_reindex_is_resumed(db, streams, qdrant, spawn, echora, kill):
    run_reindex(db, streams, qdrant, spawn, echora, kill)


@pytest.mark.chaos(fault="guard taken away: the alias comes last", place="cli", checks="the scenario turns red")
def test_an_alias_that_comes_first_is_seen(db, streams, qdrant, spawn, echora):
    with pytest.raises(AssertionError, match="searches saw|not whole"):
        run_reindex(db, streams, qdrant, spawn, echora, fault="alias-before-fill")


def run_changes_meanwhile(db, streams, qdrant, spawn, echora, fault=""):
    """Each anime changes once, some of them behind the fill and before the pause: the old workers take those."""
    chain = Chain(db, streams, qdrant, spawn, echora)
    worker = spawn("qdrant")
    events = [anime(i) for i in range(MANY)]
    chain.publish(*events)
    chain.quiet(90)
    reindex = threading.Thread(target=echora, args=("reindex", "--collection", NEW, *PLAIN),
                               kwargs={"timeout": 200, "env": {"PLANTED_FAULTS": fault}})
    reindex.start()
    changes = 0
    while reindex.is_alive() and changes < MANY:
        chain.change(changes, year=1955)
        events[changes] = changed(events[changes], year=1955)
        changes += 1
    reindex.join()
    assert target(qdrant) == NEW and changes > 3
    worker.stop()
    spawn("qdrant", argv=["--collection", NEW, "--embed-provider=none", "--repair-interval=0s"])
    echora("resume", "qdrant")
    chain.quiet(90)
    drift = chain.drift()
    assert drift == {"compared": MANY}, f"the new collection lacks changes: {drift}"
    chain.check(events, "none/1")


@pytest.mark.chaos(fault="two at once: changes while a new collection is filled", place="qdrant-sync",
                   checks="points equal the committed state")
def test_changes_meanwhile_are_in_the_new_collection(db, streams, qdrant, spawn, echora):
    run_changes_meanwhile(db, streams, qdrant, spawn, echora)


@pytest.mark.chaos(fault="guard taken away: catching up before the switch", place="cli",
                   checks="the scenario turns red")
def test_a_new_collection_that_is_not_caught_up_is_seen(db, streams, qdrant, spawn, echora):
    with pytest.raises(AssertionError, match="lacks changes"):
        run_changes_meanwhile(db, streams, qdrant, spawn, echora, fault="catch-up-omitted")


@pytest.mark.chaos(fault="missing: the first collection", place="cli", checks="refused, nothing is made")
def test_without_a_first_collection(db, streams, qdrant, spawn, echora):
    spawn("catalogue")
    refused = echora("reindex", "--collection", NEW, *PLAIN, ok=False)
    assert refused.code == 1 and "there is no alias" in refused.err
    assert qdrant.call("GET", "/aliases")[1]["result"]["aliases"] == []
    assert echora("reindex", ok=False).code == 2
