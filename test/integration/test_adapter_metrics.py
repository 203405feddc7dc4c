"""What the alerts of webhooks and risky updates watch."""
import contextlib
import datetime
import json

import pytest
from harness.adapter import PATHS
from harness.process import eventually
from harness.reviews import Reviews

DLQ = PATHS["dlq"]


def oldest(worker, route):
    return worker.metric("echora_webhook_oldest_timestamp_seconds", route=route)


def stored_at(bus, stream, sequence):
    answer = bus.request(f"$JS.API.STREAM.MSG.GET.{stream}", json.dumps({"seq": sequence}).encode())
    return datetime.datetime.fromisoformat(json.loads(answer.data)["message"]["time"]).timestamp()


@contextlib.contextmanager
def refused(db, table, state):
    """PostgreSQL takes no row of the table."""
    db.do(f"CREATE FUNCTION public.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
          f"RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
    db.do(f"CREATE TRIGGER no BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION public.no()")
    yield
    db.do(f"DROP TRIGGER no ON {table}")


def test_the_oldest_that_waits(adapter, receiver):
    """Of each route with a destination: since when, wherever it stands between stream and acknowledgement."""
    receiver.answer = lambda call: 503 if call.path == DLQ else 204
    first = adapter.dead_letter()
    worker = adapter.start("", dlq_url=receiver.url + DLQ, risk_url=receiver.url + PATHS["risk"], retry_longest="5s")
    adapter.risky()
    adapter.settled("risk")
    stored = stored_at(adapter.bus, "ANIME_DLQ", 1)
    eventually(lambda: abs(oldest(worker, "dlq") - stored) < 0.01, 30, "the first one")
    eventually(lambda: oldest(worker, "risk") == 0, 30, "none waits on the other route")
    assert 'oldest_timestamp_seconds{route="risk"} 0' in worker.http("/metrics")[1]
    assert "oldest_timestamp_seconds{route=\"review\"}" not in worker.http("/metrics")[1], "it has no destination"
    receiver.answer = lambda call: 204 if call.id == first else 503
    newer = adapter.dead_letter()
    later = stored_at(adapter.bus, "ANIME_DLQ", 2)
    eventually(lambda: abs(oldest(worker, "dlq") - later) < 0.01, 60, "the newer one")
    receiver.answer = lambda call: 204
    eventually(lambda: oldest(worker, "dlq") == 0, 60, "none waits")
    assert {first, newer} == set(receiver.ids(DLQ)) and adapter.parked() == []


def test_a_route_that_is_disabled(adapter, receiver, echora):
    receiver.answer = lambda call: 410 if call.path == DLQ else 204
    worker = adapter.start(receiver.url)

    def disabled(route):
        return worker.metric("echora_webhook_route_disabled", route=route)
    assert disabled("dlq") == 0
    adapter.dead_letter()
    eventually(lambda: disabled("dlq") == 1, 30, "disabled")
    assert disabled("risk") == disabled("review") == 0
    worker = worker.restart()
    eventually(lambda: disabled("dlq") == 1, 30, "still disabled")
    echora("webhook", "enable", "dlq")
    eventually(lambda: disabled("dlq") == 0, 30, "enabled")


def test_the_time_limit(adapter, receiver):
    worker = adapter.start(receiver.url, call_timeout="700ms")
    assert worker.metric("echora_webhook_time_limit_seconds", route="risk") == 0.7
    assert 'echora_webhook_seconds_bucket{route="risk",le="60"}' in worker.http("/metrics")[1]


@pytest.mark.parametrize("state", ["23514", "57014"])
def test_attempts_that_are_not_recorded(adapter, receiver, db, state):
    """Whatever PostgreSQL says: the receiver is called once, nothing is parked, and the attempt is recorded in the end."""
    worker = adapter.start(receiver.url, retry_longest="500ms")
    with refused(db, "adapter.delivery", state):
        id = adapter.dead_letter()
        eventually(lambda: worker.metric("echora_webhook_unrecorded_total", route="dlq") >= 2, 30, "told")
        assert adapter.attempts() == [] and receiver.ids() == [id]
    adapter.settled("dlq")
    assert [(r["webhook_id"], r["class"]) for r in adapter.attempts()] == [(id, "delivered")]
    assert receiver.ids() == [id] and adapter.parked() == []
    assert worker.metric("echora_webhook_unrecorded_total", route="risk") == 0
    assert worker.metric("echora_webhook_attempts_total") == worker.metric("echora_webhook_seconds_count") == 1


def test_a_failure_that_is_not_recorded_counts_once(adapter, receiver, db):
    """The route does not rest for one failure that PostgreSQL refuses again and again."""
    receiver.answer = lambda call: (503, {}, b"busy") if len(receiver.calls) < 2 else 204
    worker = adapter.start(receiver.url, breaker_after=2, retry_longest="500ms")
    with refused(db, "adapter.delivery", "57014"):
        adapter.dead_letter()
        eventually(lambda: worker.metric("echora_webhook_unrecorded_total", route="dlq") >= 4, 30, "told")
        assert worker.metric("echora_webhook_attempts_total", route="dlq") == 1
    adapter.settled("dlq")
    assert [(r["class"], r["answer"]) for r in adapter.attempts()] == [("trouble", "busy"), ("delivered", "")]
    assert worker.metric("echora_breaker_trips_total", dependency="adapter-dlq") == 0


@pytest.mark.long  # waits out pauses of chores
def test_reviews_that_can_not_be_ended(streams, db, spawn):
    worker = spawn("catalogue", argv=["--review-remind=1s", "--review-expire=2s"])
    assert worker.metric("echora_catalogue_review_expire_seconds") == 2
    assert {o: worker.metric("echora_catalogue_review_failures_total", outcome=o) for o in ("reminded", "expired")} == \
        {"reminded": 0, "expired": 0}
    reviews = Reviews(streams, db)
    with refused(db, "catalog.review_step", "P0001"):
        review, _ = reviews.park(reviews.living(), title="Wrong")
        eventually(lambda: worker.metric("echora_catalogue_review_failures_total", outcome="expired") >= 1, 40, "told")
        assert reviews.state(review) == "pending"
    eventually(lambda: reviews.state(review) == "expired", 60, "expired")
    assert worker.metric("echora_catalogue_reviews_total", outcome="expired") == 1
