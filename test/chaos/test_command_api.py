"""The Command API killed between its steps, and without its guards."""
import json
import time

import pytest

from harness.gateway import APPROVE, EXECUTE, READ, Responder, reply
from harness.half_open import HalfOpen
from harness.process import eventually, lasted_less
from harness.reviews import Reviews
from harness.settings import PATIENCE

BODY_TIME = f"{5 * PATIENCE}s"
POINTS = ("after-claim", "before-finish", "before-answer")
ROUTE, BODY = "/workflow/submit-stage6-decisions", {"run_id": 7, "entry_decisions": [
    {"entry_key": "ab" * 32, "decision": "defer", "reviewed_by": "anna"}]}


def end_leases(redis):
    """As if they were over: nobody waits half a minute here."""
    with redis.client() as client:
        for key in client.call("KEYS", "echora:idem:v1:*"):
            if client.call("HGET", key, "state") == b"pending":
                client.call("HSET", key, "lease_until", 1)


@pytest.mark.chaos(fault="kill -9: after the claim, after the effect, before the answer", place="command-api",
                   checks="one effect, the same answer to the same key")
@pytest.mark.parametrize("redis_forgets", [False, True])
def test_a_decision_is_taken_once(api, db, spawn, streams, redis, redis_forgets):
    spawn("catalogue")
    reviews = Reviews(streams, db)
    decision = {"decision": "approve", "reviewed_by": "anna"}
    api.start()
    for point in POINTS:
        anime_id = reviews.living(title="Right")
        review_id, _ = reviews.park(anime_id, title="Wrong")
        path = f"/updates/{review_id}/decision"
        api.worker.stop()
        api.worker.env["PLANTED_KILL"] = f"{point}:1"
        api.worker.start()
        api.connected()
        assert api.post(path, decision, key=point).status == 503
        api.worker.wait()
        del api.worker.env["PLANTED_KILL"]
        api.worker.start()
        api.connected()
        if redis_forgets:
            redis.wipe()
        else:
            end_leases(redis)
        answer = api.post(path, decision, key=point)
        assert (answer.status, answer.json["state"]) == (200, "approved"), (point, answer)
        assert api.post(path, decision, key=point).body == answer.body
        assert reviews.value(anime_id) == "Wrong"
    assert db.one("SELECT count(*) FROM catalog.inbox WHERE consumer = 'catalog-review'") == len(POINTS)


@pytest.fixture
def responder(streams):
    one = Responder(streams.bus("workflow"), "command.submit-stage6-decisions", "command.finalize-run")
    one.answers["command.submit-stage6-decisions"] = reply(200, {"accepted_count": 1})
    one.answers["command.finalize-run"] = reply(200, {"final_status": "success"})
    yield one
    one.close()


def approvals_are_written_down_first(api, responder, streams):
    api.post(ROUTE, BODY)

    def kinds_kept():
        return [json.loads(m.data)["kind"] for m in streams.bus().messages("AUDIT") if m.subject == "audit.command"]
    kinds = eventually(lambda: (found := kinds_kept()) and found[-1] == "outcome" and found, 10, "the outcome's record")
    assert kinds == ["intent", "outcome"], "an approval left no intent"


def a_key_is_for_one_effect(api, responder, streams):
    for _ in range(2):
        assert api.post("/workflow/finalize-run", {"run_id": 7}, key="k").status == 200
    assert len(responder.asked) == 1, "a key was good for two effects"


def scopes_are_asked_for(api, responder, streams):
    for scope in (READ, EXECUTE):
        assert api.post(ROUTE, BODY, scope=scope).status == 403, "a scope was not asked for"
    assert api.post(ROUTE, BODY, scope=APPROVE).status == 200


def slow_bodies_lock_nobody_out(api, responder, streams):
    """More of them than there are threads, twice over."""
    with HalfOpen(api.port, api.socket, api.file("token", api.token()), bodies=200):
        began = time.monotonic()
        for n in range(5):
            assert api.post_at_once("/workflow/finalize-run", {"run_id": 7}, f"good-{n}").status == 200, "locked out"
            assert lasted_less(began, 4), "locked out"


GUARDS = {"intent-unwritten": approvals_are_written_down_first, "claim-left-out": a_key_is_for_one_effect,
          "scope-unchecked": scopes_are_asked_for,
          "slow-unlimited": slow_bodies_lock_nobody_out}


@pytest.mark.chaos(fault="none", place="command-api", checks="audit, one effect, scopes, slow bodies")
@pytest.mark.parametrize("scenario", GUARDS.values())
def test_guards(api, responder, streams, scenario):
    api.env["ECHORA_BODY_TIMEOUT"] = BODY_TIME
    api.start()
    scenario(api, responder, streams)


@pytest.mark.chaos(fault="guard taken away: audit of the intent, claim of a key, scopes, few slow bodies", place="command-api",
                   checks="the scenario turns red")
@pytest.mark.parametrize("fault", GUARDS)
def test_without_a_guard(api, responder, streams, fault):
    api.env.update(PLANTED_FAULTS=fault, ECHORA_BODY_TIMEOUT=BODY_TIME)
    api.start()
    with pytest.raises(AssertionError, match="left no intent|two effects|not asked for|locked out"):
        GUARDS[fault](api, responder, streams)
