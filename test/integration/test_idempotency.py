"""What Redis remembers of a key: every transition, by real processes on a real Redis that is killed, paused, emptied."""
import hashlib
import time

import pytest

from harness.idempotency import CLIENT, KEY, PATH, WHERE, Failed, begin, claimed, expire_lease, fields, name
from harness.process import eventually
from harness.redis_driver import Driver

pytestmark = pytest.mark.one_nats


@pytest.fixture
def driver(redis):
    made = []

    def start(**options):
        made.append(Driver(redis, **options))
        return made[-1]

    yield start
    redis.resume()
    for one in made:
        one.close()


def finish(driver, claim, status=200, body="{}", kind="application/json", location=""):
    return driver("finish", *WHERE, *claim, status, kind, location, body)[0]


def test_first_claims(redis, driver):
    outcome, owner, token = begin(driver())
    kept = fields(redis)
    now = float(".".join(p.decode() for p in redis.call("TIME")))
    assert outcome == "new" and now - 10 < int(token) / 1e6 <= now
    assert set(kept) == {"state", "fp", "owner", "token", "lease_until"}
    assert (kept["state"], kept["owner"], kept["token"]) == ("pending", owner, token)
    assert kept["fp"] == hashlib.sha256(f"POST\n{PATH}\n\na/b\nbody".encode()).hexdigest()
    assert now < int(kept["lease_until"]) / 1000 <= now + 30.1
    assert 29.9 * 86400 < redis.call("TTL", name()) <= 30 * 86400


def test_name_of_the_key(redis, driver):
    digest = [hashlib.sha256(text.encode()).hexdigest() for text in (CLIENT, KEY)]
    assert name() == f"echora:idem:v1:{digest[0]}:{PATH}:{digest[1]}"
    assert driver()("name", *WHERE) == [name(), hashlib.sha256(name().encode()).hexdigest()]
    begin(driver())
    assert redis.call("KEYS", "*") == [name().encode()]


def test_same_request_meanwhile_is_busy(redis, driver):
    a, b = driver(), driver()
    claim = claimed(a)
    outcome, left = begin(b)
    assert outcome == "busy" and 0 < int(left) <= 30000
    assert fields(redis)["token"] == claim[1]


def test_other_request_is_a_mismatch_in_every_state(redis, driver):
    d = driver()
    claim = claimed(d)
    assert begin(d, "other") == ["mismatch"]
    expire_lease(redis)
    assert begin(d, "other") == ["mismatch"]
    assert finish(d, claim) == "kept"
    assert begin(d, "other") == ["mismatch"]
    assert fields(redis)["state"] == "done"


def test_done_is_replayed_byte_for_byte(redis, driver):
    a, b = driver(), driver()
    body = "x" * 60000 + " é \" \\"
    assert finish(a, claimed(a), 201, body, "application/problem+json", "/workflow/runs/7") == "kept"
    assert 29.9 * 86400 < redis.call("TTL", name()) <= 30 * 86400
    assert begin(b) == ["replay", "201", "application/problem+json", "/workflow/runs/7", body]


def test_body_has_a_largest_size(driver):
    d = driver()
    claim = claimed(d)
    with pytest.raises(Failed) as caught:
        finish(d, claim, body="x" * (64 * 1024 + 1))
    assert (caught.value.kind, caught.value.code) == ("reject", "too-large")
    assert finish(d, claim, body="x" * (64 * 1024)) == "kept"
    assert len(begin(d)[4]) == 64 * 1024


def test_lease_that_is_over_is_taken_over(redis, driver):
    stale, other = driver(), driver()
    old = claimed(stale)
    expire_lease(redis)
    outcome, *new = begin(other)
    assert (outcome, int(new[1])) == ("takeover", int(old[1]) + 1)
    assert stale("renew", *WHERE, *old) == ["lost"]
    assert stale("release", *WHERE, *old) == ["lost"]
    assert finish(stale, old, body="stale") == "lost"
    assert finish(stale, [old[0], new[1]], body="stale") == "lost", "owner and token both count"
    assert finish(stale, [new[0], old[1]], body="stale") == "lost"
    assert other("renew", *WHERE, *new) == ["kept"]
    assert finish(other, new, body="mine") == "kept"
    assert finish(stale, old, body="stale") == "lost"
    assert begin(stale)[4] == "mine"


def test_renewal_keeps_the_lease(redis, driver):
    d = driver()
    claim = claimed(d)
    expire_lease(redis)
    assert d("renew", *WHERE, *claim) == ["kept"], "nobody has taken it"
    outcome, left = begin(driver())
    assert outcome == "busy" and int(left) > 20000


def test_released_may_be_begun_by_any_request_with_a_higher_token(redis, driver):
    d = driver()
    claim = claimed(d)
    assert d("release", *WHERE, *claim) == ["kept"]
    assert d("release", *WHERE, *claim) == ["kept"], "said twice"
    assert finish(d, claim) == "lost"
    outcome, *again = begin(d, "mended body")
    assert (outcome, int(again[1])) == ("new", int(claim[1]) + 1)
    assert d("release", *WHERE, *claim) == ["lost"]
    assert finish(d, again) == "kept"
    assert begin(d, "mended body")[0] == "replay"


def test_finish_said_twice_is_one(driver):
    d = driver()
    claim = claimed(d)
    assert finish(d, claim, body="first") == "kept"
    assert finish(d, claim, body="second") == "kept"
    assert begin(d)[4] == "first"
    assert d("renew", *WHERE, *claim) == ["lost"]
    assert d("release", *WHERE, *claim) == ["lost"]


@pytest.mark.parametrize("n", [2, 5])
def test_lost_answer_of_begin_is_no_second_owner(redis, driver, proxy, n):
    """The script ran, its answer did not come: the same owner asks again and holds it, with one token."""
    between = proxy(redis)
    d = driver(url=f"redis://127.0.0.1:{between.port}", timeout_ms=20000)
    d("eval", "return 1")
    for i in range(n):
        key = f"lost-{i}"
        rule = between.plan("lose-answer", match=b"EVALSHA")
        outcome, owner, token = d("begin", CLIENT, PATH, key, "body")
        assert (outcome, rule.hits) == ("new", 1)
        assert (fields(redis, key)["owner"], fields(redis, key)["token"]) == (owner, token)
        rule = between.plan("lose-answer", match=b"EVALSHA")
        assert d("finish", CLIENT, PATH, key, owner, token, 200, "", "", "b") == ["kept"]
        assert rule.hits == 1


def test_one_of_a_thousand_claims(redis, driver):
    """Ten processes with 100 threads each begin the same key at once."""
    drivers = [driver(timeout_ms=60000) for _ in range(10)]
    for round_ in range(3):
        for d in drivers:
            d.send("storm", 100, CLIENT, PATH, f"key-{round_}", "body")
        outcomes = [sum(column) for column in zip(*([int(n) for n in d.receive()] for d in drivers))]
        assert outcomes == [1, 0, 0, 0, 999, 0], "new, takeover, mismatch, replay, busy, failed"


STEPS = ("begin", "renew", "finish", "release")


def step(driver, which, claim):
    if which == "begin":
        return begin(driver)
    if which == "finish":
        return [finish(driver, claim)]
    return driver(which, *WHERE, *claim)


@pytest.mark.parametrize("which", STEPS)
@pytest.mark.parametrize("trouble", ["killed", "paused"])
def test_redis_away_at_each_step(redis, driver, which, trouble):
    """Nothing is known, and that is what is said; back again, what was written within the last second may be gone,
    the rest stands."""
    d = driver(timeout_ms=500)
    claim = claimed(d) if which != "begin" else None
    if claim:  # as old as the promise of the file
        eventually(lambda: b"aof_pending_bio_fsync:0" in redis.call("INFO", "persistence"), what="written")
        time.sleep(1.2)
    (redis.kill if trouble == "killed" else redis.pause)()
    with pytest.raises(Failed) as caught:
        step(d, which, claim)
    assert caught.value.kind == "unavailable"
    (redis.start if trouble == "killed" else redis.resume)()

    def again():
        try:
            return step(d, which, claim)
        except Failed:
            return None
    answer = eventually(again, what="it serves again")
    if which == "begin":
        # Paused, it may have done what it was sent before: then somebody else's claim stands.
        assert answer[0] in (("new",) if trouble == "killed" else ("new", "busy"))
    else:
        assert answer == ["kept"]


def test_emptied_it_gives_a_higher_token_than_ever(redis, driver):
    """Or else who keeps replies would take the next one for somebody late."""
    d = driver()
    highest = 0
    for _ in range(3):
        for _ in range(20):
            claim = claimed(d)
            assert int(claim[1]) > highest
            highest = int(claim[1])
            assert d("release", *WHERE, *claim) == ["kept"]
        redis.call("FLUSHALL")


@pytest.mark.parametrize("which", STEPS)
def test_redis_emptied_at_each_step(redis, driver, which):
    """A claim that was forgotten is lost, and says so; the next begin starts anew."""
    d = driver()
    claim = claimed(d)
    redis.call("FLUSHALL")
    if which == "begin":
        assert begin(d)[0] == "new"
    else:
        assert step(d, which, claim) == ["lost"]
        assert redis.call("EXISTS", name()) == 0, "nothing is made of nothing"


def test_done_survives_kill(redis, driver):
    d = driver()
    assert finish(d, claimed(d), body="kept") == "kept"
    time.sleep(1.5)  # everysec
    redis.kill()
    redis.start()
    assert eventually(lambda: begin(driver()), what="begin")[4] == "kept"


def test_foreign_value_under_a_key_is_refused(redis, driver):
    redis.call("SET", name(), "x")
    with pytest.raises(Failed) as caught:
        begin(driver())
    assert (caught.value.kind, caught.value.code) == ("reject", "redis-wrongtype")
    redis.call("DEL", name())
    redis.call("HSET", name(), "state", "done", "fp", fingerprint())
    with pytest.raises(Failed) as caught:
        begin(driver())
    assert caught.value.code == "redis-reply"


def fingerprint():
    return hashlib.sha256(f"POST\n{PATH}\n\na/b\nbody".encode()).hexdigest()


# ---- rates ----

def oracle(quota, window, times):
    """Token bucket with fractions of seconds, told apart from GCRA: which of these moments are served."""
    level, last, out = float(quota), None, []
    for t in times:
        level = min(quota, level + (0 if last is None else (t - last) * quota / window))
        last = t
        out.append(level >= 1)
        level -= level >= 1
    return out


def test_rate_is_shared_by_processes(redis, driver):
    a, b = driver(), driver()
    answers = [(a if i % 2 else b)("spend", "client", "execute", 60, 3600) for i in range(62)]
    assert [x[0] for x in answers] == ["allowed"] * 60 + ["refused"] * 2
    assert [int(x[1]) for x in answers] == [*range(59, -1, -1), 0, 0]
    assert {x[3] for x in answers} == {"shared"}
    assert 50 < int(answers[-1][2]) <= 60, "one unit a minute"
    assert a("spend", "other", "execute", 60, 3600)[0] == "allowed"
    assert a("spend", "client", "read", 60, 3600)[0] == "allowed"
    names = redis.call("KEYS", "*")
    assert len(names) == 3 and f"echora:rl:v1:{hashlib.sha256(b'client').hexdigest()}:read".encode() in names
    assert all(0 < redis.call("TTL", n) <= 3600 for n in names)


def test_rate_comes_back_at_its_pace(redis, driver):
    """Against wall time: never more than the oracle lets through, and at the end as many."""
    d, times, served = driver(), [], []
    began = time.monotonic()
    while time.monotonic() - began < 3:
        before = time.monotonic()
        served.append(d("spend", "c", "x", 20, 2)[0] == "allowed")
        times.append((before, time.monotonic()))
    total = sum(served)
    assert sum(oracle(20, 2, [b for b, _ in times])) - 2 <= total <= 20 + 10 * (times[-1][1] - times[0][0]) + 1


def test_without_redis_local_buckets_tell(redis, driver):
    d = driver(timeout_ms=500)
    assert d("spend", "c", "x", 5, 3600)[3] == "shared"
    redis.kill()
    answers = [d("spend", "c", "x", 5, 3600) for _ in range(7)]
    assert [a[0] for a in answers] == ["allowed"] * 5 + ["refused"] * 2
    assert {a[3] for a in answers} == {"local"}
    redis.start()
    assert eventually(lambda: d("spend", "c", "x", 5, 3600)[3] == "shared", what="Redis tells again")


def test_bucket_of_another_clock_heals(redis, driver):
    """A server whose clock was set back must not refuse for years."""
    d = driver()
    d("spend", "c", "x", 5, 5)
    key = redis.call("KEYS", "*")[0]
    redis.call("SET", key, 9e15)
    assert d("spend", "c", "x", 5, 5)[:1] == ["refused"]
    redis.call("SET", key, 9e15)
    assert int(d("spend", "c", "x", 5, 5)[2]) <= 1
