"""A waiting update that is refused when its entity comes, and a writer that dies on the way to its dead letter."""
import signal

import pytest

from harness import wire
from harness.catalogue import Catalogue, anime, new_id
from harness.process import eventually

Anime = wire.classes()["Anime"]
SHARED = "https://anidb.net/anime/5"


def refused_update(catalogue):
    """Leaves an update waiting, of an id that another anime's reference belongs to when it comes."""
    late = new_id()
    bad = catalogue.updated(late, ["year", "sources"], Anime(year=1999, sources=[SHARED]), at=10)
    catalogue.settle()
    catalogue.enriched(new_id(), anime(sources=[SHARED]))
    catalogue.settle()
    return late, bad


@pytest.mark.chaos(fault="kill -9: on the way to the dead letter of a waiting update", place="catalogue",
                   checks="one dead letter, nothing left behind")
@pytest.mark.parametrize("point", ["before-pending-letters", "before-forget-pending"])
def test_a_killed_writer_loses_no_refused_update(streams, db, spawn, point):
    """Killed once the refusal is committed, and once the letter is stored: one dead letter, no trace left behind."""
    catalogue = Catalogue(streams, db)
    first = spawn("catalogue")
    late, bad = refused_update(catalogue)
    first.stop()
    doomed = spawn("catalogue", env={"PLANTED_KILL": f"{point}:1"})
    catalogue.enriched(late, anime(sources=["https://anidb.net/anime/6"]))
    assert doomed.wait(20) == -signal.SIGKILL
    assert db.one("SELECT refused_code FROM catalog.pending_update") == "identity-conflict"
    assert len(catalogue.dead_letters()) == (0 if point == "before-pending-letters" else 1)
    spawn("catalogue")
    catalogue.settle(60)
    eventually(lambda: db.one("SELECT count(*) FROM catalog.pending_update") == 0, 20, "forgotten")
    assert catalogue.dead_letters() == [("catalog-updated", "identity-conflict")]
    assert db.one("SELECT count(*) FROM catalog.inbox WHERE event_id = %s", bad.event_id) == 0
    assert db.one("SELECT count(*) FROM catalog.anime") == 2
