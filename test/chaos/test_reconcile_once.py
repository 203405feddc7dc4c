"""One repair run per Idempotency-Key, whoever dies at it: its note with the broker is claim, progress and reply."""
import json
import signal
import time

import pytest
from harness.chain import Chain
from harness.process import eventually
from harness.runs import Runs


def repeated(runs, spawn, fault=""):
    spawn("qdrant", env={"PLANTED_FAULTS": fault})
    runs.lose(1, 2, 3)
    first = runs.ask(repair=True)
    runs.check()
    runs.lose(4)
    assert runs.ask(repair=True) == first == runs.ask(token=2, repair=True) and runs.sent() == 3


def of_a_stale_owner(runs, spawn, fault=""):
    spawn("qdrant", env={"PLANTED_FAULTS": fault})
    runs.ask(token=2)
    assert runs.refusal(token=1) == "stale-token"


def by_two_at_once(runs, spawn, fault=""):
    """The second one gets the request while the first is at work on it: it waits, and says the same."""
    for _ in range(2):
        spawn("qdrant", env={"PLANTED_FAULTS": fault})
    runs.lose()
    askers = 16  # nats-server picks the worker by chance: one alone gets all of them once in 32,768 times
    replies = runs.at_once(askers, repair=True, rate=20)
    assert replies == [{"compared": "30", "missing": "30", "enqueued": "30"}] * askers
    assert runs.sent() == 30, "entities sent more than once"


def taken_over(runs, spawn, fault=""):
    """Another worker took the run over while this one stood still: it learns that at its next note, and does no more."""
    spawn("qdrant", env={"PLANTED_FAULTS": fault})
    runs.lose()
    asked = runs.begin(repair=True, rate=3)
    note = eventually(runs.note, 10, "claimed")
    assert note["state"] == "running"
    other = json.dumps({**note, "token": 2, "enqueued": 1}).encode()
    runs.chain.streams.bus("qdrant").publish(runs.subject(), other)
    assert asked.result() == "stale-token"
    assert runs.note() == json.loads(other), "the note of who goes on with it"
    assert runs.sent() < 30


LONG = pytest.mark.long  # what test_reconcile_once.py of the integration suite and test_once.py show already


@pytest.fixture
def runs(db, streams, qdrant, spawn, echora):
    one = Runs(Chain(db, streams, qdrant, spawn, echora), spawn)
    one.worker.stop()
    return one


@pytest.mark.chaos(fault="a repair request comes again, at the same time too; its worker was followed by another", place="qdrant-sync",
                   checks="one run, the same reply; refused")
@pytest.mark.parametrize("scenario", [pytest.param(repeated, marks=LONG), pytest.param(of_a_stale_owner, marks=LONG),
                                      pytest.param(by_two_at_once, marks=LONG), taken_over])
def test_one_run(scenario, runs, spawn):
    scenario(runs, spawn)


@pytest.mark.chaos(fault="planted: the reply not kept, a stale token served, a run not left to its worker, a note overwritten",
                   place="qdrant-sync", checks="the tests turn red")
@pytest.mark.parametrize("scenario, fault", [
    pytest.param(repeated, "reply-not-kept", marks=LONG), pytest.param(of_a_stale_owner, "stale-token-served", marks=LONG),
    (by_two_at_once, "run-unshared"), (taken_over, "note-unfenced")])
def test_one_run_without_its_guard(scenario, fault, runs, spawn):
    with pytest.raises(AssertionError):
        scenario(runs, spawn, fault)


def dies(runs, worker, **body):
    with pytest.raises(Exception, match="(?i)timeout|responders"):
        runs.ask(timeout=2, **body)
    assert worker.wait() == -signal.SIGKILL


@pytest.mark.chaos(fault="kill -9: between the end of a repair run and its reply", place="qdrant-sync",
                   checks="the stored reply, nothing sent twice")
def test_killed_before_its_reply(runs, spawn):
    worker = spawn("qdrant", env={"PLANTED_KILL": "before-reply"})
    runs.lose()
    dies(runs, worker, repair=True)
    assert runs.note()["state"] == "done"
    spawn("qdrant")
    assert runs.ask(token=2, repair=True) == {"compared": "30", "missing": "30", "enqueued": "30"}
    assert runs.sent() == 30
    runs.check()


@pytest.mark.chaos(fault="kill -9: in a repair run, after its claim and after a page", place="qdrant-sync",
                   checks="who asks next gets the reply of the whole; each is sent once, but for the last page")
@pytest.mark.parametrize("point, sent", [("reconcile-claimed", 0), ("reconcile-page", 30)])
@pytest.mark.long  # a worker that says nothing is taken for dead after half a minute
def test_killed_in_its_run(runs, spawn, point, sent):
    worker = spawn("qdrant", env={"PLANTED_KILL": point})
    runs.lose()
    dies(runs, worker, repair=True)
    died = time.monotonic()
    assert runs.note()["state"] == "running"
    eventually(lambda: runs.sent() == sent, 10, "what was sent before it died")
    for _ in range(2):
        spawn("qdrant")
    replies = runs.at_once(4, token=2, repair=True)
    assert time.monotonic() - died > 25 and [r["compared"] for r in replies] == ["30"] * 4
    assert all(r == replies[0] for r in replies)
    assert runs.sent() <= 30 + sent
    runs.check()


@pytest.mark.chaos(fault="kill -9: in a repair run that was asked for over HTTP", place="qdrant-sync, command-api",
                   checks="the same call until it is done takes the run up; one answer, which is kept")
@pytest.mark.long
def test_killed_while_the_caller_was_told_that_it_goes_on(api, runs, spawn):
    api.env["ECHORA_REPLY_TIMEOUT"] = "1s"
    api.start()
    worker = spawn("qdrant", env={"PLANTED_KILL": "reconcile-page"})
    runs.lose()

    def ask():
        return api.post("/operations/reconcile", {"repair": True}, key="k")
    assert ask().json == {"state": "running"} and worker.wait() == -signal.SIGKILL
    spawn("qdrant")
    told = eventually(lambda: (said := ask()).json.get("state") == "done" and said.json, 120, "done")
    assert told["compared"] == 30 and ask().json == told
    runs.check()


@pytest.mark.chaos(fault="SIGTERM: in a repair run", place="qdrant-sync", checks="who asks next goes on at once")
@pytest.mark.long
def test_stopped_in_its_run(runs, spawn):
    worker = spawn("qdrant")
    runs.lose()
    asked = runs.begin(repair=True, rate=12)
    eventually(lambda: runs.sent() > 0, 10, "at work")
    worker.stop()
    assert asked.result() == "stopping" and runs.note()["state"] == "open"
    spawn("qdrant")
    assert runs.ask(token=2, repair=True, rate=12)["compared"] == "30"
    runs.check()
