"""Risky updates: parked, listed, decided by people, overtaken by newer values, forgotten by everybody."""
import json
import threading

import pytest
from google.protobuf import json_format

from harness import wire
from harness.catalogue import anime, event, new_id
from harness.process import eventually
from harness.reviews import Refused, Reviews, of


@pytest.fixture
def writer(streams, db, spawn):
    return spawn("catalogue")


@pytest.fixture
def reviews(streams, db, writer):
    return Reviews(streams, db)


def revisions(reviews, anime_id):
    return reviews.db.one("SELECT revision FROM catalog.anime WHERE id = %s", anime_id)


# Each rule at its threshold, just below, just above: what stands, what is proposed, which reasons park it.
TV, OVA = 5, 3
UPCOMING, ONGOING, FINISHED, CANCELLED = 2, 3, 1, 5
TEXT = "0123456789" * 10
POLICY = [
    ("title", {"title": "Right"}, {"title": "Wrong"}, ["title-changed"]),
    ("the same title", {"title": "Right"}, {"title": "Right"}, []),
    ("type", {"type": TV}, {"type": OVA}, ["type-changed"]),
    ("source material", {"source_material": 1}, {"source_material": 2}, ["source-material-changed"]),
    ("source material learned", {}, {"source_material": 2}, []),
    ("source material forgotten", {"source_material": 2}, {"source_material": None}, ["source-material-changed"]),
    ("episode count lowered", {"episode_count": 12}, {"episode_count": 11}, ["episode-count-lowered"]),
    ("episode count the same", {"episode_count": 12}, {"episode_count": 12}, []),
    ("episode count raised", {"episode_count": 12}, {"episode_count": 13}, []),
    ("synopsis halved", {"synopsis": TEXT}, {"synopsis": TEXT[:50]}, []),
    ("synopsis, one less than half", {"synopsis": TEXT}, {"synopsis": TEXT[:49]}, ["synopsis-cut"]),
    ("synopsis, one more than half", {"synopsis": TEXT}, {"synopsis": TEXT[:51]}, []),
    ("synopsis of one character", {"synopsis": "x"}, {"synopsis": ""}, ["synopsis-removed"]),
    ("synopsis removed", {"synopsis": TEXT}, {"synopsis": None}, ["synopsis-removed"]),
    ("synopsis by characters, not bytes", {"synopsis": "日本" * 10}, {"synopsis": "a" * 10}, []),
    ("background, one less than half", {"background": TEXT}, {"background": "y" * 49}, ["background-cut"]),
    ("background halved", {"background": TEXT}, {"background": "y" * 50}, []),
    ("list halved", {"tags": list("abcdefgh")}, {"tags": list("abcd")}, []),
    ("list, one less than half", {"tags": list("abcdefgh")}, {"tags": list("abc")}, ["tags-cut"]),
    ("list, one more than half", {"tags": list("abcdefgh")}, {"tags": list("abcde")}, []),
    ("list replaced", {"tags": list("abcdefgh")}, {"tags": list("stuvwxyz")}, []),
    ("list emptied", {"tags": ["a"]}, {"tags": []}, ["tags-cut"]),
    ("list grown", {"tags": ["a"]}, {"tags": ["a", "b"]}, []),
    ("status forward", {"status": UPCOMING}, {"status": ONGOING}, []),
    ("status backward", {"status": FINISHED}, {"status": ONGOING}, ["status-backward"]),
    ("cancelled", {"status": ONGOING}, {"status": CANCELLED}, []),
    ("cancelled after its end", {"status": FINISHED}, {"status": CANCELLED}, ["status-backward"]),
    ("year", {"year": 1999}, {"year": 1998}, []),
    ("several at once", {"title": "Right", "episode_count": 12, "tags": list("abcd"), "year": 1999},
     {"title": "Wrong", "episode_count": 11, "tags": ["a"], "year": 2000},
     ["episode-count-lowered", "tags-cut", "title-changed"]),
]


def test_the_policy_case_by_case(reviews):
    """What is risky is parked with its reason, the rest of the same update is applied at once."""
    cases = []
    for name, stands, proposed, reasons in POLICY:
        anime_id = new_id()
        reviews.enriched(anime_id, anime(**{"month": "MAY", **stands}))
        cases.append((name, anime_id, stands, proposed, reasons))
    reviews.settle()
    for _, anime_id, _, proposed, _ in cases:
        given = {k: v for k, v in proposed.items() if v is not None}
        reviews.updated(anime_id, [*proposed, "month"], of(**given, month="JUNE"), at=10)
    reviews.settle()
    assert reviews.dead_letters() == []
    for name, anime_id, stands, proposed, reasons in cases:
        rows = reviews.db.all("SELECT fields, reasons FROM catalog.update_review WHERE anime_id = %s", anime_id)
        parked = set(rows[0][0]) if rows else set()
        assert sorted(rows[0][1] if rows else []) == reasons, name
        assert parked == {r.rpartition("-")[0].replace("-", "_") for r in reasons}, name
        (entry,) = reviews.get(anime_id)["entries"]
        have = wire.fields(json_format.ParseDict(entry["record"]["anime"], of()))
        want = wire.fields(anime(**{**stands, **{k: v for k, v in proposed.items() if v is not None}}))
        want |= {k: v for k, v in wire.fields(anime(**stands)).items() if k in parked}
        assert have["month"] == "JUNE", name
        for field in proposed:
            assert proposed[field] is None and field not in parked or have.get(field) == want.get(field), (name, field)


def test_the_thresholds_are_configuration(streams, db, spawn):
    spawn("catalogue", argv=["--risk-text-cut=10", "--risk-list-cut=80"])
    reviews = Reviews(streams, db)
    anime_id = reviews.living(synopsis=TEXT, tags=list("abcdefghij"))
    reviews.updated(anime_id, ["synopsis"], of(synopsis=TEXT[:90]), at=10)
    reviews.updated(anime_id, ["tags"], of(tags=list("ab")), at=10)
    reviews.settle()
    assert db.one("SELECT count(*) FROM catalog.update_review") == 0
    reviews.park(anime_id, at=11, synopsis=TEXT[:80])
    reviews.park(anime_id, at=11, tags=[])


@pytest.mark.parametrize("how", ["reason", "header"])
def test_a_publishers_flag_parks_everything_without_cause(reviews, how):
    anime_id = reviews.living()
    if how == "header":
        review, _ = reviews.park(anime_id, headers={"Echora-Risk": "odd"}, month="MAY", year=2001)
        want = ["odd"]
    else:
        e = event("AnimeUpdatedEvent", 10, anime_id=anime_id, changed_fields=["month", "year"],
                  anime=of(month="MAY", year=2001), risk_reasons=["looks odd", "twice, odd"])
        reviews.publish("anime.updated", e)
        reviews.settle()
        review, want = reviews.list()[0]["reviewId"], ["looks odd", "twice, odd"]
    shown = reviews.review(review)
    assert sorted(shown["changedFields"]) == ["month", "year"] and shown["riskReasons"] == want
    assert reviews.db.all("SELECT month, year FROM catalog.anime") == [(None, None)]
    assert reviews.approve(review)["appliedFields"] == ["month", "year"]
    assert reviews.db.all("SELECT month, year FROM catalog.anime") == [("MAY", 2001)]


def test_a_publishers_words_hide_no_reason_and_fill_no_list(reviews):
    """Its reasons are free text of any length: people see what the writer found first, and the list stays readable."""
    names = {}
    for n in range(5):
        anime_id = reviews.living(title="x" * 2_000_000)
        e = event("AnimeUpdatedEvent", 10, anime_id=anime_id, changed_fields=["title"], anime=of(title="Wrong"),
                  risk_reasons=["é" * 20_000] * 100)
        reviews.publish("anime.updated", e)
        names[anime_id] = e
    reviews.settle()
    shown = reviews.list()
    assert {r["animeId"] for r in shown} == set(names) and len(json.dumps(shown)) < 100_000
    for r in shown:
        assert r["riskReasons"][0] == "title-changed" and set(r["riskReasons"][1:]) == {"é" * 100}
        assert len(reviews.review(r["reviewId"])["riskReasons"]) == len(r["riskReasons"]) <= 20


def test_only_the_writers_own_copies_pass_it_by(reviews):
    """Anybody who publishes can write Echora-Review: it saves no update from the writer, nor from being judged."""
    anime_id = reviews.living()
    reviews.updated(anime_id, ["year"], of(year=2001), 10, **{"Echora-Review": new_id()})
    review, _ = reviews.park(anime_id, 11, {"Echora-Review": new_id()}, title="Wrong")
    reviews.updated(anime_id, ["year"], of(year=2002), 12, **{"Echora-Review": review})
    reviews.settle()
    assert (reviews.value(anime_id, "year"), reviews.value(anime_id)) == (2002, "Right")
    assert reviews.dead_letters() == []


def test_sources_that_wait_for_a_person_name_nobody_yet(reviews):
    """The references of a parked list of sources are not the anime's before it is approved."""
    anime_id, url = reviews.living(), "https://myanimelist.net/anime/77"
    review, _ = reviews.park(anime_id, headers={"Echora-Risk": "odd"}, sources=[url])
    refs = "SELECT anime_id::text FROM catalog.anime_xref WHERE ref = 'mal:anime:77'"
    assert reviews.db.one(refs) is None
    assert reviews.approve(review)["state"] == "approved"
    assert reviews.db.one(refs) == anime_id


def test_list_and_get(reviews):
    anime_id = reviews.living(episode_count=12)
    first, e = reviews.park(anime_id, title="Wrong", episode_count=11, month="MAY")
    second, _ = reviews.park(anime_id, at=11, title="Also wrong")
    other, _ = reviews.park(reviews.living(), title="Wrong")
    assert [r["reviewId"] for r in reviews.list()] == [other, second, first]
    assert [r["reviewId"] for r in reviews.list(animeId=anime_id)] == [second, first]
    assert [r["reviewId"] for r in reviews.list(reason="episode-count-lowered")] == [first]
    assert reviews.list(state="approved") == [] and len(reviews.list(state="all")) == 3
    since = reviews.review(second)["createdAt"]
    assert [r["reviewId"] for r in reviews.list(since=since)] == [other, second]
    pages, cursor = [], ""
    while True:
        page = reviews.ask("list", limit=2, cursor=cursor)
        pages.append([r["reviewId"] for r in page["reviews"]])
        if not (cursor := page.get("nextCursor", "")):
            break
    assert pages == [[other, second], [first]]
    shown = reviews.review(first)
    assert shown["current"] == {"title": "Right", "episodeCount": 12}
    assert shown["proposed"] == {"title": "Wrong", "episodeCount": 11}
    assert shown["eventId"] == e.event_id and shown["animeId"] == anime_id and shown["title"] == "Right"
    assert shown["state"] == "pending" and shown["createdAt"] < shown["expiresAt"]
    assert [s["step"] for s in shown["history"]] == ["parked"]
    assert reviews.review(e.event_id)["reviewId"] == first  # by the update's own id, too
    for what, body, code in (("get", {"reviewId": new_id()}, "not-found"), ("get", {"reviewId": "x"}, "bad-uuid"),
                             ("list", {"state": "x"}, "bad-request"), ("list", {"limit": 501}, "out-of-range"),
                             ("list", {"cursor": "x"}, "bad-cursor"), ("list", {"animeId": "x"}, "bad-uuid"),
                             ("decide", {"reviewId": first, "decision": "maybe", "reviewedBy": "a"}, "bad-request"),
                             ("decide", {"reviewId": first, "decision": "approve"}, "bad-request"),
                             ("decide", {"reviewId": first, "decision": "approve", "reviewedBy": "a\r\nb: c"}, "bad-request"),
                             ("decide", {"reviewId": first, "decision": "approve", "reviewedBy": "a" * 121}, "bad-request"),
                             ("decide", {"reviewId": first, "decision": "reject", "reviewedBy": "a", "reason": "b" * 501},
                              "bad-request"),
                             ("decide", {"reviewId": first, "decision": "approve", "reviewedBy": "a", "decisionId": "x"},
                              "bad-uuid"),
                             ("decide", {"reviewId": new_id(), "decision": "approve", "reviewedBy": "a"}, "not-found")):
        with pytest.raises(Refused, match=code):
            reviews.ask(what, **body)
    assert reviews.state(first) == "pending"


def test_who_may_ask(reviews, streams):
    review, _ = reviews.park(reviews.living(), title="Wrong")
    viewer = streams.bus("viewer")
    assert reviews.ask("list", bus=viewer)["reviews"][0]["reviewId"] == review
    assert reviews.ask("get", bus=viewer, reviewId=review)["review"]["reviewId"] == review
    with pytest.raises(Exception, match="(?i)timeout|^$"):
        reviews.ask("decide", bus=viewer, timeout=0.5, reviewId=review, decision="approve", reviewedBy="viewer")
    assert reviews.state(review) == "pending"


def test_approval_applies_and_is_an_event(reviews):
    anime_id = reviews.living(episode_count=12)
    review, e = reviews.park(anime_id, title="Wrong", year=2001)
    before, decision = revisions(reviews, anime_id), new_id()
    reply = reviews.approve(review, reason="it is so", decisionId=decision)
    assert reply["state"] == "approved" and reply["appliedFields"] == ["title"] and reply["decisionId"] == decision
    assert int(reply["revision"]) == revisions(reviews, anime_id) > before
    assert reviews.value(anime_id) == "Wrong" and reply["reviewedBy"] == "anna"
    # Committed once: inbox, outbox, history, audit.
    assert reviews.db.all("SELECT consumer, outcome, revision FROM catalog.inbox WHERE event_id = %s", decision) == [
        ("catalog-review", "applied", int(reply["revision"]))]
    ids = reviews.db.all("SELECT event_id FROM catalog.outbox")
    assert len(ids) == len(set(ids))
    (audit,) = reviews.audits()
    assert (audit.event_id, audit.action, audit.actor, audit.note) == (decision, "review-approved", "anna", "it is so")
    assert (audit.anime_id, audit.review_id, audit.update_id) == (anime_id, review, e.event_id)
    assert list(audit.fields) == ["title"] and audit.revision == int(reply["revision"])
    assert reviews.steps(review) == [("parked", ""), ("approved", "anna")]
    # The clock is the update's own: what happened later still wins, what happened before does not.
    reviews.enriched(anime_id, anime(title="Older"), at=9)
    reviews.settle()
    assert reviews.value(anime_id) == "Wrong"
    reviews.enriched(anime_id, anime(title="Newer"), at=11)
    reviews.settle()
    assert reviews.value(anime_id) == "Newer"
    # What the decision made known in the index names the decision, not the update once more.
    assert reviews.copies(review) == 1


def test_rejection_discards(reviews):
    anime_id = reviews.living()
    review, _ = reviews.park(anime_id, title="Wrong")
    before = revisions(reviews, anime_id)
    reply = reviews.reject(review, reason="nonsense")
    assert (reply["state"], reply.get("appliedFields", [])) == ("rejected", []) and int(reply["revision"]) == before
    assert (reviews.value(anime_id), revisions(reviews, anime_id)) == ("Right", before)
    (audit,) = reviews.audits()
    assert (audit.action, audit.note, list(audit.fields)) == ("review-rejected", "nonsense", ["title"])
    assert reviews.review(review)["note"] == "nonsense"


def test_asked_again_it_answers_the_same(reviews):
    anime_id = reviews.living()
    review, e = reviews.park(anime_id, title="Wrong")
    decision = new_id()
    first = reviews.approve(review, decisionId=decision)
    assert reviews.approve(review, decisionId=decision) == first
    # By what was asked, by the Command API's key, by the update's id: each finds the decision that was taken.
    second = reviews.approve(e.event_id, by="bert")
    assert second == {**first, "alreadyDecided": True}
    assert revisions(reviews, anime_id) == int(first["revision"]) and len(reviews.audits()) == 1
    other, _ = reviews.park(anime_id, at=20, title="Other")
    with pytest.raises(Refused, match="decision-reused"):
        reviews.approve(other, decisionId=decision)
    key = {"headers": {"Echora-Idem": "ab12:1"}}
    first = reviews.approve(other, **key)
    assert reviews.approve(other, **{"headers": {"Echora-Idem": "ab12:2"}}) == first
    third, _ = reviews.park(anime_id, at=30, title="Third")
    first = reviews.reject(third)
    assert reviews.reject(third) == first and "alreadyDecided" not in first


def test_the_contrary_is_refused_and_told_who_decided(reviews):
    review, _ = reviews.park(reviews.living(), title="Wrong")
    reply = reviews.approve(review, by="anna")
    code, text = reviews.refused(review, "reject", by="bert")
    assert code == "already-decided" and text == f"approved by anna at {reply['decidedAt']}"
    # The same id for the contrary is refused as well.
    assert reviews.refused(review, "reject", decisionId=reply["decisionId"])[0] == "already-decided"


def test_reject_then_replay_of_the_original(reviews):
    anime_id = reviews.living()
    review, e = reviews.park(anime_id, title="Wrong", year=2001)
    reviews.reject(review)
    before = reviews.db.one("SELECT count(*) FROM catalog.outbox")
    reviews.publish("anime.updated", e, **{"Echora-Replay-For": "catalog-updated"})
    # Also when its publisher stamps it anew, so that the inbox does not know it.
    e.timestamp.seconds += 3 * 86400
    reviews.publish("anime.updated", e)
    reviews.settle()
    assert reviews.db.all("SELECT state FROM catalog.update_review") == [("rejected",)]
    assert reviews.value(anime_id) == "Right" and reviews.copies(review) == 1
    assert reviews.db.one("SELECT count(*) FROM catalog.outbox") == before


def test_one_id_twice_in_a_batch_is_parked_once(streams, db, spawn):
    """Of two days, so that the inbox takes them for two."""
    reviews = Reviews(streams, db)
    anime_id = new_id()
    reviews.enriched(anime_id, anime(title="Right"))
    e = reviews.updated(anime_id, ["title"], of(title="Wrong"), at=10)
    e.timestamp.seconds += 86400
    reviews.publish("anime.updated", e)
    spawn("catalogue")
    reviews.settle()
    (review, state), = db.all("SELECT review_id::text, state FROM catalog.update_review")
    assert state == "pending" and reviews.copies(review) == 1 and reviews.value(anime_id) == "Right"


def test_a_newer_value_supersedes(reviews):
    anime_id = reviews.living(episode_count=12)
    review, _ = reviews.park(anime_id, title="Wrong", episode_count=11)
    newer = reviews.enriched(anime_id, anime(title="Newer"), at=20)
    reviews.settle()
    # In part: the rest waits on.
    shown = reviews.review(review)
    assert (shown["state"], shown["supersededFields"]) == ("pending", ["title"])
    assert shown["supersededBy"] == newer.event_id
    reply = reviews.approve(review)
    assert (reply["appliedFields"], reply["supersededFields"]) == (["episode_count"], ["title"])
    assert reviews.db.all("SELECT title, episode_count FROM catalog.anime") == [("Newer", 11)]
    # As a whole: there is nothing left to decide, and the answer says so.
    whole, _ = reviews.park(anime_id, at=21, title="Wrong")
    newest = reviews.enriched(anime_id, anime(title="Newest"), at=30)
    reviews.settle()
    assert reviews.state(whole) == "superseded"
    for decide in (reviews.approve, reviews.reject):
        reply = decide(whole)
        assert (reply["state"], reply["supersededBy"], reply["alreadyDecided"]) == ("superseded", newest.event_id, True)
    assert reviews.value(anime_id) == "Newest" and reviews.steps(whole) == [("parked", ""), ("superseded", "")]
    # What is older supersedes nothing.
    late, _ = reviews.park(anime_id, at=40, title="Wrong")
    reviews.enriched(anime_id, anime(title="Old"), at=35)
    reviews.settle()
    assert reviews.state(late) == "pending"


def test_what_waits_about_one_field_holds_up_no_other(reviews):
    """However much waits: an update looks at the reviews of its own fields alone."""
    anime_id = reviews.living()
    review, _ = reviews.park(anime_id, title="Wrong")
    with reviews.db.connect() as somebody, somebody.transaction():
        somebody.execute("SELECT FROM catalog.update_review FOR UPDATE")
        reviews.updated(anime_id, ["year"], of(year=2001), at=20)
        eventually(lambda: reviews.value(anime_id, "year") == 2001, what="written")
    reviews.updated(anime_id, ["title"], of(title="Right"), at=20)
    reviews.settle()
    assert reviews.state(review) == "superseded"


def test_a_newer_approval_supersedes_an_older_review(reviews):
    anime_id = reviews.living()
    older, _ = reviews.park(anime_id, at=10, title="Older")
    newer, e = reviews.park(anime_id, at=20, title="Newer")
    reviews.approve(newer)
    shown = reviews.review(older)
    assert (shown["state"], shown["supersededBy"]) == ("superseded", e.event_id)
    # The other way round both are applied, one after the other.
    older, _ = reviews.park(anime_id, at=30, title="Older")
    newer, _ = reviews.park(anime_id, at=40, title="Newest")
    reviews.approve(older)
    assert reviews.state(newer) == "pending" and reviews.value(anime_id) == "Older"
    reviews.approve(newer)
    assert reviews.value(anime_id) == "Newest"


def test_approval_of_what_was_old_when_it_was_parked(reviews):
    """A publisher flags an update that comes late: it can be approved, and the newer value stands all the same."""
    anime_id = new_id()
    reviews.enriched(anime_id, anime(title="Right", month="MAY"), at=50)
    reviews.settle()
    review, _ = reviews.park(anime_id, at=10, headers={"Echora-Risk": "late"}, month="JUNE", season=2)
    reply = reviews.approve(review)
    assert (reply["state"], reply["appliedFields"], reply["supersededFields"]) == ("approved", ["season"], ["month"])
    assert reviews.db.all("SELECT month, season FROM catalog.anime") == [("MAY", "SUMMER")]
    whole, _ = reviews.park(anime_id, at=11, headers={"Echora-Risk": "late"}, month="JULY")
    reply = reviews.approve(whole)
    assert (reply["state"], reviews.value(anime_id, "month")) == ("superseded", "MAY")
    assert [a.action for a in reviews.audits()] == ["review-approved"]


def test_the_anime_was_deleted_or_merged_meanwhile(reviews):
    gone, kept = reviews.living(), reviews.living(title="Kept")
    review, _ = reviews.park(gone, title="Wrong")

    def request(verb, **body):
        reply = reviews.bus.request(f"catalog.anime.{verb}", json.dumps(body).encode(),
                                    headers={"Content-Type": "application/json"})
        assert "Nats-Service-Error-Code" not in (reply.headers or {}), reply.headers
    request("delete", animeId=gone)
    assert reviews.refused(review, "approve")[0] == "anime-deleted" and reviews.state(review) == "pending"
    request("restore", animeId=gone)
    assert reviews.approve(review)["state"] == "approved"
    second, _ = reviews.park(gone, at=20, title="Wrong again")
    third, _ = reviews.park(gone, at=21, title="Wrong once more")
    request("delete", animeId=gone, mergeInto=kept)
    code, text = reviews.refused(second, "approve")
    assert code == "anime-merged" and kept in text
    assert reviews.value(kept) == "Kept" and reviews.audits()[-1].action == "review-approved"
    assert reviews.review(second)["current"]["title"] == "Wrong"
    assert reviews.reject(second)["state"] == "rejected"
    assert reviews.refused(third, "approve", by="bert")[0] == "anime-merged"


def test_two_people_at_once(reviews, streams, spawn):
    """Many times: one wins, the contrary is refused, and what is stored is what the winner said."""
    spawn("catalogue")
    people = [Reviews(streams, reviews.db) for _ in range(2)]
    for _ in range(15):
        anime_id = reviews.living()
        review, _ = reviews.park(anime_id, title="Wrong")
        told, start = {}, threading.Barrier(2)

        def decide(person, decision, review=review, told=told, start=start):
            start.wait()
            try:
                told[decision] = person.decide(review, decision, by=decision)["state"]
            except Refused as e:
                told[decision] = e
        threads = [threading.Thread(target=decide, args=a) for a in zip(people, ("approve", "reject"))]
        [t.start() for t in threads]
        [t.join() for t in threads]
        state = reviews.state(review)
        winner, loser = ("approve", "reject") if state == "approved" else ("reject", "approve")
        assert told[winner] == state
        assert told[loser].code == "already-decided" and f"{state} by {winner} at 20" in told[loser].text
        assert reviews.value(anime_id) == ("Wrong" if state == "approved" else "Right")
        assert reviews.db.one("SELECT count(*) FROM catalog.review_step WHERE review_id = %s", review) == 1
    assert len(reviews.audits()) == 15


def test_nobody_decides(streams, db, spawn):
    """A reminder, once, with an event id of its own; then the end, which is told to people and audited."""
    spawn("catalogue", argv=["--review-remind=2s", "--review-expire=10s"])
    spawn("relay")
    reviews = Reviews(streams, db)
    anime_id = reviews.living(episode_count=12)
    review, e = reviews.park(anime_id, title="Wrong", episode_count=11)
    reviews.updated(anime_id, ["episode_count"], of(episode_count=13), at=20)
    reviews.settle()
    reminder = eventually(lambda: db.one("SELECT reminder_id::text FROM catalog.update_review"), 20, "reminded")
    copies = eventually(lambda: [m for m in reviews.bus.messages("ANIME_EVENTS") if "Echora-Review" in m.headers][1:],
                        20, "relayed")
    (copy,) = copies
    message = wire.classes()["AnimeUpdatedEvent"].FromString(copy.data)
    assert copy.headers["Echora-Review"] == review and copy.headers["Nats-Msg-Id"] == reminder != review
    assert message.event_id == reminder and list(message.risk_reasons)[-1] == "reminder"
    assert copy.headers["Echora-Risk"].endswith(",reminder")
    assert list(message.changed_fields) == ["title"] and message.timestamp == e.timestamp
    reviews.settle()
    assert reviews.value(anime_id) == "Right"  # the writer skips it
    assert reviews.review(reminder)["reviewId"] == review
    eventually(lambda: reviews.state(review) == "expired", 40, "expired")
    assert reviews.copies(review) == 1 and reviews.copies(reminder) == 1
    assert [s for s, _ in reviews.steps(review)] == ["parked", "superseded", "reminded", "expired"]
    code, text = reviews.refused(review, "approve")
    assert code == "review-expired" and "again as a new event" in text
    eventually(lambda: reviews.bus.stream("AUDIT").state.messages == 1, 20, "the audit record, relayed")
    (audit,) = reviews.bus.messages("AUDIT")
    record = wire.classes()["CatalogAudit"].FromString(audit.data)
    assert audit.subject == "audit.catalog" and (record.action, record.review_id) == ("review-expired", review)
    assert (list(record.fields), list(record.superseded_fields)) == (["title"], ["episode_count"])
    # A replay of the original is not parked anew.
    e.timestamp.seconds += 2 * 86400
    reviews.publish("anime.updated", e)
    reviews.settle()
    assert db.one("SELECT count(*) FROM catalog.update_review") == 1 and reviews.copies(review) == 1


def test_metrics(reviews, writer):
    first, _ = reviews.park(reviews.living(), title="Wrong")
    second, _ = reviews.park(reviews.living(), title="Wrong")
    reviews.approve(first)
    reviews.reject(second)
    third, _ = reviews.park(reviews.living(), title="Wrong")
    assert {o: writer.metric("echora_catalogue_reviews_total", outcome=o)
            for o in ("approved", "rejected", "expired")} == {"approved": 1, "rejected": 1, "expired": 0}
    eventually(lambda: writer.metric("echora_catalogue_reviews_pending") == 1, 30, "one waits")
    assert 0 <= writer.metric("echora_catalogue_review_oldest_seconds") < 300
    assert reviews.state(third) == "pending"
