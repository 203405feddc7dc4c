"""The dead-letter worker: its index and what it answers about dead letters."""
import json
import time

import pytest

from harness import wire
from harness.catalogue import Catalogue, anime, new_id
from harness.dead_letters import DeadLetters, Refused
from harness.process import eventually

COLUMNS = "SELECT to_jsonb(l) FROM ops.letter l ORDER BY dlq_seq"


@pytest.fixture
def dlq(streams):
    return DeadLetters(streams)


def test_a_refused_event_is_listed_and_shown(dlq, db, streams, spawn):
    spawn("catalogue")
    spawn("dead-letters")
    catalogue = Catalogue(streams, db)
    sent = catalogue.enriched("no-uuid", anime(title="Somebody's \u2603"))
    catalogue.settle()
    dlq.indexed()
    (letter,) = dlq.letters()
    assert letter["consumer"] == "catalog-enriched" and letter["code"] == "bad-uuid" and letter["class"] == "reject"
    assert letter["stream"] == "ANIME_EVENTS" and letter["streamSequence"] == "1" and letter["subject"] == "anime.enriched"
    assert letter["state"] == "open" and "parked" not in letter and letter["size"] == len(sent.SerializeToString())
    for by in ({"sequence": letter["sequence"]}, {"id": letter["id"]}):
        shown = dlq.ask("dlq.show", "viewer", **by)
        assert shown["letter"] == letter and shown["schema"] == "echora.events.v1.AnimeEnrichedEvent"
        assert shown["payload"]["anime"]["title"] == "Somebody's \u2603" and shown["payload"]["animeId"] == "no-uuid"
        assert {"name": "Nats-Msg-Id", "value": letter["id"]} in shown["headers"] and "raw" not in shown


def test_what_is_no_message_is_shown_as_bytes(dlq, db, spawn):
    spawn("dead-letters")
    dlq.write(1, payload=b"\xff\x00\xfe")
    dlq.write(2, payload=b"\xff\x00\xfe", subject="nobody.knows")
    dlq.indexed()
    for sequence in (1, 2):
        assert dlq.ask("dlq.show", sequence=sequence)["raw"] == "/wD+"
    with pytest.raises(Refused, match="no-letter"):
        dlq.ask("dlq.show", sequence=3)
    with pytest.raises(Refused, match="no-letter"):
        dlq.ask("dlq.show", id="ANIME_EVENTS:1:x:1")


def test_a_letter_as_large_as_can_be(dlq, db, spawn):
    """Its payload is read whole from the stream; an answer can't hold it, and says so."""
    spawn("dead-letters")
    dlq.write(1, payload=b"x" * (8 * 2**20 - 2**16 - 100))
    dlq.indexed()
    shown = dlq.ask("dlq.show", sequence=1)
    assert shown["omitted"] and shown["letter"]["size"] == 8 * 2**20 - 2**16 - 100


def test_filters_groups_and_pages(dlq, db, spawn):
    spawn("dead-letters")
    for n in range(1, 31):
        dlq.write(n, code=("a", "b", "c")[n % 3], entity=f"entity-{n % 5}", consumer="catalog-updated" if n % 2 else
                  "catalog-enriched", kind="crash" if n == 7 else "reject", fingerprint=f"f{n % 3}")
    dlq.write(31, parked=True, hop=3)
    dlq.indexed()

    def sequences(**filter):
        return [int(x["sequence"]) for x in dlq.letters(**filter)]
    assert sequences() == list(range(30, 0, -1))
    assert sequences(parked=True) == list(range(31, 0, -1))
    assert sequences(code="a") == [n for n in range(30, 0, -1) if n % 3 == 0]
    assert sequences(code="a", entity="entity-0") == [30, 15]
    assert sequences(consumer="catalog-enriched", fromSequence=4, toSequence=8) == [8, 6, 4]
    assert sequences(**{"class": "crash"}) == [7]
    assert sequences(fingerprint="f1", toSequence=4) == [4, 1]
    assert sequences(failedFrom="2026-01-01T01:10:00Z", failedBefore="2026-01-01T01:12:00Z") == [11, 10]
    assert sequences(state="replayed") == [] and len(sequences(state="all")) == 30

    groups = dlq.list(groupBy="fingerprint")["groups"]
    assert [(g["fingerprint"], g["letters"], g["sequence"]) for g in groups] == \
        [("f0", "10", "30"), ("f2", "10", "29"), ("f1", "10", "28")]
    assert groups[0]["code"] == "a" and groups[0]["firstFailed"] == "2026-01-01T01:03:00Z"

    for filter in ({}, {"code": "b"}, {"consumer": "catalog-updated"}, {"class": "crash"}, {"parked": True}, {"state": "all"},
                   {"fingerprint": "f2", "consumer": "catalog-enriched"}):
        counted = dlq.list(groupBy="fingerprint", filter=filter)
        assert counted == dlq.list(groupBy="fingerprint", filter={**filter, "fromSequence": 1}), filter  # counted now

    seen, cursor = [], 0
    while True:
        page = dlq.list(limit=7, cursor=cursor)
        seen += [int(x["sequence"]) for x in page.get("letters", [])]
        cursor = page.get("nextCursor")
        if not cursor:
            break
    assert seen == list(range(30, 0, -1))
    assert len(dlq.list(groupBy="fingerprint", limit=2)["groups"]) == 2

    for filter in ({"state": "no-state"}, {"fromSequence": str(2**64 - 1)}):
        with pytest.raises(Refused, match="bad-filter"):
            dlq.letters(**filter)
    with pytest.raises(Refused, match="bad-filter"):
        dlq.list(groupBy="code")


def test_index_is_made_again_from_the_stream(dlq, db, streams, spawn, echora):
    worker = spawn("dead-letters")
    for n in range(1, 41):
        dlq.write(n, code=f"c{n % 4}")
    dlq.indexed()
    plan = dlq.replay("discard", filter={"code": "c1"})
    dlq.finished(plan["id"])
    eventually(lambda: dlq.bus.settled("AUDIT", "dlq-audit"), 10, "audit read")
    before = db.all(COLUMNS)
    assert len(before) == 40
    worker.stop()
    for tables in ("ops.letter", "ops.letter, ops.letter_fate, ops.letter_stream"):
        db.do(f"TRUNCATE {tables}")
        for stream, durable in (("ANIME_DLQ", "dlq-index"), ("AUDIT", "dlq-audit")):
            dlq.bus.wait(dlq.bus.js.delete_consumer(stream, durable))
        echora("streams", "apply", user="admin")
        worker.start()
        eventually(lambda: db.all(COLUMNS) == before, 10, "the same index")
        worker.stop()


def test_another_stream_is_another_index(dlq, db, streams, spawn, echora):
    worker = spawn("dead-letters")
    dlq.write(1)
    dlq.write(2)
    dlq.indexed()
    worker.stop()
    dlq.bus.wait(dlq.bus.js.delete_stream("ANIME_DLQ"))
    echora("streams", "apply", user="admin")
    dlq.write(3)
    worker.start()
    eventually(lambda: [(x["sequence"], x["streamSequence"]) for x in dlq.letters()] == [("1", "3")], 10, "new index")


def test_letters_that_the_stream_dropped_are_forgotten(dlq, db, spawn):
    spawn("dead-letters")
    for n in range(1, 6):
        dlq.write(n)
    dlq.indexed()
    dlq.bus.wait(dlq.bus.js.purge_stream("ANIME_DLQ", seq=4))
    eventually(lambda: [x["sequence"] for x in dlq.letters()] == ["5", "4"], 10, "forgotten")


def test_any_message_can_be_indexed(dlq, db, spawn):
    """ANIME_DLQ takes what anybody with the right publishes; nothing of it stops the index."""
    spawn("dead-letters")
    bus = dlq.as_user("deadletters")
    bus.publish("anime.dlq.somebody", b"no headers at all")
    bus.publish("anime.dlq.somebody", b"x", headers={
        "Echora-Dlq-Seq": "minus one", "Echora-Dlq-Failed-At": "yesterday", "Echora-Dlq-Code": "c" * 600,
        "Echora-Dlq-Hop": "99999999999999999999", "Echora-Dlq-Reason": "caf\u00e9 \u2603"})
    dlq.write(3)
    dlq.indexed()
    letters = dlq.letters()
    assert [x["sequence"] for x in letters] == ["3", "2", "1"]
    assert letters[2]["id"] == "ANIME_DLQ:1" and len(letters[1]["code"]) == 512 and "hop" not in letters[1]


def test_without_postgresql_the_stream_answers(dlq, db, pg_server, spawn):
    worker = spawn("dead-letters")
    for n in range(1, 21):
        dlq.write(n, code=("a", "b")[n % 2], fingerprint=f"f{n % 2}")
    dlq.indexed()
    pg_server.stop(number=2)
    try:
        worker.wait_unready()
        page = dlq.list(filter={"code": "b"}, limit=4)
        assert page["source"] == "stream"
        assert [int(x["sequence"]) for x in page["letters"]] == [19, 17, 15, 13] and "state" not in page["letters"][0]
        rest = dlq.list(filter={"code": "b"}, cursor=page["nextCursor"])
        assert [int(x["sequence"]) for x in rest["letters"]] == [11, 9, 7, 5, 3, 1] and "nextCursor" not in rest
        groups = dlq.list(groupBy="fingerprint")["groups"]
        assert [(g["fingerprint"], g["letters"]) for g in groups] == [("f0", "10"), ("f1", "10")]
        assert dlq.ask("dlq.show", sequence=7)["source"] == "stream"
        assert dlq.ask("dlq.status")["source"] == "stream" and dlq.ask("dlq.status")["letters"] == "20"
        with pytest.raises(Refused, match="dependency-away|pg-connection"):
            dlq.replay(filter={})
    finally:
        pg_server.start()
    eventually(worker.is_ready, 20, "ready again")
    assert dlq.list(limit=1)["source"] == "index"


def test_answers_are_what_their_schemas_say(dlq, db, spawn):
    """With every member that an answer of this worker can have; the harness holds each against its schema."""
    spawn("dead-letters")
    dlq.write(1, payload=b"\xff", entity="an entity", hop=1, headers={"Echora-Replay-Id": "a plan"})
    dlq.write(2, subject="nobody.knows", parked=True)
    dlq.indexed()
    page = dlq.list(limit=1, filter={"parked": True})
    assert page["letters"] and page["nextCursor"] == "2" and page["source"] == "index"
    assert set(dlq.list(filter={"toSequence": 1})["letters"][0]) == {
        "id", "sequence", "stream", "streamSequence", "consumer", "subject", "class", "code", "reason", "fingerprint", "entity",
        "deliveries", "hop", "size", "state", "worker", "replayId", "firstSeen", "failedAt"}
    assert dlq.list(groupBy="fingerprint")["groups"]
    assert set(dlq.ask("dlq.show", sequence=1)) == {"letter", "headers", "schema", "raw", "source"}
    dry = dlq.ask("dlq.discard", filter={}, dryRun=True, rate=5, canary=True, maxFailurePercent=3, waitSeconds=7, actor="maria")
    assert dry["sample"] and set(dry["plan"]) == {"id", "action", "state", "actor", "rate", "canary", "maxFailurePercent",
                                                  "total", "waiting", "createdAt"}
    assert dlq.finished(dlq.replay("replay", filter={"fromSequence": 2, "parked": True})["id"])["failed"] == 1
    status = dlq.ask("dlq.status")
    assert len(status["plans"]) == 2 and status["letters"] == "2" and status["parked"] == "1"


def test_metrics(dlq, db, spawn):
    worker = spawn("dead-letters")
    for n in range(1, 8):
        dlq.write(n, code="ab"[n % 2])
    dlq.indexed()
    assert dlq.finished(dlq.replay("discard", filter={"toSequence": 2})["id"])["discarded"] == 2

    def letters(code):
        return worker.metric("echora_dead_letters_open", consumer="catalog-updated", code=code, **{"class": "reject"})
    eventually(lambda: (letters("a"), letters("b")) == (2, 3), 15, "open letters by code")
    assert 0 < worker.metric("echora_dead_letters_oldest_timestamp_seconds") < time.time() - 3600
    assert worker.metric("echora_dlq_replays_total", outcome="discarded") == 2
    assert worker.metric("echora_replay_plans", state="running") == 0
    for n in range(8, 68):
        dlq.write(n, code="c")
    dlq.indexed()
    dlq.replay(filter={"code": "c"}, rate=1)
    eventually(lambda: worker.metric("echora_replay_plans", state="running") == 1, 15, "a plan runs")
    eventually(lambda: worker.metric("echora_dlq_replays_without_outcome") > 0, 15, "published")
    eventually(lambda: letters("c") < 60, 15, "no longer open")


def test_protobuf_is_answered_in_kind(dlq, db, spawn):
    spawn("dead-letters")
    reply = dlq.as_user("viewer").request("dlq.status", b"", headers={"Content-Type": "application/protobuf"})
    assert reply.headers["Content-Type"] == "application/protobuf"
    assert json.loads(dlq.as_user("viewer").request("dlq.status", b"").data)["source"] == "index"


def test_the_viewer_may_look_and_no_more(dlq, db, spawn):
    spawn("dead-letters")
    dlq.write(1)
    dlq.indexed()
    assert dlq.letters() and dlq.ask("dlq.show", "viewer", sequence=1) and dlq.ask("dlq.status", "viewer")
    for subject in ("dlq.replay", "dlq.discard"):
        with pytest.raises(TimeoutError):
            dlq.ask(subject, "viewer", timeout=1, filter={})
        assert any(f'publish to "{subject}"' in e.lower() for e in dlq.as_user("viewer").errors)
    assert dlq.replay("discard", filter={})["total"] == "1"


def test_counts_are_those_of_the_index(dlq, db, spawn):
    """Whatever happens to letters, the counts that are kept beside them are what counting them gives."""
    spawn("dead-letters")
    for n in range(1, 101):
        dlq.write(n, code=f"c{n % 4}", parked=n % 10 == 0)
    dlq.indexed()
    dlq.finished(dlq.replay("discard", filter={"code": "c1"})["id"])
    dlq.bus.wait(dlq.bus.js.purge_stream("ANIME_DLQ", seq=30))
    eventually(lambda: len(dlq.list(filter={"state": "all", "parked": True}, limit=1000)["letters"]) == 71, 10, "forgotten")
    assert sorted(db.all("SELECT fingerprint, consumer, class, code, state, parked, letters FROM ops.letter_count")) == \
        sorted(db.all("SELECT fingerprint, consumer, class, code, state, parked, count(*) FROM ops.letter"
                      " GROUP BY 1, 2, 3, 4, 5, 6"))
    db.do("TRUNCATE ops.letter")
    assert db.all("SELECT FROM ops.letter_count") == []
