"""Replays: what dead letters become, and what must not happen when they do."""
import pytest

from harness.catalogue import Catalogue, anime, event, new_id
from harness.dead_letters import DeadLetters, Refused
from harness.process import eventually, steady

SMALL = {"ECHORA_DECODE_MAX": "64KiB"}  # a writer that refuses large events, until it is mended
LONG_TEXT = "A long story. " * 10000


@pytest.fixture
def dlq(streams):
    return DeadLetters(streams)


@pytest.fixture
def catalogue(streams, db):
    return Catalogue(streams, db)


def refused_update(catalogue, spawn, year=2010, at=10):
    """An anime whose update the writer could not take; returns its id. The writer has ended."""
    worker = spawn("catalogue", env=SMALL)
    anime_id = new_id()
    catalogue.enriched(anime_id, anime(title="first"))
    catalogue.updated(anime_id, ["year", "synopsis"], anime(year=year, synopsis=LONG_TEXT), at=at)
    catalogue.settle()
    worker.stop()
    return anime_id


def stored(db, anime_id):
    return db.all("SELECT year, synopsis FROM catalog.anime WHERE id = %s", anime_id)[0]


def test_a_mended_writer_takes_it(dlq, db, spawn, catalogue):
    spawn("dead-letters")
    anime_id = refused_update(catalogue, spawn)
    assert catalogue.dead_letters() == [("catalog-updated", "too-large")]
    spawn("catalogue")
    dlq.indexed()
    dry = dlq.ask("dlq.replay", filter={"code": "too-large"}, dryRun=True)
    plan = dry["plan"]
    assert plan["state"] == "planned" and plan["total"] == "1" and plan["waiting"] == "1"
    assert [x["id"] for x in dry["sample"]] == [x["id"] for x in dlq.letters()]
    steady(lambda: not dlq.replayed(), 1.5, "a dry run publishes nothing")
    dlq.replay(planId=plan["id"], actor="maria")
    over = dlq.finished(plan["id"])
    assert over["done"] == 1 and "failed" not in over
    assert stored(db, anime_id) == (2010, LONG_TEXT)
    ((headers, payload),) = dlq.replayed()
    (letter,) = dlq.letters(state="replayed")
    assert headers["Nats-Msg-Id"] == letter["id"] + ":r1" and headers["Echora-Replay-For"] == "catalog-updated"
    assert headers["Echora-Replay-Id"] == plan["id"] and headers["Echora-Replay-Hop"] == "1"
    assert not [name for name in headers if name.startswith("Echora-Dlq-")]
    assert letter["attempts"] == 1 and dlq.letters() == []
    told = dlq.audit(plan["id"])
    assert sorted(r["action"] for r in told) == ["end", "letters", "letters", "plan", "run"]
    assert told[0]["filter"] == {"code": "too-large"} and told[1]["actor"] == "maria"
    outcomes = [(i["id"], i["outcome"]) for r in told for i in r.get("items", [])]
    assert outcomes == [(letter["id"], "sent"), (letter["id"], "done")]


def test_replayed_after_newer_updates_the_newest_values_stand(dlq, db, spawn, catalogue):
    spawn("dead-letters")
    anime_id = refused_update(catalogue, spawn, at=10)
    spawn("catalogue")
    catalogue.updated(anime_id, ["year"], anime(year=2020), at=20)
    catalogue.settle()
    dlq.indexed()
    assert dlq.finished(dlq.replay(filter={})["id"])["done"] == 1
    assert stored(db, anime_id) == (2020, LONG_TEXT)


def test_replaying_twice_is_replaying_once(dlq, db, spawn, catalogue):
    spawn("dead-letters")
    refused_update(catalogue, spawn)
    spawn("catalogue")
    dlq.indexed()
    first, second = (dlq.replay(filter={}, dryRun=True)["id"] for _ in range(2))
    assert dlq.finished(dlq.replay(planId=first)["id"])["done"] == 1
    assert dlq.finished(dlq.replay(planId=second)["id"])["skipped"] == 1
    assert "total" not in dlq.replay(filter={})
    assert len(dlq.replayed()) == 1
    with pytest.raises(Refused, match="no-plan"):
        dlq.replay(planId=first)
    # Said expressly, it is a replay of its own, with an id of its own; the writer has done the event before.
    again = dlq.replay(filter={"state": "replayed"})
    assert dlq.finished(again["id"])["done"] == 1
    assert [h["Nats-Msg-Id"].rsplit(":", 1)[1] for h, _ in dlq.replayed()] == ["r1", "r2"]


def test_a_reused_message_id_is_seen(dlq, db, spawn, catalogue):
    """Somebody's message with the id of our replay would swallow it without a word."""
    spawn("dead-letters")
    refused_update(catalogue, spawn)
    dlq.indexed()
    (letter,) = dlq.letters()
    catalogue.bus.publish("anime.updated", b"not ours", headers={"Nats-Msg-Id": letter["id"] + ":r1"})
    spawn("catalogue")
    over = dlq.finished(dlq.replay(filter={"code": "too-large"})["id"])
    assert over["failed"] == 1 and not dlq.replayed()
    (letter,) = dlq.letters(code="too-large")  # still open, and the next replay has another id
    over = dlq.finished(dlq.replay(filter={"code": "too-large"})["id"])
    assert over["done"] == 1 and len(dlq.replayed()) == 1


def test_other_consumers_do_nothing(dlq, db, spawn, catalogue, streams):
    """Another consumer of the subject, with a handler that would note what it saw."""
    spawn("dead-letters")
    spawn("catalogue")
    anime_id = new_id()
    catalogue.enriched(anime_id, anime(title="first"))
    catalogue.settle()
    good = event("AnimeUpdatedEvent", 10, anime_id=anime_id, changed_fields=["year"], anime=anime(year=2011))
    dlq.write(7, consumer="somebody-else", payload=good.SerializeToString())
    dlq.indexed()
    dlq.replay(filter={"consumer": "somebody-else"})
    eventually(lambda: len(dlq.replayed()) == 1, 10, "published")
    catalogue.settle()
    assert stored(db, anime_id) == (None, None)


def test_a_replay_that_fails_comes_back_and_is_parked_at_last(dlq, db, spawn, catalogue):
    spawn("dead-letters")
    spawn("catalogue")
    catalogue.enriched("no-uuid", anime())
    catalogue.settle()
    for hop in range(3):
        dlq.indexed()
        (letter,) = dlq.letters()
        assert letter.get("hop", 0) == hop and letter["consumer"] == "catalog-enriched"
        over = dlq.finished(dlq.replay(filter={})["id"])
        assert over["failed"] == 1
    dlq.indexed()
    assert dlq.letters() == []
    (parked,) = dlq.letters(parked=True)
    assert parked["hop"] == 3 and parked["parked"]
    assert dlq.bus.message("ANIME_DLQ", int(parked["sequence"])).subject == "anime.dlq.parked.catalog-enriched"
    assert "total" not in dlq.replay(filter={})


def test_what_can_t_be_replayed_says_so(dlq, db, spawn):
    spawn("dead-letters")
    dlq.write(1, subject="nobody.knows")
    dlq.write(2, reason="[without original headers and payload: the whole dead letter is refused] too large")
    dlq.write(3)
    dlq.indexed()
    plan = dlq.replay(filter={}, dryRun=True)["id"]
    deleter = dlq.as_user("deadletters")
    deleter.wait(deleter.js.delete_msg("ANIME_DLQ", 3))
    over = dlq.finished(dlq.replay(planId=plan)["id"])
    assert over["failed"] == 2 and over["gone"] == 1 and not dlq.replayed()
    codes = {i["sequence"]: i.get("code") for r in dlq.audit(plan) for i in r.get("items", [])}
    assert codes == {"1": "unknown-subject", "2": "incomplete", "3": None}


def test_discarded_letters_are_no_longer_offered(dlq, db, spawn):
    spawn("dead-letters")
    for n in range(1, 301):
        dlq.write(n, code="ab"[n % 2])
    dlq.indexed()
    plan = dlq.replay("discard", filter={"code": "a"}, actor="maria")
    over = dlq.finished(plan["id"])
    assert over["discarded"] == 150 and {x["code"] for x in dlq.letters()} == {"b"}
    assert len(dlq.letters(state="discarded")) == 100  # a page
    status = dlq.ask("dlq.status")
    assert status["open"] == status["discarded"] == "150" and status["letters"] == "300"
    told = dlq.audit(plan["id"])
    assert sum(len(r.get("items", [])) for r in told) == 150 and told[0]["actor"] == "maria"
    with pytest.raises(Refused, match="no-plan"):
        dlq.replay(planId=plan["id"])


def test_a_plan_can_be_stopped_and_goes_on(dlq, db, spawn):
    worker = spawn("dead-letters")
    for n in range(1, 41):
        dlq.write(n, consumer="nobody")
    dlq.indexed()
    plan = dlq.replay(filter={}, rate=2)["id"]
    eventually(lambda: dlq.replayed(), 10, "begun")
    dlq.replay(planId=plan, stop=True, actor="maria")
    n = len(dlq.replayed())
    assert n < 40 and dlq.plan(plan)["reason"] == "stopped by maria"
    steady(lambda: len(dlq.replayed()) == n, 1.5, "stopped")
    worker.restart()
    dlq.replay(planId=plan, rate=1000)
    eventually(lambda: dlq.plan(plan)["state"] == "done", 10, "done")
    ids = [h["Nats-Msg-Id"] for h, _ in dlq.replayed()]
    assert len(ids) == len(set(ids)) == 40


def test_requests_that_make_no_sense(dlq, db, spawn):
    spawn("dead-letters")
    for body, code in (({}, "bad-request"), ({"filter": {}, "planId": new_id()}, "bad-request"),
                       ({"planId": "x"}, "bad-uuid"), ({"planId": new_id()}, "no-plan"),
                       ({"filter": {}, "rate": -1}, "bad-request"), ({"filter": {"state": "x"}}, "bad-filter"),
                       ({"filter": {}, "stop": True}, "bad-request"), ({"filter": {"colour": "red"}}, "json-unknown-field")):
        with pytest.raises(Refused, match=code):
            dlq.replay(**body)


@pytest.fixture
def chain(db, streams, spawn, catalogue):
    """An anime that the relay has published, and nobody yet reads what it publishes."""
    spawn("catalogue")
    relay = spawn("relay")
    anime_id = new_id()
    catalogue.enriched(anime_id, anime(title="first"))
    eventually(lambda: catalogue.bus.stream("ANIME_SYNC").state.messages == 1, 10, "relayed")
    return anime_id, relay


def test_letters_of_the_relay_s_stream_go_through_the_outbox(dlq, db, qdrant, spawn, chain):
    """Nobody but the relay publishes there: fresh rows of the outbox, for the one consumer that failed."""
    anime_id, relay = chain
    spawn("dead-letters")
    spawn("qdrant")
    dlq.write(1, stream="ANIME_SYNC", subject="anime.created", consumer="qdrant-anime-created", entity=anime_id,
              code="http-413", payload=b"what it says does not matter")
    dlq.write(2, stream="ANIME_SYNC", subject="anime.created", consumer="qdrant-anime-created", entity=new_id())
    dlq.indexed()
    plan = dlq.replay(filter={}, canary=True, maxFailurePercent=50)
    over = dlq.finished(plan["id"])
    assert over["done"] == 1 and over["failed"] == 1, over
    ((headers, _),) = dlq.replayed("ANIME_SYNC")
    assert headers["Echora-Replay-For"] == "qdrant-anime-created" and headers["Echora-Replay-Id"] == plan["id"]
    assert headers["Echora-Replay-Hop"] == "1" and not dlq.replayed()
    assert [i.get("code") for r in dlq.audit(plan["id"]) for i in r.get("items", []) if i["outcome"] == "failed"] == \
        ["not-in-catalogue"]


def test_what_the_relay_has_not_published_has_no_outcome(dlq, db, qdrant, spawn, chain):
    anime_id, relay = chain
    spawn("dead-letters")
    spawn("qdrant")
    relay.stop()
    dlq.write(1, stream="ANIME_SYNC", subject="anime.synced", consumer="qdrant-anime-synced", entity=anime_id)
    dlq.indexed()
    plan = dlq.replay(filter={})["id"]
    eventually(lambda: dlq.plan(plan).get("enqueued"), 10, "enqueued")
    steady(lambda: dlq.plan(plan).get("enqueued") == 1, 1.5, "no outcome")
    relay.start()
    eventually(lambda: dlq.plan(plan).get("done") == 1, 20, "done")


def test_without_the_catalogue_its_plans_wait_and_others_go_on(dlq, db, spawn):
    worker = spawn("dead-letters")
    dlq.write(1, stream="ANIME_SYNC", subject="anime.synced", consumer="qdrant-anime-synced", entity=new_id())
    dlq.write(2)
    dlq.indexed()
    waits = dlq.replay(filter={"consumer": "qdrant-anime-synced"})["id"]
    worker.wait_log("a plan waits")
    goes_on = dlq.replay(filter={"consumer": "catalog-updated"})["id"]
    eventually(lambda: dlq.plan(goes_on)["state"] == "done", 15, "published")
    assert dlq.plan(waits)["state"] == "running" and dlq.plan(waits)["waiting"] == 1 and worker.is_ready()
    spawn("catalogue")
    assert dlq.finished(waits)["failed"] == 1  # nobody has heard of this entity


def test_a_stream_that_takes_nothing_stops_the_plan(dlq, db, spawn):
    """It is for a person to make room; then the plan goes on where it was."""
    spawn("dead-letters")
    for n in range(1, 4):
        dlq.write(n)
    dlq.indexed()
    config = dlq.bus.stream("ANIME_EVENTS").config
    config.max_msgs = 1
    dlq.bus.wait(dlq.bus.js.update_stream(config))
    plan = dlq.replay(filter={})["id"]
    eventually(lambda: dlq.plan(plan)["state"] == "stopped", 15, "stopped")
    assert "nats-10077" in dlq.plan(plan)["reason"] or "maximum messages" in dlq.plan(plan)["reason"]
    config.max_msgs = -1
    dlq.bus.wait(dlq.bus.js.update_stream(config))
    dlq.replay(planId=plan)
    eventually(lambda: dlq.plan(plan)["state"] == "done", 15, "published")
    ids = [h["Nats-Msg-Id"] for h, _ in dlq.replayed()]
    assert len(ids) == len(set(ids)) == 3


def test_what_is_older_than_any_letter_is_forgotten(dlq, db, spawn):
    worker = spawn("dead-letters")
    dlq.write(1)
    dlq.indexed()
    old, new = (dlq.replay("discard", filter={"state": "all"}, dryRun=True)["id"] for _ in range(2))
    db.do(f"UPDATE ops.replay_plan SET created_at = now() - interval '32 days' WHERE id = '{old}'")
    worker.restart()  # looks at once, then every minute
    eventually(lambda: [str(p) for p, in db.all("SELECT id FROM ops.replay_plan")] == [new], 10, "forgotten")
    assert [str(p) for p, in db.all("SELECT plan FROM ops.replay_item")] == [new]
