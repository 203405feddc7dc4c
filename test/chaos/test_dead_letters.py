"""Dead letters: replays under kill -9, outcomes, canaries and the sweeper; and each guard taken away, which must show."""
import pytest
from harness.catalogue import event, new_id
from harness.process import eventually
from harness.settings import LONG

from chaos.letters import Rig

LETTERS = 6000 if LONG else 700  # pages of a plan hold 256


@pytest.fixture
def rig(db, streams, spawn):
    return Rig(db, streams, spawn)


def killed(rig, point, faults=""):
    """kill -9 in the middle of a plan, and another process that goes on: each event once, and each has its outcome."""
    anime_id, _ = rig.anime_known()
    worker = rig.worker(faults, kill=f"{point}:2")
    rig.letters(anime_id, LETTERS)
    plan = rig.dlq.replay(filter={})["id"]
    eventually(lambda: not worker.alive(), 30, "killed")
    rig.worker(faults)
    over = rig.dlq.finished(plan, timeout=60 + LETTERS / 20)
    ids = [headers["Nats-Msg-Id"] for headers, _ in rig.dlq.replayed()]
    assert len(ids) == LETTERS, f"{len(ids)} events published for {LETTERS} letters"
    assert len(set(ids)) == LETTERS and over["done"] == LETTERS, over
    told = {i["id"] for r in rig.dlq.audit(plan) for i in r.get("items", []) if i["outcome"] == "sent"}
    assert len(told) == LETTERS
    assert rig.db.one("SELECT count(*) FROM catalog.inbox") == LETTERS + 1


@pytest.mark.chaos(fault="kill -9: in the middle of a replay", place="dead-letters",
                   checks="each event once, each with its outcome, audit")
@pytest.mark.parametrize("point", ["replay-published", "replay-recorded"])
def test_killed_in_a_replay(rig, point):
    killed(rig, point)


@pytest.mark.chaos(fault="guard taken away: message ids of replays", place="dead-letters",
                   checks="the scenario turns red")
def test_ids_that_are_not_fixed_are_seen(rig):
    with pytest.raises(AssertionError, match="events published"):
        killed(rig, "replay-published", "replay-id-not-fixed")


@pytest.mark.chaos(fault="kill -9: one of two workers, while it applies a plan", place="dead-letters",
                   checks="the other goes on, each event once, each outcome once")
@pytest.mark.parametrize("point", ["replay-published", "replay-recorded"])
def test_two_workers_and_one_is_killed(rig, point):
    anime_id, _ = rig.anime_known()
    other = rig.worker()
    first = rig.worker(kill=f"{point}:2")
    rig.letters(anime_id, LETTERS)
    plan = rig.dlq.replay(filter={}, rate=20)["id"]  # so slow that both have their turns
    eventually(lambda: not first.alive(), 60, "killed")
    assert rig.dlq.plan(plan)["state"] == "running"
    rig.dlq.replay(planId=plan, rate=100000)
    over = rig.dlq.finished(plan, timeout=60 + LETTERS / 20)
    ids = [headers["Nats-Msg-Id"] for headers, _ in rig.dlq.replayed()]
    assert len(ids) == len(set(ids)) == LETTERS and over["done"] == LETTERS, over
    assert other.metric("echora_dlq_replays_total", outcome="sent") > 0
    assert rig.db.one("SELECT count(*) FROM catalog.inbox") == LETTERS + 1


@pytest.mark.chaos(fault="two at once: a replay and the consumer's own work", place="catalogue", checks="each event once, nothing lost")
def test_replayed_while_its_consumer_is_busy(rig):
    anime_id, _ = rig.anime_known()
    rig.worker()
    rig.letters(anime_id, 200)
    plan = rig.dlq.replay(filter={}, rate=100)["id"]
    others = 0
    while others < 200 or rig.dlq.plan(plan)["state"] == "running":
        rig.update()
        others += 1
    over = rig.dlq.finished(plan, timeout=60)
    rig.catalogue.settle()
    ids = [headers["Nats-Msg-Id"] for headers, _ in rig.dlq.replayed()]
    assert len(ids) == len(set(ids)) == over["done"] == 200
    assert rig.db.one("SELECT count(*) FROM catalog.inbox") == 1 + 200 + others
    sequences = [s for s, _, headers, _ in rig.dlq.bus.read("ANIME_EVENTS") if "Echora-Replay-Id" in headers]
    assert sequences[-1] - sequences[0] > 200, "other events stand between those of the replay"
    assert rig.dlq.bus.stream("ANIME_DLQ").state.messages == 200


def reused_id(rig, faults=""):
    """Somebody's event has the id of our replay: the broker keeps that one and drops ours."""
    anime_id, _ = rig.anime_known()
    rig.worker(faults)
    rig.letters(anime_id, 1)
    (letter,) = rig.dlq.letters()
    rig.dlq.bus.publish("anime.updated", b"not ours", headers={"Nats-Msg-Id": letter["id"] + ":r1"})
    over = rig.dlq.finished(rig.dlq.replay(filter={"toSequence": 1})["id"])
    assert over.get("failed") == 1, f"a replay that was swallowed counts as {over}"


@pytest.mark.chaos(fault="message id used by somebody else: that of a replay", place="nats",
                   checks="the replay counts as failed")
def test_reused_id(rig):
    reused_id(rig)


@pytest.mark.chaos(fault="guard taken away: duplicates are looked at", place="dead-letters",
                   checks="the scenario turns red")
def test_reused_id_unseen_is_seen(rig):
    with pytest.raises(AssertionError, match="swallowed"):
        reused_id(rig, "replay-duplicate-unseen")


def for_another(rig, faults=""):
    """A letter of another consumer of the subject is nothing to the writer."""
    anime_id, _ = rig.anime_known()
    rig.worker(faults)
    rig.letters(anime_id, 3, consumer="somebody-else")
    rig.dlq.replay(filter={})
    eventually(lambda: len(rig.dlq.replayed()) == 3, 10, "published")
    rig.catalogue.settle()
    assert rig.db.one("SELECT year FROM catalog.anime") is None, "a consumer took another's replay"


@pytest.mark.chaos(fault="message for another: a replay of another consumer's letter", place="catalogue",
                   checks="nothing is written")
def test_for_another(rig):
    for_another(rig)


@pytest.mark.chaos(fault="guard taken away: replays name their consumer", place="dead-letters",
                   checks="the scenario turns red")
def test_replay_for_everybody_is_seen(rig):
    with pytest.raises(AssertionError, match="took another's"):
        for_another(rig, "replay-for-everybody")


def canary(rig, faults=""):
    """Letters that fail again, but for the first: stopped after the second round."""
    anime_id, _ = rig.anime_known()
    rig.worker(faults)
    rig.letters(anime_id, 1)
    for i in range(2, 61):
        rig.dlq.write(i, payload=event("AnimeUpdatedEvent", i, anime_id="no-uuid").SerializeToString())
    rig.dlq.indexed()
    plan = rig.dlq.replay(filter={"toSequence": 60}, canary=True, maxFailurePercent=20)["id"]
    eventually(lambda: rig.dlq.plan(plan)["state"] != "running", 40, "over")
    over = rig.dlq.plan(plan)
    assert over["state"] == "stopped", f"the canary let all go: {over}"
    assert over["done"] == 1 and over["failed"] == 9 and over["waiting"] == 50
    assert over["reason"] == "canary: 9 of 10 failed, more than 20 %"


@pytest.mark.chaos(fault="event that fails: again in a replay", place="dead-letters",
                   checks="the canary stops the plan, the rest is untouched")
def test_canary_stops(rig):
    canary(rig)


@pytest.mark.chaos(fault="guard taken away: the canary stops", place="dead-letters", checks="the scenario turns red")
def test_canary_that_never_stops_is_seen(rig):
    with pytest.raises(AssertionError, match="let all go"):
        canary(rig, "canary-never-stops")


@pytest.mark.chaos(fault="none: all letters of a replay are good now", place="dead-letters",
                   checks="all done, in steps of 1, 9, 90")
def test_canary_goes_on(rig):
    anime_id, _ = rig.anime_known()
    rig.worker()
    rig.letters(anime_id, 120)
    over = rig.dlq.finished(rig.dlq.replay(filter={}, canary=True)["id"], timeout=60)
    assert over["done"] == 120
    sent = [len(r["items"]) for r in rig.dlq.audit() if any(i["outcome"] == "sent" for i in r.get("items", []))]
    assert sent == [1, 9, 90, 20]


@pytest.mark.chaos(fault="away: the consumer of a replay", place="dead-letters",
                   checks="the plan stops with its reason")
def test_canary_waits_no_longer_than_told(rig):
    rig.worker()
    rig.letters(new_id(), 2)  # nobody runs who would take them
    plan = rig.dlq.replay(filter={}, canary=True, waitSeconds=1)["id"]
    eventually(lambda: rig.dlq.plan(plan)["state"] == "stopped", 20, "stopped")
    over = rig.dlq.plan(plan)
    assert over["reason"] == "canary: 1 events have no outcome after 1 s" and over["sent"] == over["waiting"] == 1


def late_index(rig, faults=""):
    """The event failed again and its letter is stored, but the index does not hold it yet: no outcome before it does.
    A lock on the index stops the worker in its chores, ahead of the look at outcomes."""
    rig.worker(faults)
    rig.dlq.write(1, payload=event("AnimeUpdatedEvent", 1, anime_id="no-uuid").SerializeToString())
    rig.dlq.indexed()
    plan = rig.dlq.replay(filter={})["id"]
    eventually(lambda: rig.dlq.plan(plan).get("sent"), 10, "published")
    with rig.db.connect("echora_owner", autocommit=False) as lock:
        lock.execute("LOCK TABLE ops.letter")
        eventually(lambda: rig.db.one("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                                      " AND wait_event_type = 'Lock' AND query LIKE '%DELETE FROM ops.letter %'"),
                   10, "the worker stands in its chores")
        rig.spawn("catalogue")
        rig.catalogue.settle()
        assert rig.dlq.bus.stream("ANIME_DLQ").state.last_seq == 2
    over = rig.dlq.finished(plan)
    assert over.get("failed") == 1, f"an outcome from half an index: {over}"


@pytest.mark.chaos(fault="slow: the index of dead letters", place="postgres",
                   checks="no outcome before the index holds the letter")
def test_outcome_waits_for_the_index(rig):
    late_index(rig)


@pytest.mark.chaos(fault="guard taken away: outcomes wait for the index", place="dead-letters",
                   checks="the scenario turns red")
def test_outcome_before_the_index_is_seen(rig):
    with pytest.raises(AssertionError, match="half an index"):
        late_index(rig, "outcome-before-index")


def swept(rig, faults=""):
    """The sweeper, which was down at that moment, writes the letter that nobody wrote."""
    anime_id, payload = rig.exhausted()
    rig.worker(faults)
    eventually(lambda: rig.dlq.bus.settled("ANIME_ADVISORY", "dlq-sweeper"), 15, "advisory read")
    assert rig.dlq.bus.stream("ANIME_DLQ").state.messages == 1, "read the advisory and wrote no letter"
    rig.dlq.indexed()
    (letter,) = rig.dlq.letters()
    assert letter["class"] == "crash" and letter["consumer"] == "catalog-updated" and letter["entity"] == anime_id
    assert letter["hop"] == 2 and letter["deliveries"] == 2 and letter["id"] == rig.identity()
    assert rig.dlq.bus.messages("ANIME_DLQ")[0].data == payload
    return letter


@pytest.mark.chaos(fault="deliveries spent: nobody alive to write the dead letter", place="nats",
                   checks="one dead letter, its replay is done")
def test_swept_and_replayed(rig):
    swept(rig)
    rig.dlq.bus.hasten("ANIME_EVENTS", 2)
    rig.spawn("catalogue")
    assert rig.dlq.finished(rig.dlq.replay(filter={})["id"])["done"] == 1
    rig.catalogue.settle()
    assert rig.db.one("SELECT count(*) FROM catalog.pending_update") == 1  # of an anime that is still to come


@pytest.mark.chaos(fault="guard taken away: advisories are read", place="dead-letters", checks="the scenario turns red")
def test_unswept_is_seen(rig):
    with pytest.raises(AssertionError, match="wrote no letter"):
        swept(rig, "advisory-ignored")


def both_write(rig, faults=""):
    """The worker had written its letter before it died: the sweeper's is the same one."""
    anime_id, payload = rig.exhausted()
    rig.dlq.as_user("deadletters").publish("anime.dlq.catalog-updated", payload, headers={
        "Nats-Msg-Id": rig.identity(), "Echora-Dlq-Stream": "ANIME_EVENTS", "Echora-Dlq-Seq": "1",
        "Echora-Dlq-Consumer": "catalog-updated", "Echora-Dlq-Subject": "anime.updated"})
    rig.worker(faults)
    eventually(lambda: rig.dlq.bus.settled("ANIME_ADVISORY", "dlq-sweeper"), 15, "advisory read")
    assert len(rig.dlq.bus.messages("ANIME_DLQ")) == 1, "two letters for one failure"


@pytest.mark.chaos(fault="deliveries spent: worker and sweeper both write the letter", place="dead-letters",
                   checks="one dead letter")
def test_one_letter_whoever_is_first(rig):
    both_write(rig)


@pytest.mark.chaos(fault="guard taken away: one identity for both writers", place="dead-letters",
                   checks="the scenario turns red")
def test_another_identity_is_seen(rig):
    with pytest.raises(AssertionError, match="two letters"):
        both_write(rig, "sweeper-other-identity")


@pytest.mark.chaos(fault="stream missing or full: event or stream of an advisory are gone", place="nats",
                   checks="the sweeper goes on")
@pytest.mark.parametrize("gone", ["event", "stream"])
def test_what_is_gone_holds_the_sweeper_up_no_longer(rig, gone):
    rig.exhausted()
    if gone == "event":
        rig.dlq.bus.purge("ANIME_EVENTS")
    else:
        rig.dlq.bus.wait(rig.dlq.bus.js.delete_stream("ANIME_EVENTS"))
    rig.worker()
    eventually(lambda: rig.dlq.bus.settled("ANIME_ADVISORY", "dlq-sweeper"), 20, "advisory read")
    assert rig.dlq.bus.messages("ANIME_DLQ") == []
