"""catalog.reconcile with Echora-Idem: a run once, its reply as often as it is asked for, no lower token after a higher."""
import pytest

from harness.chain import Chain
from harness.runs import Runs


@pytest.fixture
def runs(db, streams, qdrant, spawn, echora):
    return Runs(Chain(db, streams, qdrant, spawn, echora), spawn)


def test_a_run_is_made_once(runs):
    runs.lose(*range(0, 30, 3))
    first = runs.ask(repair=True)
    assert first == {"compared": "30", "missing": "10", "enqueued": "10"}
    runs.check()
    runs.lose(4, 5)
    for token in (1, 1, 2, 7, 7):
        assert runs.ask(token=token, repair=True) == first
    assert runs.sent() == 10 and runs.note()["token"] == 7 and runs.note()["state"] == "done"
    assert runs.refusal(token=6, repair=True) == "stale-token"
    assert runs.ask("other", repair=True)["enqueued"] == "2"
    assert runs.ask(key=None)["compared"] == "30"
    config = runs.chain.bus.stream("WORKER_REPLIES").config
    assert (config.max_age, config.max_msgs_per_subject, config.discard) == (30 * 86400, 1, "old")
    assert {m.subject for m in runs.chain.bus.messages("WORKER_REPLIES")} == {runs.subject("k"), runs.subject("other")}


def test_another_request_under_the_key_is_refused(runs):
    runs.ask(kind="anime")
    for body in ({}, {"kind": "episode"}, {"kind": "anime", "repair": True}, {"kind": "anime", "limit": 9}):
        assert runs.refusal(token=9, **body) == "idempotency-conflict"
    assert runs.note()["token"] == 1, "and raises no token"
    assert runs.refusal("bad", kind="cheese") == "bad-kind" and runs.note("bad") is None, "refusals are not kept"


def test_the_reply_of_a_page(runs):
    """A limit ends the run early, and its reply tells where to go on, as often as one asks."""
    page = runs.ask(kind="anime", limit=10)
    assert page["compared"] == "10" and page["nextId"] and runs.ask(kind="anime", limit=10) == page
    rest = runs.ask("rest", kind="anime", fromId=page["nextId"])
    assert rest == {"compared": "20"} == runs.ask("rest", kind="anime", fromId=page["nextId"])


def test_at_the_same_time_by_two_workers(runs, spawn):
    spawn("qdrant")
    for round_ in range(2):
        runs.lose()
        replies = runs.at_once(6, key=f"k{round_}", repair=True, rate=20)
        assert replies == [{"compared": "30", "missing": "30", "enqueued": "30"}] * 6
        assert runs.sent() == 30 * (round_ + 1)
        runs.check()


def test_without_its_stream_a_request_with_a_key_is_refused(runs, spawn):
    """And nothing else is touched: a repair that might be started twice is not begun."""
    runs.chain.bus.wait(runs.chain.bus.js.delete_stream("WORKER_REPLIES"))
    runs.lose(3)
    with pytest.raises(Exception) as caught:
        runs.ask(repair=True)
    assert caught.value.refusal == "retry", caught.value
    assert runs.sent() == 0 and runs.ask(key=None, repair=True)["enqueued"] == "1"
    runs.check()
