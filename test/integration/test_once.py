"""Requests with Echora-Idem: an effect once, its reply as often as it is asked for, no lower token after a higher."""
import json
import threading

import pytest

from harness.dead_letters import DeadLetters
from harness.dead_letters import Refused as NotPlanned
from harness.once import kept, key_hash, once_headers, plans
from harness.process import eventually
from harness.reviews import Refused as NotDecided
from harness.reviews import Reviews, of

ALL = {"filter": {"code": "bad-uuid"}}


@pytest.fixture
def dlq(streams, db, spawn):
    one = DeadLetters(streams)
    spawn("dead-letters")
    for n in range(1, 4):
        one.write(n)
    one.indexed()
    return one


@pytest.fixture
def reviews(streams, db, spawn):
    spawn("catalogue")
    return Reviews(streams, db)


def refusal(what, *args, **more):
    with pytest.raises((NotPlanned, NotDecided)) as caught:
        what(*args, **more)
    return getattr(caught.value, "code", None) or caught.value.args[0].split(":")[0]


@pytest.mark.parametrize("subject", ["dlq.replay", "dlq.discard"])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_plan_is_made_once(dlq, db, subject, dry_run):
    first = dlq.ask(subject, headers=once_headers("k"), dryRun=dry_run, **ALL)
    for token in (1, 1, 2, 7, 7):
        assert dlq.ask(subject, headers=once_headers("k", token), dryRun=dry_run, **ALL) == first
    assert plans(db) == 1
    assert kept(db) == {key_hash("k"): (7, 200 if dry_run else 202)}
    assert dlq.ask(subject, headers=once_headers("other"), dryRun=dry_run, **ALL)["plan"]["id"] != first["plan"]["id"]


def test_a_lower_token_is_refused(dlq, db):
    first = dlq.ask("dlq.replay", headers=once_headers("k", 3), dryRun=True, **ALL)
    assert refusal(dlq.ask, "dlq.replay", headers=once_headers("k", 2), dryRun=True, **ALL) == "stale-token"
    assert dlq.ask("dlq.replay", headers=once_headers("k", 3), dryRun=True, **ALL) == first
    dlq.ask("dlq.replay", headers=once_headers("k", 4), dryRun=True, **ALL)
    assert refusal(dlq.ask, "dlq.replay", headers=once_headers("k", 3), dryRun=True, **ALL) == "stale-token"
    assert plans(db) == 1


def test_another_request_under_the_key_is_refused(dlq, db):
    dlq.ask("dlq.replay", headers=once_headers("k"), dryRun=True, **ALL)
    for subject, body in (("dlq.replay", {"dryRun": True, "filter": {"code": "decode"}}),
                          ("dlq.replay", {"dryRun": True, "rate": 5, **ALL}), ("dlq.discard", {"dryRun": True, **ALL})):
        assert refusal(dlq.ask, subject, headers=once_headers("k", 9), **body) == "idempotency-conflict"
    assert plans(db) == 1
    assert kept(db) == {key_hash("k"): (1, 200)}, "and raises no token"


def test_spelling_does_not_count(dlq, db):
    """The same message in other JSON, and with another form of member names."""
    bus = dlq.as_user("operator")
    texts = ('{"filter": {"code": "bad-uuid"}, "dryRun": true}', ' { "dry_run":true,"filter":{"code":"bad-uuid"} } ')
    replies = [bus.request("dlq.replay", t.encode(), headers=once_headers("k")).data for t in texts]
    assert replies[0] == replies[1] and plans(db) == 1


def test_without_the_header_as_ever(dlq, db):
    """Plain `nats req`."""
    ids = {dlq.ask("dlq.replay", dryRun=True, **ALL)["plan"]["id"] for _ in range(2)}
    assert len(ids) == 2 == plans(db) and kept(db) == {}


@pytest.mark.parametrize("value", ["", ":", "ab12:1", key_hash("k"), key_hash("k") + ":", key_hash("k") + ":0",
                                   key_hash("k") + ":-1", key_hash("k") + ":1x", key_hash("k").upper() + ":1",
                                   key_hash("k") + f":{2**53}", "0" + key_hash("k") + ":1"])
def test_a_header_that_is_none(dlq, db, value):
    assert refusal(dlq.ask, "dlq.replay", headers={"Echora-Idem": value, "X-Last": "1"}, dryRun=True, **ALL) == "bad-request"
    assert plans(db) == 0


def test_refusals_are_not_kept(dlq, db):
    assert refusal(dlq.ask, "dlq.replay", headers=once_headers("k"), planId="00000000-0000-0000-0000-000000000001") == "no-plan"
    assert kept(db) == {}
    dlq.ask("dlq.replay", headers=once_headers("k"), dryRun=True, **ALL)
    assert plans(db) == 1


def at_once(calls):
    """What each call returned or raised, begun together."""
    out, barrier = [None] * len(calls), threading.Barrier(len(calls))

    def run(i):
        barrier.wait()
        try:
            out[i] = calls[i]()
        except (NotPlanned, NotDecided) as e:
            out[i] = e.code
    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def test_at_the_same_time_by_two_workers(dlq, db, streams, spawn):
    spawn("dead-letters")
    buses = [streams.bus("operator") for _ in range(8)]
    body = json.dumps({"dryRun": True, **ALL}).encode()
    for round_ in range(5):
        headers = once_headers(f"k{round_}")
        replies = at_once([lambda b=b: b.request("dlq.replay", body, headers=headers).data for b in buses])
        assert len(set(replies)) == 1 and plans(db) == round_ + 1


def test_a_decision_is_taken_once(reviews, db):
    anime_id = reviews.living()
    review, _ = reviews.park(anime_id, title="Wrong")
    first = reviews.approve(review, headers=once_headers("k"))
    revision = db.one("SELECT revision FROM catalog.anime WHERE id = %s", anime_id)
    assert reviews.approve(review, headers=once_headers("k", 2)) == first
    assert refusal(reviews.approve, review, headers=once_headers("k", 1)) == "stale-token"
    assert refusal(reviews.reject, review, headers=once_headers("k", 2)) == "idempotency-conflict"
    assert kept(db) == {key_hash("k"): (2, 200)}
    assert db.one("SELECT revision FROM catalog.anime WHERE id = %s", anime_id) == revision
    assert len(reviews.audits()) == 1
    # What was answered stays, whatever becomes of the anime.
    reviews.updated(anime_id, ["year"], of(year=2001), at=50)
    reviews.settle()
    assert reviews.approve(review, headers=once_headers("k", 2)) == first


def test_decisions_at_the_same_time(reviews, db, streams, spawn):
    spawn("catalogue")
    buses = [streams.bus("operator") for _ in range(6)]
    for round_ in range(3):
        review, _ = reviews.park(reviews.living(), title="Wrong")
        headers = once_headers(f"k{round_}")
        replies = at_once([lambda b=b: reviews.ask("decide", bus=b, headers=headers, reviewId=review, decision="approve",
                                                   reviewedBy="anna") for b in buses])
        assert all(r == replies[0] for r in replies) and replies[0]["state"] == "approved"
        assert len(reviews.audits()) == round_ + 1


def test_kept_for_30_days(dlq, db, spawn):
    for key in ("old", "new"):
        dlq.ask("dlq.replay", headers=once_headers(key), dryRun=True, **ALL)
    db.do("UPDATE ops.kept_reply SET kept_at = now() - interval '30 days 1 second' WHERE key = decode(%s, 'hex')",
          key_hash("old"))
    db.do("UPDATE ops.kept_reply SET kept_at = now() - interval '29 days 23 hours' WHERE key = decode(%s, 'hex')",
          key_hash("new"))
    spawn("dead-letters")  # it looks at its start, then every minute
    eventually(lambda: key_hash("old") not in kept(db), what="forgotten")
    assert set(kept(db)) == {key_hash("new")}


def test_a_decision_that_was_refused_is_not_kept(reviews, db):
    """The effect was refused inside its transaction: the key is free, and the same call decides once it may."""
    anime_id = reviews.living(title="Right")
    review, _ = reviews.park(anime_id, title="Wrong")

    def request(verb):
        reply = reviews.bus.request(f"catalog.anime.{verb}", json.dumps({"animeId": anime_id}).encode(),
                                    headers={"Content-Type": "application/json"})
        assert "Nats-Service-Error-Code" not in (reply.headers or {}), reply.headers
    request("delete")
    for token in (1, 2):
        assert refusal(reviews.approve, review, headers=once_headers("k", token)) == "anime-deleted"
    assert kept(db) == {} and reviews.state(review) == "pending"
    request("restore")
    assert reviews.approve(review, headers=once_headers("k", 3))["state"] == "approved"
    assert reviews.value(anime_id) == "Wrong"
