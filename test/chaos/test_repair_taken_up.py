"""A pass of drift repair belongs to one worker; when that dies another one takes it up where it stood."""
import signal

import pytest
from harness.chain import Chain, anime, ident
from harness.process import eventually


def run_taken_up(db, streams, qdrant, spawn, echora):
    chain = Chain(db, streams, qdrant, spawn, echora)
    before = spawn("qdrant")
    chain.publish(*[anime(i) for i in range(40)])
    chain.quiet()
    before.stop()
    qdrant.call("POST", "/collections/anime_database/points/delete?wait=true",
                {"points": [ident(1, i) for i in range(40)]})
    first = spawn("qdrant", argv=["--repair-interval=3s", "--repair-rate=10"], env={"PLANTED_KILL": "repair-page:2"},
                  wait=False)
    assert first.wait(30) == -signal.SIGKILL
    second = spawn("qdrant", argv=["--repair-interval=1h"])  # for itself it would begin none
    eventually(lambda: len(chain.living()) == 40, 90, "the rest is repaired")
    chain.quiet()
    chain.check([anime(i) for i in range(40)])
    begins = [line for line in second.logs() if line["msg"] == "repair begins"]
    assert [line["reason"] for line in begins] == ["taken up"]


@pytest.mark.chaos(fault="kill -9: in a pass of repair", place="qdrant-sync",
                   checks="another worker goes on where it stood")
@pytest.mark.long  # the others wait half a minute before they take it for dead
def test_a_pass_is_taken_up(db, streams, qdrant, spawn, echora):
    run_taken_up(db, streams, qdrant, spawn, echora)


def run_shared(db, streams, qdrant, spawn, echora, rate, fault=""):
    """A second worker lets a pass alone that the first one is at work on."""
    chain = Chain(db, streams, qdrant, spawn, echora)
    first = spawn("qdrant", argv=["--repair-interval=3s", f"--repair-rate={rate}"])
    chain.publish(*[anime(i) for i in range(60)])
    chain.quiet()
    first.wait_log("repair begins", 90)
    second = spawn("qdrant", argv=["--repair-interval=1h"], env={"PLANTED_FAULTS": fault})
    ends = first.text().count("repair ends")
    eventually(lambda: first.text().count("repair ends") > ends or "repair begins" in second.text(), 120, "it ends")
    assert "repair begins" not in second.text(), "two workers at one pass"


@pytest.mark.chaos(fault="two at once: workers and one pass of repair", place="qdrant-sync",
                   checks="each entity sent once")
def test_a_pass_is_left_to_its_worker(db, streams, qdrant, spawn, echora):
    run_shared(db, streams, qdrant, spawn, echora, rate=10)


@pytest.mark.chaos(fault="guard taken away: a pass belongs to one worker", place="qdrant-sync",
                   checks="the scenario turns red")
def test_a_pass_that_is_not_shared_is_seen(db, streams, qdrant, spawn, echora):
    with pytest.raises(AssertionError, match="two workers"):
        run_shared(db, streams, qdrant, spawn, echora, rate=1, fault="repair-unshared")
