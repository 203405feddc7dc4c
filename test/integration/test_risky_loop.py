"""The loop of a risky update on real workers: publisher, writer, relay, adapter, a receiver whose person decides, Qdrant."""
import threading

import pytest

from harness.adapter import PATHS
from harness.process import eventually
from harness.reviews import Refused, Reviews

RISK = PATHS["risk"]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Loop(Reviews):
    """The fleet, and a receiver that hands each call to `person` (a function of the call) before it answers."""

    def __init__(self, streams, db, qdrant, adapter, receiver):
        super().__init__(streams, db)
        self.qdrant, self.adapter, self.receiver = qdrant, adapter, receiver
        self.person_of = {}
        self.lock = threading.Lock()
        receiver.answer = self.answer
        adapter.start(receiver.url)

    def answer(self, call):
        person = self.person_of.get(call.data["anime_id"]) if call.path == RISK else None
        return person(call) if person else 202

    def calls(self, review_id):
        return [c for c in self.receiver.of(RISK) if c.data["event_id"] == review_id]

    def point(self, anime_id):
        status, reply = self.qdrant.call("GET", f"/collections/anime_database/points/{anime_id}")
        return reply["result"]["payload"] if status == 200 else {}

    def indexed(self, anime_id, title):
        eventually(lambda: self.point(anime_id).get("title") == title, 20, f"{title} in Qdrant")
        return self.point(anime_id)


@pytest.fixture
def loop(db, streams, qdrant, spawn, adapter, receiver):
    for kind in ("catalogue", "relay", "qdrant"):
        spawn(kind)
    return Loop(streams, db, qdrant, adapter, receiver)


def published(loop, anime_id, **values):
    """A risky update with a trace of its own; its review's id."""
    return loop.park(anime_id, headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}, **values)[0]


def test_what_a_person_approves_comes_into_the_index(loop, echora):
    anime_id = loop.living()
    seen = []

    def person(call):
        seen.append(loop.review(call.data["event_id"]))
        loop.approve(call.data["event_id"])
        return 202
    loop.person_of[anime_id] = person
    review = published(loop, anime_id, title="Wrong? No")
    payload = loop.indexed(anime_id, "Wrong? No")
    (call,) = loop.calls(review)
    assert call.data["anime_id"] == anime_id and call.data["risk_reason"] == ["title-changed"]
    assert [(s["state"], s["proposed"]) for s in seen] == [("pending", {"title": "Wrong? No"})]
    assert b"Wrong?" not in call.body
    # One trace from the publisher to the webhook, and to the point.
    assert call.headers["traceparent"].split("-")[1] == TRACE and payload["trace"] == TRACE
    loop.adapter.settled("risk")
    stations = {s["station"]: s for s in echora("follow", review, "--json", "--wait", "15s").json["stations"]}
    assert {s["state"] for s in stations.values()} == {"done"}
    assert stations["webhook"]["text"].endswith("202 (delivered)") and "by anna" in stations["decision"]["text"]


def test_what_a_person_rejects_does_not(loop):
    anime_id = loop.living()

    def person(call):
        loop.reject(call.data["event_id"], reason="no")
        return 202
    loop.person_of[anime_id] = person
    review = published(loop, anime_id, title="Wrong")
    eventually(lambda: loop.state(review) == "rejected", 20, "rejected")
    loop.adapter.settled("risk")
    assert len(loop.calls(review)) == 1 and loop.value(anime_id) == "Right"
    assert loop.indexed(anime_id, "Right")


def test_a_decision_whose_answer_is_lost_is_taken_once(loop):
    """The receiver acts and dies before it answers: it is called again under the same id, and decides again."""
    anime_id = loop.living()
    replies = []

    def person(call):
        replies.append(loop.approve(call.data["event_id"]))
        return 202 if len(replies) == 3 else (lambda s: None)
    loop.person_of[anime_id] = person
    review = published(loop, anime_id, title="Other")
    loop.indexed(anime_id, "Other")
    eventually(lambda: len(replies) == 3, 20, "called until it answers")
    loop.adapter.settled("risk")
    assert {c.id for c in loop.calls(review)} == {review} and len(loop.calls(review)) == 3
    assert replies[0] == replies[1] == replies[2] and replies[0]["state"] == "approved"
    assert [a.action for a in loop.audits() if a.review_id == review] == ["review-approved"]


def test_a_decision_with_a_trace_of_its_own_keeps_it(loop):
    anime_id, own = loop.living(), "0af7651916cd43dd8448eb211c80319c"
    review = published(loop, anime_id, title="Other")
    loop.ask("decide", headers={"traceparent": f"00-{own}-00f067aa0ba902b7-01"}, reviewId=review, decision="approve",
             reviewedBy="anna")
    assert loop.indexed(anime_id, "Other")["trace"] == own


def test_two_people_at_once(loop):
    """Both get the call's review at the same moment; one decides, the other is told who did."""
    anime_id = loop.living()
    outcomes, ready = [], threading.Barrier(2)

    def decide(review_id, decision, by):
        ready.wait(10)
        try:
            loop.decide(review_id, decision, by)
            outcome = "decided"
        except Refused as e:
            outcome = e.code
        with loop.lock:
            outcomes.append((outcome, by))

    def person(call):
        both = [threading.Thread(target=decide, args=(call.data["event_id"], *who))
                for who in (("approve", "anna"), ("reject", "ben"))]
        for one in both:
            one.start()
        for one in both:
            one.join()
        return 202
    loop.person_of[anime_id] = person
    review = published(loop, anime_id, title="Other")
    eventually(lambda: len(outcomes) == 2, 20, "both answered")
    assert sorted(o for o, _ in outcomes) == ["already-decided", "decided"]
    winner = next(by for o, by in outcomes if o == "decided")
    state, title = {"anna": ("approved", "Other"), "ben": ("rejected", "Right")}[winner]
    assert loop.state(review) == state
    loop.indexed(anime_id, title)
