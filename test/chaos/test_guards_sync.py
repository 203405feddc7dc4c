"""Each guard of Qdrant sync, taken away once: the scenario that needs it must show a wrong index.

A scenario makes the bad moment certain, not likely: the proxy holds a write back, its worker dies, another worker
goes on, and then the old write arrives. The oracle is content: points against PostgreSQL and what was published.
"""
import time

import pytest
from harness.chain import Chain, anime, changed, ident
from harness.process import eventually
from harness.provider import MODEL, Provider, check_vectors

UPSERT = b"PUT /collections/anime_database_v1/points?"
PAYLOAD = b"POST /collections/anime_database_v1/points/batch?"
ONE = ident(1, 1)


class Rig(Chain):
    """The chain, with workers of Qdrant sync that have faults and a proxy each."""

    def __init__(self, fault, proxy, *parts):
        super().__init__(*parts)
        self.fault, self.proxy = fault, proxy

    def worker(self, argv=()):
        """A worker and the proxy that it speaks to Qdrant by."""
        proxied = self.proxy(self.qdrant)
        return self.spawn("qdrant", argv=argv, env={"ECHORA_QDRANT_URL": proxied.url,
                                                    "PLANTED_FAULTS": self.fault}), proxied

    def died_writing(self, what):
        """Lets a worker take what is published next and die with its write on the way; returns the held write."""
        worker, proxied = self.worker()
        rule = proxied.plan("hold", what)

        def die():
            rule.wait_http()
            worker.kill()
        return rule, die

    def holds(self, **fields):
        """Waits until the point of the one anime has this payload."""
        eventually(lambda: fields.items() <= self.points().get(ONE, {}).items(), 20, f"point with {fields}")

    def arrive(self, rule):
        rule.release()
        rule.wait_answer()


@pytest.fixture
def rig(request, db, streams, qdrant, proxy, spawn, echora):
    return lambda fault: Rig(fault, proxy, db, streams, qdrant, spawn, echora)


def late_upsert(rig):
    """An upsert of an old state arrives after a newer one."""
    event = anime(1)
    rule, die = rig.died_writing(UPSERT)
    rig.publish(event)
    die()
    rig.worker()
    rig.change(1, tags=["newer"])
    rig.holds(tags=["newer"])
    rig.arrive(rule)
    rig.check([changed(event, tags=["newer"])])


def late_upsert_of_the_dead(rig):
    """An entity's first upsert arrives after its deletion: nothing was there that could have been deleted."""
    rule, die = rig.died_writing(UPSERT)
    rig.publish(anime(1))
    die()
    rig.worker()
    rig.delete(1)
    eventually(lambda: rig.bus.last("ANIME_SYNC", "anime.deleted") > 0
               and rig.bus.settled("ANIME_SYNC", "qdrant-anime-deleted"), 20, "deletion settled")
    rig.arrive(rule)
    rig.check([])


def late_payload(rig):
    """A payload write of an old state arrives after a newer one; the vectors are the same."""
    event = anime(1)
    worker, proxied = rig.worker()
    rig.publish(event)
    rig.quiet()
    rule = proxied.plan("hold", PAYLOAD)
    rig.change(1, year=2001)
    rule.wait_http()
    worker.kill()
    rig.worker()
    rig.change(1, status="ANIME_STATUS_FINISHED")
    rig.holds(status="FINISHED")
    rig.arrive(rule)
    rig.check([changed(event, year=2001, status="ANIME_STATUS_FINISHED")])


def payload_meets_other_vectors(rig):
    """A text changes and changes back. The write of the payload alone, planned on the first vectors, arrives after
    those of the text between, and must see that it is not enough."""
    event = anime(1)
    first, by_first = rig.worker()
    rig.publish(event)
    rig.quiet()
    before = rig.points(vectors=True)[ONE][1]["dense"]
    between = by_first.plan("hold", UPSERT)
    rig.change(1, tags=["between"])
    between.wait_http()
    first.kill()
    _, by_second = rig.worker()
    back = by_second.plan("hold", PAYLOAD)
    rig.change(1, tags=event["anime"]["tags"])
    back.wait_http()
    rig.arrive(between)
    rig.holds(tags=["between"])
    rig.arrive(back)
    eventually(lambda: rig.bus.consumer("ANIME_SYNC", "qdrant-anime-synced").num_ack_pending == 1, 20,
               "only the dead worker's event is unsettled")
    rig.check([event])
    assert rig.points(vectors=True)[ONE][1]["dense"] == before


def acknowledged_and_lost(rig):
    """Qdrant takes a write in and forgets it."""
    rig.qdrant.faults({"action": "acknowledged-lost", "method": "PUT", "path": "*/points", "times": 1})
    rig.worker()
    rig.publish(anime(1))
    rig.quiet()
    rig.check([anime(1)])


def lost_for_long(rig):
    """Qdrant acknowledges all writes of one point and does none of them, for longer than any patience, and does those
    of others: the event is not to blame."""
    rig.qdrant.faults({"action": "acknowledged-lost", "method": "PUT", "path": "*/points", "contains": ONE,
                       "times": 100_000})
    rig.worker(argv=["--give-up-at=1"])
    events, end = [anime(1)], time.monotonic() + 15
    rig.publish(*events)
    while time.monotonic() < end and not rig.dead_letters():
        events.append(anime(len(events) + 1))
        rig.publish(events[-1])
        time.sleep(0.2)
    letters = [m.headers["Echora-Dlq-Code"] + ": " + m.headers["Echora-Dlq-Reason"] for m in rig.dead_letters()]
    assert not letters, f"an event was given up for what Qdrant did: {letters}"
    rig.qdrant.faults()
    rig.quiet(60)
    rig.check(events)


def catalogue_of_yesterday(rig):
    """The catalogue answers an older state than the event's, as a restored database or a lagging copy does."""
    event = anime(1)
    rig.publish(event)
    eventually(lambda: rig.bus.stream("ANIME_SYNC").state.last_seq == 1, 20, "relayed")
    old, = rig.db.all("SELECT year, revision FROM catalog.anime")
    rig.change(1, year=2024)
    eventually(lambda: rig.bus.stream("ANIME_SYNC").state.last_seq == 2, 20, "relayed")
    new, = rig.db.all("SELECT year, revision FROM catalog.anime")
    rig.db.do("UPDATE catalog.anime SET year = %s, revision = %s", *old)
    worker, _ = rig.worker()
    eventually(lambda: "stale-read" in worker.text() or rig.bus.settled("ANIME_SYNC", "qdrant-anime-synced"), 20,
               "the old answer met")
    rig.db.do("UPDATE catalog.anime SET year = %s, revision = %s", *new)
    rig.quiet()
    rig.check([changed(event, year=2024)])


def death_before_the_write(rig):
    """A worker dies before its write reaches Qdrant; the event must come again."""
    rig.bus.hasten("ANIME_SYNC", 1.5)
    _, die = rig.died_writing(UPSERT)
    rig.publish(anime(1))
    die()
    rig.worker()
    rig.quiet()
    rig.check([anime(1)])


def vector_out_of_range(rig):
    """The embedding provider's numbers pass what any vector may hold."""
    provider = Provider()
    try:
        provider.mode = "infinite"
        events = [anime(i) for i in range(3)]
        rig.worker(provider.argv())
        rig.publish(*events)
        rig.quiet()
        assert set(rig.points()) == {e["animeId"] for e in events}
        check_vectors(rig.points(vectors=True), events)
    finally:
        provider.close()


def provider_comes_back(rig):
    """What was written while the provider was away gets its vectors by drift repair."""
    provider = Provider()
    try:
        provider.mode = "away"
        events = [anime(i) for i in range(3)]
        rig.worker(provider.argv())
        rig.publish(*events)
        rig.quiet()
        assert {p["emb"] for p in rig.points().values()} == {"pending"}
        provider.mode = "there"

        def repaired():
            enqueued = rig.drift(repair=True).get("enqueued", 0)
            rig.quiet()
            return not enqueued
        eventually(repaired, 30, "nothing left to repair")
        rig.check(events, MODEL)
        check_vectors(rig.points(vectors=True), events)
    finally:
        provider.close()


SCENARIOS = {
    late_upsert: ["upsert-unguarded"],
    late_upsert_of_the_dead: ["tombstone-omitted", "upsert-unguarded"],
    late_payload: ["payload-without-rev"],
    payload_meets_other_vectors: ["payload-without-emb", "read-back-omitted"],
    # Status and read-back stand behind each other: only without both is the write lost.
    acknowledged_and_lost: ["read-back-omitted,acknowledged-is-done"],
    catalogue_of_yesterday: ["stale-reply-accepted"],
    death_before_the_write: ["ack-before-handle"],
    vector_out_of_range: ["any-vector-accepted"],
    provider_comes_back: ["pending-forgotten"],
}


@pytest.mark.chaos(fault="wrong answer or order: the scenarios of the guards", place="qdrant-sync, qdrant",
                   checks="points equal the committed state")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_guarded(rig, scenario):
    scenario(rig(""))


SAYS = {"qdrant-acknowledged": "", "not-settled": "acknowledged-is-done,"}  # the second is that it says it did them


@pytest.mark.chaos(fault="wrong answer or order: acknowledged, and never done", place="qdrant",
                   checks="no dead letter, points equal the committed state")
@pytest.mark.long  # waits out the patience
@pytest.mark.parametrize("code", SAYS)
def test_lost_for_long(rig, code):
    lost_for_long(rig(SAYS[code]))


@pytest.mark.chaos(fault="guard taken away", place="qdrant-sync", checks="the scenario turns red")
@pytest.mark.parametrize("code", SAYS)
def test_lost_for_long_without_the_guard(rig, code):
    with pytest.raises(AssertionError, match=f"given up for what Qdrant did.*{code}"):
        lost_for_long(rig(SAYS[code] + "full-is-own-trouble"))


@pytest.mark.chaos(fault="guard taken away: one of two that see the same", place="qdrant-sync",
                   checks="points equal the committed state")
@pytest.mark.parametrize("fault", ["read-back-omitted", "acknowledged-is-done"])
def test_one_of_two_guards_is_enough(rig, fault):
    acknowledged_and_lost(rig(fault))


@pytest.mark.chaos(fault="guard taken away: each of Qdrant sync's", place="qdrant-sync",
                   checks="the scenario turns red")
@pytest.mark.parametrize("scenario, fault", [(s, f) for s, faults in SCENARIOS.items() for f in faults],
                         ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_without_the_guard(rig, scenario, fault):
    with pytest.raises(AssertionError) as seen:
        scenario(rig(fault))
    print(str(seen.value)[:500])
