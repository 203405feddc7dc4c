"""Qdrant and the embedding provider answer late, wrongly, half or not at all. The index must follow all the same.

Most single answers of the front (errors, `acknowledged`, dropped connections) are in test_qdrant_sync.py; here are
those that the front can't give: other statuses and bodies in place of an answer whose write took place, requests
that arrive after the worker has lost its patience, providers of every wrong kind.
"""
import itertools

import pytest
from harness.chain import Chain, anime, changed, ident
from harness.process import eventually
from harness.provider import MODEL, Provider, check_vectors
from harness.settings import LONG

POINTS = b"/collections/anime_database_v1/points"
UPSERT, PAYLOAD = b"PUT " + POINTS + b"?", b"POST " + POINTS + b"/batch?"
MARKS, SCROLL = b"POST " + POINTS + b"?", b"POST " + POINTS + b"/scroll"


def http(status, body, *headers, length=None):
    lines = [f"HTTP/1.1 {status} Planned", "Content-Type: application/json",
             f"Content-Length: {len(body) if length is None else length}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def result(text):
    return http(200, f'{{"result":{text},"status":"ok","time":0.01}}')


ANSWERS = {
    "429": http(429, '{"status":{"error":"slow down"},"time":0}'),
    "429-retry-after": http(429, '{"status":{"error":"slow down"},"time":0}', "Retry-After: 1"),
    "500": http(500, '{"status":{"error":"broken"},"time":0}'),
    "503": http(503, ""),
    "302": http(302, "", "Location: http://127.0.0.1:1/"),
    "cut-body": http(200, '{"result":{"operation_id":1,"sta', length=200),
    "cut-json": http(200, '{"result":{"operation_id":1,"status":"completed"}'),
    "html": http(200, "<html><body>please log in</body></html>"),
    "empty": http(200, ""),
    "null": result("null"),
    "list": result("[]"),
    "no-status": result("{}"),
    "other-status": result('{"operation_id":1,"status":"planned"}'),
    "true": result("true"),
    "nothing": b"",
}


@pytest.fixture
def chain(db, streams, qdrant, spawn, echora):
    return Chain(db, streams, qdrant, spawn, echora)


@pytest.fixture
def by_proxy(qdrant, proxy, spawn):
    """A worker of Qdrant sync and the proxy before its Qdrant."""
    def start(*argv, fault=""):
        proxied = proxy(qdrant)
        env = {"ECHORA_QDRANT_URL": proxied.url, "PLANTED_FAULTS": fault}
        return spawn("qdrant", argv=argv, env=env), proxied
    return start


@pytest.fixture
def provider():
    provider = Provider()
    yield provider
    provider.close()


@pytest.mark.chaos(fault="wrong answer or order: another one to a call that was served", place="qdrant",
                   checks="points equal the events")
def test_other_answers_to_calls_that_were_served(chain, by_proxy):
    """Each answer in place of that of a write that took place, or of a read; none may be believed."""
    _, proxied = by_proxy()
    events = []
    cases = list(itertools.product(ANSWERS, (UPSERT, PAYLOAD, MARKS)))
    for n, (name, call) in enumerate(cases if LONG else cases[::4]):
        rule = proxied.plan("lose-answer", call, answer=ANSWERS[name], until=b"HTTP/1.1 200")
        events.append(anime(n))
        chain.publish(events[n])
        if call == PAYLOAD:
            chain.quiet()
            chain.change(n, year=2050)
            events[n] = changed(events[n], year=2050)
        rule.wait_answer()
        chain.quiet()
    chain.check(events)


def merged_away(chain, by_proxy, answer, fault=""):
    """Which characters an anime that was merged away had, Qdrant alone knows; an answer without points is not the
    word that there are none."""
    worker, proxied = by_proxy(fault=fault)
    chain.publish(anime(1, characters=[{"id": ident(2, 1), "name": "Only here"}]), anime(2))
    chain.quiet()
    rule = proxied.plan("lose-answer", SCROLL, answer=ANSWERS[answer])
    chain.ask("catalog.anime.delete", animeId=ident(1, 1), mergeInto=ident(1, 2), reason="test", actor="test")
    rule.wait()
    chain.quiet()
    drift = chain.drift()
    assert set(drift) == {"compared"}, drift
    assert not chain.dead_letters() and worker.is_ready()


@pytest.mark.chaos(fault="wrong answer or order: no list where there is one", place="qdrant",
                   checks="nothing is taken for missing")
@pytest.mark.parametrize("answer", ["null", "no-status", "list", "cut-json"])
def test_no_list_is_not_an_empty_list(chain, by_proxy, answer):
    merged_away(chain, by_proxy, answer)


@pytest.mark.chaos(fault="guard taken away: a reply is checked", place="qdrant-sync", checks="the scenario turns red")
def test_any_answer_taken_for_a_list(chain, by_proxy):
    with pytest.raises(AssertionError):
        merged_away(chain, by_proxy, "no-status", "any-answer-is-a-page")


@pytest.mark.chaos(fault="slow: requests that arrive when all is newer", place="qdrant",
                   checks="points equal the events")
def test_writes_that_arrive_after_their_time(chain, by_proxy):
    """Requests hang for longer than the worker waits. They arrive in the end, when all is newer."""
    _, proxied = by_proxy("--qdrant-timeout=1s")
    late = [proxied.plan("hold", call) for call in (UPSERT, MARKS)]
    chain.publish(anime(1), anime(2))
    chain.quiet()
    chain.change(1, tags=["newer"])
    chain.delete(2)
    chain.quiet()
    for rule in late:
        assert rule.hits == 1
        rule.release()
        rule.wait_answer()
    chain.check([changed(anime(1), tags=["newer"])])


@pytest.mark.chaos(fault="silent: connections stay open and nothing moves", place="qdrant",
                   checks="points equal the events, not ready meanwhile")
def test_silent_qdrant(chain, by_proxy):
    """Connections stay open and nothing moves; then they end."""
    worker, proxied = by_proxy("--qdrant-timeout=1s")
    chain.publish(*[anime(i) for i in range(20)])
    proxied.stall()
    eventually(lambda: not worker.is_ready(), 5, "not ready")
    chain.publish(*[anime(i) for i in range(20, 40)])
    proxied.cut()
    proxied.refuse()
    proxied.resume()
    chain.publish(*[anime(i) for i in range(40, 60)])
    proxied.accept()
    chain.quiet(60)
    chain.check([anime(i) for i in range(60)])


# --- the embedding provider ----------------------------------------------------------------------------

def repair(chain):
    """Until nothing is left to repair; the breaker before the provider opens within 5 s."""
    def repaired():
        enqueued = chain.drift(repair=True).get("enqueued", 0)
        chain.quiet()
        return not enqueued
    eventually(repaired, 30, "nothing left to repair")


@pytest.mark.chaos(fault="wrong answer or order: vectors of each wrong kind", place="embedding",
                   checks="points without vector, repaired later")
def test_wrong_provider(chain, spawn, provider):
    """A vector of each wrong kind: the point is written without, its event is settled, and repair finds it."""
    worker = spawn("qdrant", argv=provider.argv())
    events = [anime(i) for i in range(len(Provider.MODES))]
    for mode, event in zip(Provider.MODES, events, strict=True):
        provider.mode = mode
        chain.publish(event)
        chain.quiet()
        check_vectors(chain.points(vectors=True), [event])
        assert chain.points()[event["animeId"]]["emb"] == "pending", mode
    assert chain.drift() == {"compared": len(events), "pending": len(events)}
    assert worker.is_ready() and not chain.dead_letters()
    provider.mode = "there"
    repair(chain)
    chain.check(events, MODEL)
    check_vectors(chain.points(vectors=True), events)


@pytest.mark.chaos(fault="slow: and there and away by turns", place="embedding",
                   checks="events are settled, each vector its text's")
def test_slow_and_flapping_provider(chain, spawn, proxy, provider):
    """Slower than it may be, then there and away by turns, with connections that break. Nothing waits for it, and no
    vector ever stands for another text."""
    by_proxy = proxy(provider)
    worker = spawn("qdrant", argv=[*provider.argv(by_proxy.port), "--embed-timeout=200ms", "--embed-batch=2"])
    provider.mode, provider.delay = "slow", 0.6
    events = [anime(i) for i in range(8)]
    chain.publish(*events)
    chain.quiet()
    assert {p["emb"] for p in chain.points().values()} == {"pending"}
    by_proxy.cut_after(2000, seed=5)
    for turn in range(12 if LONG else 4):
        provider.mode = ("there", "away", "html", "there")[turn % 4]
        events = [changed(e, tags=[f"turn {turn}", f"of {i}"]) for i, e in enumerate(events)]
        chain.publish(*[{"animeId": e["animeId"], "changedFields": ["tags"], "anime": {"tags": e["anime"]["tags"]}}
                        for e in events], subject="anime.updated")
        chain.quiet()
        check_vectors(chain.points(vectors=True), events)
    assert worker.is_ready()
    by_proxy.heal()
    provider.mode = "there"
    repair(chain)
    chain.check(events, MODEL)
    check_vectors(chain.points(vectors=True), events)


@pytest.mark.chaos(fault="away: for hundreds of events", place="embedding",
                   checks="points without vector, repaired later")
def test_provider_that_is_gone_for_long(chain, spawn, proxy, provider):
    """Refused connections all the while: hundreds of events pass, each without its vector, and repair brings them."""
    by_proxy = proxy(provider)
    by_proxy.refuse()
    worker = spawn("qdrant", argv=provider.argv(by_proxy.port))
    events = [anime(i) for i in range(300)]
    for at in range(0, 300, 100):
        chain.publish(*events[at:at + 100])
        chain.quiet()
    assert chain.drift() == {"compared": 300, "pending": 300} and worker.is_ready() and provider.calls == 0
    by_proxy.accept()
    repair(chain)
    chain.check(events, MODEL)
    check_vectors(chain.points(vectors=True), events)
