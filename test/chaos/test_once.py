"""One effect per Idempotency-Key: in Redis, and with those who answer, whoever dies and whatever Redis forgets."""
import signal

import pytest

from harness import idempotency
from harness.dead_letters import DeadLetters, Refused
from harness.once import key_hash, plans
from harness.process import eventually
from harness.redis_driver import Driver
from harness.reviews import Reviews

ALL = {"filter": {"code": "bad-uuid"}, "dryRun": True}


@pytest.fixture
def driver(redis):
    made = []

    def start(**options):
        made.append(Driver(redis, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()


def finish(driver, claim, body):
    return driver("finish", *idempotency.WHERE, *claim, 200, "application/json", "", body)[0]


# ---- Redis ----

def stale_owner_finishes(redis, driver, fault=""):
    """Whose lease was taken over may not put an answer in the place of the new owner's."""
    stale, other = driver(faults=fault), driver(faults=fault)
    old = idempotency.claimed(stale)
    idempotency.expire_lease(redis)
    outcome, *new = idempotency.begin(other)
    assert (outcome, int(new[1])) == ("takeover", int(old[1]) + 1)
    assert finish(stale, old, "stale") == "lost"
    assert finish(other, new, "mine") == "kept"
    assert idempotency.begin(stale)[-1] == "mine"


def other_request_under_the_key(redis, driver, fault=""):
    """Another body under a key that was used must not get the first one's answer."""
    d = driver(faults=fault)
    assert finish(d, idempotency.claimed(d), "answer") == "kept"
    assert idempotency.begin(d, "another body") == ["mismatch"]


@pytest.mark.chaos(fault="a stale owner; another request under a used key", place="redis",
                   checks="its finish is refused; mismatch")
@pytest.mark.parametrize("scenario", [stale_owner_finishes, other_request_under_the_key])
def test_in_redis(scenario, redis, driver):
    scenario(redis, driver)


@pytest.mark.chaos(fault="planted: finish without owner and token, fingerprint unchecked", place="redis",
                   checks="the tests turn red")
@pytest.mark.parametrize("scenario, fault", [(stale_owner_finishes, "finish-unfenced"),
                                             (other_request_under_the_key, "fingerprint-unchecked")])
def test_in_redis_without_its_guard(scenario, fault, redis, driver):
    with pytest.raises(AssertionError):
        scenario(redis, driver, fault)


# ---- those who answer ----

class Asked:
    """dlq.replay under the key's hash, with a token: as the Command API passes it on."""

    def __init__(self, streams, db, spawn, env=None):
        self.dlq, self.db = DeadLetters(streams), db
        self.worker = spawn("dead-letters", env=env)
        self.dlq.write(1)
        self.dlq.indexed()

    def ask(self, token=1, timeout=10):
        headers = {"Echora-Idem": f"{key_hash(idempotency.name())}:{token}"}
        return self.dlq.ask("dlq.replay", headers=headers, timeout=timeout, **ALL)

    def dies(self, token=1):
        with pytest.raises(Exception, match="(?i)timeout|responders"):
            self.ask(token, timeout=3)
        assert self.worker.wait() == -signal.SIGKILL

    def restart(self):
        del self.worker.env["PLANTED_KILL"]
        self.worker.start()


def repeated_request(streams, db, spawn, fault=""):
    asked = Asked(streams, db, spawn, env={"PLANTED_FAULTS": fault})
    first = asked.ask()
    assert asked.ask() == first and asked.ask(2) == first
    assert plans(db) == 1


def request_of_a_stale_owner(streams, db, spawn, fault=""):
    asked = Asked(streams, db, spawn, env={"PLANTED_FAULTS": fault})
    asked.ask(2)
    try:
        said = asked.ask(1)
    except Refused as e:
        said = e.args[0]
    assert said == "stale-token"


@pytest.mark.chaos(fault="a request comes again; a stale owner's comes late", place="dead-letters",
                   checks="one effect, the same reply; refused")
@pytest.mark.parametrize("scenario", [repeated_request, request_of_a_stale_owner])
def test_with_who_answers(scenario, streams, db, spawn):
    scenario(streams, db, spawn)


@pytest.mark.chaos(fault="planted: the reply not kept, a stale token served", place="dead-letters",
                   checks="the tests turn red")
@pytest.mark.parametrize("scenario, fault", [(repeated_request, "reply-not-kept"),
                                             (request_of_a_stale_owner, "stale-token-served")])
def test_with_who_answers_without_its_guard(scenario, fault, streams, db, spawn):
    with pytest.raises(AssertionError):
        scenario(streams, db, spawn, fault)


@pytest.mark.chaos(fault="kill -9: before commit, between commit and reply; Redis emptied", place="dead-letters, redis",
                   checks="the stored reply, one effect")
@pytest.mark.parametrize("point, done", [("before-commit", 0), ("before-reply", 1)])
@pytest.mark.parametrize("emptied", [False, True])
def test_killed_around_its_effect(redis, driver, streams, db, spawn, point, done, emptied):
    """Whoever asks next has a higher token, also when Redis forgot, and gets the one reply."""
    d = driver()
    _, first = idempotency.claimed(d)
    asked = Asked(streams, db, spawn, env={"PLANTED_KILL": point})
    asked.dies(first)
    assert plans(db) == done
    plan = db.one("SELECT id::text FROM ops.replay_plan")
    if emptied:
        redis.call("FLUSHALL")
    else:
        idempotency.expire_lease(redis)
    outcome, _, token = idempotency.begin(d)
    assert outcome == ("new" if emptied else "takeover") and int(token) > int(first)
    asked.restart()
    reply = eventually(lambda: _answered(asked, token), what="answered")
    assert plans(db) == 1 and reply["plan"]["id"] == (plan or reply["plan"]["id"])
    assert asked.ask(token) == reply


def _answered(asked, token):
    try:
        return asked.ask(token)
    except Exception as e:  # not back yet
        assert "responders" in str(e).lower() or "timeout" in str(e).lower() or isinstance(e, Refused), e
        return None


@pytest.mark.chaos(fault="kill -9: before commit, between commit and reply of a decision", place="catalogue",
                   checks="the stored reply, one revision, one audit record")
@pytest.mark.parametrize("point, state", [("before-commit", "pending"), ("after-commit", "approved"),
                                          ("before-reply", "approved")])
def test_killed_around_a_decision(streams, db, spawn, point, state):
    worker = spawn("catalogue")
    reviews = Reviews(streams, db)
    anime_id = reviews.living()
    review, _ = reviews.park(anime_id, title="Wrong")
    worker.stop()
    worker.env["PLANTED_KILL"] = point
    worker.start()
    headers = {"Echora-Idem": f"{key_hash('decision')}:1"}
    with pytest.raises(Exception, match="(?i)timeout|responders"):
        reviews.ask("decide", headers=headers, timeout=3, reviewId=review, decision="approve", reviewedBy="anna")
    assert worker.wait() == -signal.SIGKILL
    assert reviews.state(review) == state
    del worker.env["PLANTED_KILL"]
    worker.start()
    headers = {"Echora-Idem": f"{key_hash('decision')}:2"}
    reply = reviews.approve(review, headers=headers)
    assert reply["state"] == "approved" and "alreadyDecided" not in reply
    assert reviews.approve(review, headers=headers) == reply
    assert reviews.value(anime_id) == "Wrong" and len(reviews.audits()) == 1
    assert int(reply["revision"]) == reviews.value(anime_id, "revision")
