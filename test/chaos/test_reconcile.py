"""Events that the server gave up while nobody kept its advisory: reconciliation of consumers finds them, and never one that
is pending, in hand or done with. A person has set a small max deliver by hand: else the server gives up nothing."""
import datetime
import json

import pytest
from harness.process import eventually

from chaos.letters import Rig

LOOKS = "echora_dlq_reconciliations_total"


@pytest.fixture
def rig(db, streams, spawn):
    return Rig(db, streams, spawn)


def looking(rig, faults=""):
    """A worker that has looked at all consumers once."""
    worker = rig.worker(faults, reconcile="150ms")
    eventually(lambda: worker.metric(LOOKS) >= 1, 15, "consumers looked at")
    return worker


def looked(worker):
    """All consumers were looked at, beginning after this call."""
    before = worker.metric(LOOKS)
    eventually(lambda: worker.metric(LOOKS) >= before + 2, 15, "consumers looked at")


def stored(rig):
    """Which events have a letter, by their sequence."""
    return [int(m.headers["Echora-Dlq-Seq"]) for m in rig.dlq.bus.messages("ANIME_DLQ")]


def exhaust(rig, n, *gone):
    """n events of which these (from 1) are exhausted and all others acked."""
    rig.limit()
    first = rig.dlq.bus.stream("ANIME_EVENTS").state.last_seq
    for _ in range(n):
        rig.update()
    got = 0
    while got < n:
        batch = rig.take(n)
        rig.ack(*[m for m in batch if m.metadata.sequence.stream - first not in gone])
        got += len(batch)

    def over():
        rig.take(n, timeout=0.1)
        return rig.dlq.bus.consumer("ANIME_EVENTS", "catalog-updated").num_ack_pending == 0
    eventually(over, 20, "the server gave up")
    rig.dlq.bus.purge("ANIME_ADVISORY")


@pytest.mark.chaos(fault="stream missing or full: the advisory is lost, its stream was missing, or dropped it", place="nats",
                   checks="one dead letter, its identity and bytes, one after a restart too")
@pytest.mark.parametrize("how", ["missing", "dropped"])
def test_lost_advisory(rig, echora_for, how):
    if how == "missing":
        rig.dlq.bus.wait(rig.dlq.bus.js.delete_stream("ANIME_ADVISORY"))
    _, payload = rig.exhausted(advised=how != "missing")
    if how == "missing":
        echora_for(nats=rig.streams)("streams", "apply", user="admin")
        rig.limit()
    else:
        rig.dlq.bus.purge("ANIME_ADVISORY")
    worker = looking(rig)
    rig.dlq.indexed()
    (letter,) = rig.dlq.letters()
    assert letter["id"] == rig.identity() and letter["class"] == letter["code"] == "crash"
    assert letter["hop"] == 2 and letter["deliveries"] == 2
    assert rig.dlq.bus.messages("ANIME_DLQ")[0].data == payload
    assert worker.metric("echora_dlq_swept_total", by="reconciliation") == 1
    assert worker.metric("echora_dlq_unexplained") == 0
    worker.restart()
    looked(worker)
    assert stored(rig) == [1]


@pytest.mark.chaos(fault="stream missing or full: the advisory is lost", place="nats",
                   checks="a dead letter where it is proved, else none")
def test_by_schedule(rig):
    """While it runs, without the help of the sweeper."""
    worker = looking(rig, "advisory-ignored")
    rig.exhausted()
    eventually(lambda: stored(rig) == [1], 15, "a dead letter")


@pytest.mark.chaos(fault="stream missing or full: the advisory is lost", place="nats",
                   checks="a dead letter where it is proved, else none")
def test_all_of_a_batch(rig):
    """A process died with a batch in hand: nothing was acked since the look before."""
    worker = looking(rig, "advisory-ignored")
    exhaust(rig, 3)
    looked(worker)
    exhaust(rig, 5, 1, 2, 3, 4, 5)
    eventually(lambda: sorted(stored(rig)) == [4, 5, 6, 7, 8], 15, "dead letters")
    looked(worker)
    assert len(stored(rig)) == 5 and worker.metric("echora_dlq_unexplained") == 0


@pytest.mark.chaos(fault="stream missing or full: the advisory is lost", place="nats",
                   checks="a dead letter where it is proved, else none")
def test_what_can_t_be_told_is_counted(rig):
    """2 held the floor, so it is known; nothing tells 4 from those that were acked."""
    exhaust(rig, 6, 2, 4)
    worker = looking(rig)
    assert stored(rig) == [2]
    assert worker.metric("echora_dlq_unexplained", consumer="catalog-updated") == 1
    worker.wait_log("events were given up that no dead letter explains")


def in_hand(rig, faults=""):
    """Its last delivery is in hand, and later events are done with: it may still be acked."""
    rig.limit(ack_wait=60)
    for _ in range(3):
        rig.update()
    first, *others = rig.take(3)
    rig.ack(*others)
    rig.dlq.as_user("catalogue").wait(first.nak())
    (last,) = eventually(lambda: rig.take(), 10, "its last delivery")
    mark(rig, 1, deliveries=2)
    worker = looking(rig, faults)
    assert stored(rig) == [], "a dead letter of an event that is in hand"
    rig.ack(last)
    looked(worker)
    assert stored(rig) == [] and worker.metric("echora_dlq_unexplained") == 0


@pytest.mark.chaos(fault="slow: handling at the last delivery", place="catalogue", checks="no dead letter")
def test_in_hand(rig):
    in_hand(rig)


@pytest.mark.chaos(fault="guard taken away", place="dead-letters", checks="the scenario turns red")
def test_in_hand_unseen_is_seen(rig):
    with pytest.raises(AssertionError, match="in hand"):
        in_hand(rig, "exhausted-though-in-hand")


def gap(rig, faults=""):
    """1 and 3 are exhausted, 2 is acked, and the stream drops 1: 2 is now the first behind the floor."""
    exhaust(rig, 4, 1, 3)
    config = rig.dlq.bus.stream("ANIME_EVENTS").config
    config.max_msgs, config.discard = 3, "old"
    rig.dlq.bus.wait(rig.dlq.bus.js.update_stream(config))
    worker = looking(rig, faults)
    assert 2 not in stored(rig), f"a dead letter of what was acked: {stored(rig)}"
    assert stored(rig) == []


@pytest.mark.chaos(fault="stream missing or full: the advisory is lost", place="nats",
                   checks="a dead letter where it is proved, else none")
def test_gap(rig):
    gap(rig)


@pytest.mark.chaos(fault="guard taken away", place="dead-letters", checks="the scenario turns red")
def test_gap_unseen_is_seen(rig):
    with pytest.raises(AssertionError, match="what was acked"):
        gap(rig, "exhausted-gap-unseen")


def mark(rig, sequence, deliveries, done=False, begun=1, created=0, age=0):
    """What a worker leaves in WORKER_SUSPECTS."""
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2 - age)
    rig.dlq.as_user("catalogue").publish(f"suspect.catalog-updated.{sequence}", json.dumps({
        "begun": begun, "retried": 0, "done": done, "stream_created": created or rig.created(), "deliveries": deliveries,
        "worker": "test", "time": at.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode())


def marked(rig, faults=""):
    """The floor has jumped past them all: marks tell the exhausted one from those that were acked or are of something else."""
    exhaust(rig, 8, 2)
    mark(rig, 1, deliveries=2, done=True, begun=0)
    mark(rig, 2, deliveries=2)
    mark(rig, 3, deliveries=1)
    mark(rig, 4, deliveries=2, created=1_600_000_000)
    mark(rig, 5, deliveries=2, age=3600)  # of a consumer that was there before
    exhaust(rig, 1)
    floor = rig.dlq.bus.consumer("ANIME_EVENTS", "catalog-updated").ack_floor.stream_seq
    assert floor == 9
    worker = looking(rig, faults)
    assert stored(rig) == [2], f"letters by marks: {stored(rig)}"
    assert worker.metric("echora_dlq_unexplained") == 0


@pytest.mark.chaos(fault="stream missing or full: the advisory is lost", place="nats",
                   checks="a dead letter where it is proved, else none")
def test_marked(rig):
    marked(rig)


@pytest.mark.chaos(fault="guard taken away", place="dead-letters", checks="the scenario turns red")
@pytest.mark.parametrize("fault", ["exhausted-marks-believed", "exhausted-marks-unread"])
def test_marked_badly_is_seen(rig, fault):
    with pytest.raises(AssertionError, match="letters by marks"):
        marked(rig, fault)


def has_its_letter(rig, faults=""):
    """The worker wrote it before it died: that one is the only one, whatever the server forgets of ids."""
    anime_id, payload = rig.exhausted()
    rig.dlq.bus.purge("ANIME_ADVISORY")
    rig.dlq.as_user("deadletters").publish("anime.dlq.catalog-updated", payload, headers={
        "Nats-Msg-Id": rig.identity(), "Echora-Dlq-Stream": "ANIME_EVENTS", "Echora-Dlq-Seq": "1",
        "Echora-Dlq-Consumer": "catalog-updated", "Echora-Dlq-Subject": "anime.updated"})
    looking(rig, faults)
    assert len(stored(rig)) == 1, "two letters for one failure"


@pytest.mark.chaos(fault="stream missing or full: the advisory is lost", place="nats",
                   checks="a dead letter where it is proved, else none")
def test_has_its_letter(rig):
    has_its_letter(rig)


@pytest.mark.chaos(fault="guard taken away", place="dead-letters", checks="the scenario turns red")
@pytest.mark.parametrize("fault", ["sweeper-other-identity", "reconcile-unasked"])
def test_of_two_guards_each_is_enough(rig, fault):
    """The question to the index, and the message id."""
    has_its_letter(rig, fault)


@pytest.mark.chaos(fault="guard taken away", place="dead-letters", checks="the scenario turns red")
def test_without_both_guards_it_is_seen(rig):
    with pytest.raises(AssertionError, match="two letters"):
        has_its_letter(rig, "sweeper-other-identity,reconcile-unasked")
