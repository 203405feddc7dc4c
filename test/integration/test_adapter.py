"""The event adapter: what it sends, and what it does with each answer."""
import signal
import time
import uuid

import pytest

from harness.adapter import PATHS
from harness.process import eventually, lasted_less
from harness.receiver import new_secret

DLQ, RISK, REVIEW = PATHS["dlq"], PATHS["risk"], PATHS["review"]


def test_a_dead_letter_is_told(adapter, receiver):
    adapter.start(receiver.url)
    entity, event = str(uuid.uuid4()), str(uuid.uuid4())
    id = adapter.dead_letter(entity=entity, code="pg-23503", fingerprint="0123456789abcdef", reason="never told",
                             headers={"Echora-Event-Id": event, "Echora-Dlq-Deliveries": "5"})
    adapter.settled("dlq")
    (call,) = receiver.of(DLQ)
    assert call.id == id
    assert call.json == {
        "type": "dead-letter.created", "timestamp": "2026-01-01T01:01:00Z", "id": id,
        "data": {"event_id": event, "subject": "anime.updated", "error_type": "pg-23503", "entity_id": entity,
                 "source_service": "catalog-updated", "attempt_count": 5, "dlq_seq": 1,
                 "fingerprint": "0123456789abcdef"}}
    (row,) = adapter.attempts()
    assert (row["webhook_id"], row["route"], row["attempt"], row["status"], row["class"], row["next_try_at"],
            row["stream"], row["stream_seq"], row["trigger"]) == \
        (id, "dlq", 1, 204, "delivered", None, "ANIME_DLQ", 1, "event")


def test_a_risky_update_and_a_review_are_told(adapter, receiver):
    adapter.start(receiver.url)
    adapter.risky(review=False)  # what publishers say is none of its business
    anime = str(uuid.uuid4())
    risky = adapter.risky(("title", "episode_count"), ("title-changed", "my own words", "episode-count-lowered"),
                          anime_id=anime)
    review = adapter.review(run_id=12, entry_count=34)
    adapter.settled("risk", "review")
    (call,) = receiver.of(RISK)
    assert (call.id, call.json["type"]) == (risky, "update.review-requested")
    assert call.data == {"event_id": risky, "anime_id": anime, "changed_fields": ["title", "episode_count"],
                         "risk_reason": ["title-changed", "episode-count-lowered", "flagged"]}
    (call,) = receiver.of(REVIEW)
    assert (call.id, call.json["type"]) == (review, "ingestion.review-ready")
    assert call.data == {"run_id": 12, "entry_count": 34, "review_ref": "artifact:sha256/" + "ab" * 32}


def test_a_failed_call_is_repeated_under_the_same_id(adapter, receiver):
    receiver.answer = lambda call: 503 if len(receiver.calls) < 4 else 200
    adapter.start(receiver.url)
    id = adapter.dead_letter()
    adapter.settled("dlq")
    assert receiver.ids() == [id] * 4
    assert [(r["attempt"], r["status"], r["class"]) for r in adapter.attempts()] == \
        [(1, 503, "trouble"), (2, 503, "trouble"), (3, 503, "trouble"), (4, 200, "delivered")]
    assert adapter.parked() == []


def test_what_fails_ten_times_is_parked(adapter, receiver):
    receiver.answer = lambda call: 500
    adapter.start(receiver.url)
    id = adapter.dead_letter()
    adapter.settled("dlq", timeout=40)
    assert receiver.ids() == [id] * 10
    (letter,) = adapter.parked()
    assert (letter["Echora-Dlq-Class"], letter["Echora-Dlq-Code"], letter["Echora-Dlq-Consumer"]) == \
        ("retry-exhausted", "http-500", "adapter-dlq")
    assert adapter.attempts()[-1]["next_try_at"] is None


# Each status, and what then becomes of the event -------------------------------------------------------------------

PARKED_AT_ONCE = {400, 413, 415, 422}


def status_of(call):
    return 200 + call.data["attempt_count"] - 1000


@pytest.mark.parametrize("first", range(200, 600, 100))
def test_every_status(adapter, receiver, first):
    """Delivered, parked at once, or tried again and delivered then; nothing else, and nothing lost."""
    seen = set()

    def answer(call):
        status = status_of(call)
        again = call.id in seen
        seen.add(call.id)
        return 204 if again else (status, {"Location": f"{receiver.url}/elsewhere"}, b"some words")
    receiver.answer = answer
    statuses = [s for s in range(first, first + 100) if s != 410]
    adapter.start(receiver.url, breaker_after=1000)
    ids = {adapter.dead_letter(headers={"Echora-Dlq-Deliveries": str(1000 + s - 200)}): s for s in statuses}
    adapter.settled("dlq", timeout=60)
    tries = {id: [r["status"] for r in adapter.attempts(webhook_id=id)] for id in ids}
    for id, status in ids.items():
        if status < 300 or status in PARKED_AT_ONCE:
            assert tries[id] == [status]
        else:
            assert tries[id] == [status, 204], status
    assert receiver.of("/elsewhere") == []
    letters = adapter.parked()
    assert sorted(x["Echora-Dlq-Code"] for x in letters) == sorted(f"http-{s}" for s in PARKED_AT_ONCE if s in statuses)
    assert {x["Echora-Dlq-Class"] for x in letters} <= {"reject"}
