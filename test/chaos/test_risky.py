"""Decisions on risky updates: each guard taken away is missed, kills and lost replies change nothing, and a model of the
rules, in a few lines, agrees with the catalogue after every step of a random history."""
import json
import random
import signal
import threading
import uuid

import pytest
from chaos.test_replies import COMMIT, COMMITTED, nats_by, pg_by
from harness.catalogue import T0, anime, event, new_id
from harness.process import eventually
from harness.reviews import Refused, Reviews, of
from harness.settings import LONG

SEED = 11


@pytest.fixture
def start(streams, db, spawn):
    """A writer with its faults, and people who ask it."""
    def begin(fault="", argv=(), **env):
        spawn("catalogue", env={"PLANTED_FAULTS": fault, **env}, argv=argv)
        return Reviews(streams, db)
    return begin


# --- guards --------------------------------------------------------------------------------------------

def contrary(start, spawn, fault=""):
    r = start(fault)
    anime_id = r.living()
    review, _ = r.park(anime_id, title="Wrong")
    r.approve(review)
    assert r.refused(review, "reject", by="bert")[0] == "already-decided"
    assert (r.state(review), r.value(anime_id)) == ("approved", "Wrong") and len(r.audits()) == 1


def at_once(start, spawn, fault=""):
    r = start(fault)
    others = [Reviews(r.streams, r.db), Reviews(r.streams, r.db)]
    for _ in range(5):
        review, _ = r.park(r.living(), title="Wrong")
        told = {}

        def decide(person, decision, review=review, told=told):
            try:
                told[decision] = person.decide(review, decision, by=decision)["state"]
            except Refused as e:
                told[decision] = e.code
        threads = [threading.Thread(target=decide, args=a) for a in zip(others, ("approve", "reject"))]
        [t.start() for t in threads]
        [t.join() for t in threads]
        assert sorted(told.values()) == sorted(["already-decided", r.state(review)])
    assert len(r.audits()) == 5


def old_when_parked(start, spawn, fault=""):
    r, anime_id = start(fault), new_id()
    r.enriched(anime_id, anime(month="MAY"), at=50)
    r.settle()
    review, _ = r.park(anime_id, at=10, headers={"Echora-Risk": "late"}, month="JUNE")
    assert r.approve(review)["state"] == "superseded" and r.value(anime_id, "month") == "MAY"


def replayed(start, spawn, fault=""):
    r = start(fault)
    review, e = r.park(r.living(), title="Wrong")
    r.reject(review)
    e.timestamp.seconds += 3 * 86400  # the inbox knows the id of another day
    r.publish("anime.updated", e)
    r.settle()
    assert (r.state(review), r.copies(review)) == ("rejected", 1)


def overtaken(start, spawn, fault=""):
    r = start(fault)
    anime_id = r.living()
    review, _ = r.park(anime_id, title="Wrong")
    r.enriched(anime_id, anime(title="Newer"), at=20)
    r.settle()
    assert r.state(review) == "superseded"


def gone(start, spawn, fault=""):
    r = start(fault)
    anime_id = r.living()
    review, _ = r.park(anime_id, title="Wrong")
    r.bus.request("catalog.anime.delete", json.dumps({"animeId": anime_id}).encode(),
                  headers={"Content-Type": "application/json"})
    assert r.refused(review, "approve")[0] == "anime-deleted"
    assert (r.value(anime_id), r.state(review)) == ("Right", "pending")


def sources(start, spawn, fault=""):
    r = start(fault)
    r.park(r.living(), headers={"Echora-Risk": "odd"}, sources=["https://myanimelist.net/anime/77"])
    assert r.db.one("SELECT count(*) FROM catalog.anime_xref") == 0


def copied(start, spawn, fault=""):
    """The copy comes back to the writer's own consumer."""
    r = start(fault)
    spawn("relay")
    r.park(r.living(), title="Wrong")
    eventually(lambda: r.bus.consumer("ANIME_EVENTS", "catalog-updated").ack_floor.stream_seq >= 3, 20, "copy settled")
    assert r.db.one("SELECT count(*) FROM catalog.update_review") == 1


def reminded(start, spawn, fault=""):
    r = start(fault, argv=["--review-remind=1s"])
    review, _ = r.park(r.living(), title="Wrong")
    reminder = eventually(lambda: r.db.one("SELECT reminder_id::text FROM catalog.update_review"), 20, "reminded")
    assert reminder != review and (r.copies(review), r.copies(reminder)) == (1, 1)


def audited(start, spawn, fault=""):
    r = start(fault)
    review, _ = r.park(r.living(), title="Wrong")
    r.reject(review)
    assert [a.action for a in r.audits()] == ["review-rejected"]


SCENARIOS = {
    contrary: ("decision-twice",), at_once: ("decision-twice",), old_when_parked: ("approval-unordered,supersede-forgotten",),
    replayed: ("copy-twice",), overtaken: ("supersede-forgotten",), gone: ("approval-of-the-gone",),
    sources: ("parked-sources-known",), copied: ("copy-handled",), reminded: ("reminder-unnamed",),
    audited: ("outbox-omitted",),
}


@pytest.mark.chaos(fault="none: every guard in place", place="catalogue", checks="decisions, copies, audit")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_with_every_guard(start, spawn, scenario):
    scenario(start, spawn)


@pytest.mark.chaos(fault="guard taken away: of risky updates", place="catalogue", checks="decisions, copies, audit")
@pytest.mark.parametrize("scenario, fault", [(s, f) for s, faults in SCENARIOS.items() for f in faults],
                         ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_a_guard_taken_away_is_missed(start, spawn, scenario, fault):
    with pytest.raises(AssertionError, match="assert|not refused"):
        scenario(start, spawn, fault)


# --- kills and lost replies ----------------------------------------------------------------------------

def decided_once(r, review, anime_id, decision, reply):
    assert r.approve(review, decisionId=decision) == reply and "alreadyDecided" not in reply
    assert (r.state(review), r.value(anime_id)) == ("approved", "Wrong")
    assert [a.event_id for a in r.audits()] == [decision]
    assert [s for s, _ in r.steps(review)] == ["parked", "approved"]
    assert r.db.one("SELECT count(*) FROM catalog.inbox WHERE event_id = %s", decision) == 1
    assert r.db.one("SELECT count(*) FROM catalog.outbox WHERE subject = 'anime.synced'") == 1


@pytest.mark.chaos(fault="kill -9: before the commit, behind it, before the reply", place="catalogue",
                   checks="asked again the decision is there once, with the same answer")
@pytest.mark.parametrize("point", ["before-commit", "after-commit", "before-reply"])
def test_killed_while_it_decides(streams, db, spawn, point):
    first = spawn("catalogue")
    r = Reviews(streams, db)
    anime_id, decision = r.living(), new_id()
    review, _ = r.park(anime_id, title="Wrong")
    first.stop()
    victim = spawn("catalogue", env={"PLANTED_KILL": f"{point}:1"})
    with pytest.raises(Exception, match="(?i)timeout|^$"):
        r.approve(review, decisionId=decision, timeout=2)
    eventually(lambda: not victim.alive(), 20, "dead")
    assert victim.child.returncode == -signal.SIGKILL
    assert r.state(review) == ("pending" if point == "before-commit" else "approved")
    spawn("catalogue")
    decided_once(r, review, anime_id, decision, r.approve(review, decisionId=decision))


@pytest.mark.chaos(fault="reply lost: of a decision's COMMIT, or COMMIT does not arrive", place="postgres",
                   checks="asked again the decision is there once, with the same answer")
@pytest.mark.parametrize("action", ["lose-answer", "cut"])
def test_lost_commit_of_a_decision(start, db, pg_server, proxy, spawn, action):
    by = proxy(pg_server)
    r = start(**pg_by(db, by))
    anime_id, decision = r.living(), new_id()
    review, _ = r.park(anime_id, title="Wrong")
    rule = by.plan(action, COMMIT, after=uuid.UUID(decision).bytes, until=COMMITTED)
    with pytest.raises(Refused):
        r.approve(review, decisionId=decision)
    rule.wait()

    def again():
        try:
            return r.approve(review, decisionId=decision)
        except Refused:  # it connects again
            return None
    decided_once(r, review, anime_id, decision, eventually(again, 30, "decided"))


@pytest.mark.chaos(fault="reply lost: to the person who decides", place="nats",
                   checks="asked again the decision is there once, with the same answer")
def test_lost_reply_to_a_person(start, nats_server, proxy):
    by = proxy(nats_server)
    r = start(**nats_by(by))
    anime_id, decision = r.living(), new_id()
    review, _ = r.park(anime_id, title="Wrong")
    rule = by.plan("cut", b"HPUB _INBOX_operator")
    with pytest.raises(Exception, match="(?i)timeout|^$"):
        r.approve(review, decisionId=decision, timeout=1)
    rule.wait()

    def again():
        try:
            return r.approve(review, decisionId=decision, timeout=2)
        except Exception:  # nobody answers yet
            return None
    decided_once(r, review, anime_id, decision, eventually(again, 30, "answered"))


# --- a model -------------------------------------------------------------------------------------------

FIELDS = {"title": lambda n: f"T{n}", "month": lambda n: f"M{n}", "year": lambda n: 1950 + n % 100}


class Model:
    """One anime: each field's value with the clock that set it; each review's state with its open fields."""

    def __init__(self):
        self.values, self.reviews = {}, {}

    def apply(self, clock, fields):
        for name, value in fields.items():
            if name not in self.values or self.values[name][0] < clock:
                self.values[name] = (clock, value)
        self.supersede()

    def supersede(self):
        for review in self.reviews.values():
            if review["state"] == "pending":
                review["late"] |= {n for n in review["fields"] if self.values[n][0] > review["clock"]}
                if review["late"] == set(review["fields"]):
                    review["state"] = "superseded"

    def park(self, review, clock, fields):
        self.reviews[review] = {"state": "pending", "clock": clock, "fields": fields, "late": set()}
        self.supersede()

    def decide(self, review, approve):
        r = self.reviews[review]
        if r["state"] != "pending":
            return
        r["state"] = "approved" if approve else "rejected"
        if approve:
            self.apply(r["clock"], {n: v for n, v in r["fields"].items() if n not in r["late"]})


def history(start, seed, steps, fault=""):
    """Random updates, safe and flagged, at random times; random decisions; after each step everything is compared."""
    r, rng, model, anime_id = start(fault), random.Random(seed), Model(), new_id()
    start(fault)  # a second writer
    first = event("AnimeEnrichedEvent", 0, anime_id=anime_id, anime=anime(title="T", month="M", year=1949))
    r.publish("anime.enriched", first)
    r.settle()
    model.apply((T0 * 1_000_000, first.event_id), {"title": "T", "month": "M", "year": 1949})
    for step in range(steps):
        at, names = rng.randrange(1, 1000), rng.sample(sorted(FIELDS), rng.randint(1, 3))
        fields, clock = {n: FIELDS[n](rng.randrange(10_000)) for n in names}, lambda e, at=at: ((T0 + at) * 1_000_000, e.event_id)
        what = rng.choice(("safe", "parked", "parked", "decided"))
        if what == "safe":
            e = event("AnimeEnrichedEvent", at, anime_id=anime_id, anime=of(**{"title": "T", "type": 5, "status": 1, **fields}))
            r.publish("anime.enriched", e)
            r.settle()
            model.apply(clock(e), {"title": "T", **fields})
        elif what == "parked":
            review, e = r.park(anime_id, at=at, headers={"Echora-Risk": "odd"}, **fields)
            model.park(review, clock(e), fields)
        elif model.reviews:
            review, approve = rng.choice(sorted(model.reviews)), rng.random() < 0.7
            was = model.reviews[review]["state"]
            model.decide(review, approve)
            try:
                told = r.decide(review, "approve" if approve else "reject")["state"]
            except Refused as refused:
                told = refused.code
            contrary = {"approved": not approve, "rejected": approve}.get(was, False)
            assert told == ("already-decided" if contrary else model.reviews[review]["state"]), (seed, step)
        have = r.db.all("SELECT title, month, year FROM catalog.anime WHERE id = %s", anime_id)[0]
        assert have == tuple(model.values[n][1] for n in ("title", "month", "year")), f"differs at {seed}, {step}: {what}"
        states = {row[0]: (row[1], set(row[2])) for row in r.db.all(
            "SELECT review_id::text, state, superseded_fields FROM catalog.update_review")}
        want = {review: (m["state"], m["late"]) for review, m in model.reviews.items()}
        assert states == want, f"differs at {seed}, {step}: {what}"
    ids = r.db.all("SELECT event_id FROM catalog.outbox")
    assert len(ids) == len(set(ids)), "differs: two rows of one event"
    assert len(r.audits()) == r.db.one("SELECT count(*) FROM catalog.update_review WHERE decision_id IS NOT NULL")


@pytest.mark.chaos(fault="wrong answer or order: random updates and decisions", place="catalogue", checks="a model")
def test_histories_of_decisions(start):
    for seed in range(SEED, SEED + (10 if LONG else 1)):
        history(start, seed, 150 if LONG else 40)


@pytest.mark.chaos(fault="guard taken away: of risky updates", place="catalogue", checks="a model")
@pytest.mark.parametrize("fault", ["approval-unordered", "supersede-forgotten"])
def test_histories_without_a_guard(start, fault):
    with pytest.raises(AssertionError, match="differs|assert"):
        history(start, SEED, 40, fault)
