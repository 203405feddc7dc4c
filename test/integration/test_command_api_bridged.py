"""Calls of the Command API that workers answer today: risky updates, dead letters, drift repair."""
import json
import uuid

import pytest

from harness.catalogue import new_id
from harness.chain import Chain
from harness.dead_letters import DeadLetters
from harness.gateway import APPROVE, EXECUTE, READ, Responder
from harness.process import eventually
from harness.reviews import Reviews
from harness.runs import Runs


@pytest.fixture
def reviews(streams, db, spawn):
    spawn("catalogue")
    return Reviews(streams, db)


@pytest.fixture
def runs(db, streams, qdrant, spawn, echora):
    return Runs(Chain(db, streams, qdrant, spawn, echora), spawn, n=6)


@pytest.fixture
def letters(streams, db, spawn):
    spawn("dead-letters")
    one = DeadLetters(streams)
    for n in (1, 2, 3):
        one.write(n, payload=b"a payload that nobody shall see", entity=str(uuid.UUID(int=n)))
    eventually(lambda: one.list().get("source") == "index" and len(one.letters()) == 3, 20, "an index of three letters")
    return one


def test_a_risky_update(api, reviews):
    api.start()
    anime_id = reviews.living(title="Right")
    review_id, event = reviews.park(anime_id, title="Wrong")
    for name in (review_id, event.event_id):
        got = api.get(f"/updates/{name}", scope=APPROVE)
        assert got.status == 200 and got.json == {
            "anime_id": anime_id, "changed_fields": ["title"], "risk_reasons": ["title-changed"], "state": "pending",
            "current": {"title": "Right"}, "proposed": {"title": "Wrong"}}
    assert api.get(f"/updates/{review_id}", scope=READ).status == 403
    assert (unknown := api.get(f"/updates/{new_id()}")).status == 404 and unknown.code == "not_found"

    decision = {"decision": "approve", "reviewed_by": "anna", "reason": "it is so"}
    path = f"/updates/{review_id}/decision"
    first = api.post(path, decision, key="k", scope=APPROVE)
    assert first.status == 200 and first.json.keys() == {"state", "revision"} and first.json["state"] == "approved"
    assert isinstance(first.json["revision"], int) and reviews.value(anime_id) == "Wrong"
    assert api.post(path, decision, key="k").body == first.body
    assert api.post(path, decision).json == first.json  # another key: told by the catalogue
    contrary = api.post(path, {**decision, "decision": "reject"})
    assert (contrary.status, contrary.code) == (409, "already_decided") and b"anna" not in contrary.body
    assert api.get(f"/updates/{review_id}").json["state"] == "approved"
    assert reviews.db.one("SELECT count(*) FROM catalog.inbox WHERE consumer = 'catalog-review'") == 1


def test_a_decision_when_redis_has_forgotten(api, reviews, redis):
    api.start()
    review_id, _ = reviews.park(reviews.living(title="Right"), title="Wrong")
    decision = {"decision": "approve", "reviewed_by": "anna"}
    first = api.post(f"/updates/{review_id}/decision", decision, key="k")
    redis.wipe()
    again = api.post(f"/updates/{review_id}/decision", decision, key="k")
    assert again.json == first.json and "idempotent-replayed" not in again.headers
    assert reviews.db.one("SELECT count(*) FROM catalog.inbox WHERE consumer = 'catalog-review'") == 1


def test_dead_letters(api, letters):
    api.start()
    got = api.get("/dlq", scope=READ).json
    assert [row["stream_sequence"] for row in got["letters"]] == [3, 2, 1] and got["source"] == "index"
    assert got["groups"] == [] and got["next_cursor"] == 0
    page = api.get("/dlq?limit=2&consumer=catalog-updated&state=open").json
    assert len(page["letters"]) == 2
    assert len(api.get(f"/dlq?limit=2&cursor={page['next_cursor']}").json["letters"]) == 1
    assert api.get("/dlq?consumer=qdrant-anime-synced").json["letters"] == []
    assert api.get("/dlq?group_by=fingerprint").json["groups"][0]["letters"] == 3
    sequence = got["letters"][0]["sequence"]
    shown = api.get(f"/dlq/{sequence}", scope=READ)
    assert shown.json == got["letters"][0] and shown.json["code"] == "bad-uuid"
    for answer in (shown, api.get("/dlq")):
        assert b"nobody shall see" not in answer.body and b"payload" not in answer.body
    assert (api.get("/dlq/999999").status, api.get("/dlq/0").status) == (404, 422)


def test_plans(api, letters):
    api.start()
    dry = api.post("/dlq/discard", {"filter": {"consumer": "catalog-updated"}, "dry_run": True}, scope=APPROVE)
    assert dry.status == 200 and dry.json["plan"]["total"] == 3 and len(dry.json["sample"]) == 3
    assert dry.json["plan"]["actor"] == "n8n" and dry.json["plan_id"] == dry.json["plan"]["id"]
    started = api.post("/dlq/discard", {"plan_id": dry.json["plan_id"]}, key="k")
    assert (started.status, started.json) == (202, {"plan_id": dry.json["plan_id"]})
    eventually(lambda: api.get("/dlq").json["letters"] == [], 20, "all are discarded")
    assert api.post("/dlq/discard", {"plan_id": dry.json["plan_id"]}, key="k").headers["idempotent-replayed"] == "true"
    gone = api.post("/dlq/replay", {"plan_id": str(uuid.uuid4())})
    assert (gone.status, gone.code) == (404, "not_found")
    assert api.post("/dlq/replay", {"filter": {}}, scope=EXECUTE).status == 403


def test_reconciling(api, streams, db, qdrant, spawn):
    spawn("catalogue")
    spawn("qdrant")
    api.start()
    got = api.post("/operations/reconcile", {"kind": "anime"}, scope=EXECUTE)
    assert got.status == 202 and got.json["state"] == "done" and got.json["compared"] == got.json["enqueued"] == 0
    assert api.post("/operations/reconcile", {}, scope=APPROVE).status == 403


def test_reconciling_when_redis_has_forgotten(api, runs, redis):
    """The note of who did it is what holds: nothing is sent twice, and the answer is the one of before."""
    api.start()
    runs.lose(0, 1, 2)
    first = api.post("/operations/reconcile", {"repair": True}, key="k")
    assert (first.status, first.json["missing"], first.json["enqueued"]) == (202, 3, 3)
    runs.check()
    runs.lose(3)
    redis.wipe()
    again = api.post("/operations/reconcile", {"repair": True}, key="k")
    assert again.json == first.json and "idempotent-replayed" not in again.headers and runs.sent() == 3
    assert api.post("/operations/reconcile", {"repair": True}, key="other").json["missing"] == 1
    redis.wipe()
    other = api.post("/operations/reconcile", {}, key="k")
    assert (other.status, other.code) == (409, "idempotency_conflict")


def test_reconciling_goes_on_alone(api, streams):
    """Longer than anybody waits: the call was taken, and the same one again asks how it gets on, under the same key."""
    silent = Responder(streams.bus("qdrant"), "catalog.reconcile")
    api.env["ECHORA_REPLY_TIMEOUT"] = "300ms"
    api.start()
    for _ in range(2):
        got = api.post("/operations/reconcile", {"repair": True}, key="k")
        assert (got.status, got.json) == (202, {"state": "running"}) and "idempotent-replayed" not in got.headers
    keys, tokens = zip(*(message.headers["Echora-Idem"].split(":") for message in silent.asked), strict=True)
    assert len(set(keys)) == 1 and len(tokens) == 2 and int(tokens[0]) < int(tokens[1])
    silent.close()


def test_reconciling_that_takes_long(api, runs):
    """Asked with one key until it is done: one run."""
    api.env["ECHORA_REPLY_TIMEOUT"] = "300ms"
    api.start()
    runs.lose()

    def ask():
        return api.post("/operations/reconcile", {"repair": True, "rate": 3}, key="k").json
    assert ask() == {"state": "running"}
    told = eventually(lambda: (said := ask())["state"] == "done" and said, 60, "done")
    assert (told["compared"], told["enqueued"]) == (6, 6) and runs.sent() == 6
    again = api.post("/operations/reconcile", {"repair": True, "rate": 3}, key="k")
    assert again.json == told and again.headers["idempotent-replayed"] == "true"


def test_what_is_unknown_to_a_responder(api, reviews, streams):
    """Words for people stay in the log; codes of ours that callers have no word for become a violation's."""
    api.start()
    bus = streams.bus("operator")
    raw = bus.request("catalog.review.decide", json.dumps({"reviewId": "x"}).encode(),
                      headers={"Content-Type": "application/json"})
    assert raw.headers["Nats-Service-Error-Code"] == "bad-uuid"
    answer = api.post(f"/updates/{new_id()}/decision", {"decision": "approve", "reviewed_by": "anna"})
    assert answer.status == 404 and "anna" not in answer.body.decode()
