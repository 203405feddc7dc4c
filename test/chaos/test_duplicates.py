"""One call ten thousand times at once, with one Idempotency-Key, while the API, Redis, nginx and whoever answers are
killed: one effect, and one answer for all."""
import asyncio
import json
import random
import threading

import pytest

from chaos import duplicates
from chaos.test_command_api import end_leases
from harness.dead_letters import DeadLetters
from harness.gateway import Responder, refusal, reply
from harness.process import eventually, steady
from harness.reviews import Reviews
from harness.settings import LONG

N = 10_000 if LONG else 300
LETTERS = 20


class Decision:
    """POST /updates/{event_id}/decision: the catalogue worker, and PostgreSQL."""
    points = ("before-reply:1", "before-commit:1", "after-commit:1")

    def __init__(self, api, db, streams, spawn, faults):
        self.process = spawn("catalogue", env={"PLANTED_FAULTS": faults})
        self.reviews, self.db = Reviews(streams, db), db
        before = self.rows()
        twin, _ = self.reviews.park(self.reviews.living(title="Right"), title="Wrong")
        parked = self.rows()
        self.reviews.approve(twin)
        self.wanted = [b - a for a, b in zip(parked, self.rows())]
        assert before != parked and all(self.wanted)
        self.anime_id = self.reviews.living(title="Right")
        self.review, _ = self.reviews.park(self.anime_id, title="Wrong")
        self.before, self.revision = self.rows(), self.reviews.value(self.anime_id, "revision")
        self.path, self.body = f"/updates/{self.review}/decision", {"decision": "approve", "reviewed_by": "anna"}
        self.victim = duplicates.worker(self.process, self.points)

    def rows(self):
        """Decisions, rows of the outbox (audit records among them), revisions of the catalogue."""
        return [self.db.one(q) for q in ("SELECT count(*) FROM catalog.inbox WHERE consumer = 'catalog-review'",
                                         "SELECT count(*) FROM catalog.outbox",
                                         "SELECT count(*) FROM catalog.outbox WHERE subject = 'audit.catalog'",
                                         "SELECT sum(revision)::int FROM catalog.anime")]

    def is_there(self):
        assert self.reviews.value(self.anime_id) == "Wrong", "success was told of an effect that is not"

    def check(self, answer):
        assert [b - a for a, b in zip(self.before, self.rows())] == self.wanted, "more than one effect"
        assert self.reviews.value(self.anime_id, "revision") == self.revision + 1 == answer["revision"]
        assert (answer["state"], self.reviews.state(self.review)) == ("approved", "approved")


class Replay:
    """POST /dlq/replay: the dead-letter worker, its plan in PostgreSQL, its events in NATS."""
    path, body = "/dlq/replay", {"filter": {"code": "bad-uuid"}}
    points = ("before-reply:1", "before-commit:1", "replay-published:1", "replay-recorded:1")

    def __init__(self, api, db, streams, spawn, faults):
        self.db, self.dlq = db, DeadLetters(streams)
        self.process = spawn("dead-letters", env={"PLANTED_FAULTS": faults})
        for n in range(1, LETTERS + 1):
            self.dlq.write(n)
        self.dlq.indexed()
        self.victim = duplicates.worker(self.process, self.points)

    def is_there(self):
        assert self.db.one("SELECT count(*) FROM ops.replay_plan"), "success was told of an effect that is not"

    def check(self, answer):
        plans = self.db.all("SELECT id::text FROM ops.replay_plan")
        assert plans == [(answer["plan_id"],)], "more than one effect"
        eventually(lambda: len(self.dlq.replayed()) >= LETTERS, 30, "all are replayed")
        steady(lambda: sorted(int(h["Nats-Msg-Id"].split(":")[3]) for h, _ in self.dlq.replayed())
               == list(range(1, LETTERS + 1)), 0.5, "each letter once")
        assert {h["Echora-Replay-Id"] for h, _ in self.dlq.replayed()} == {answer["plan_id"]}


class Workflow:
    """POST /workflow/finalize-run: a scripted responder, which stands for the workers of the workflow that are not there
    yet. It keeps keys as the protocol asks, and its memory is what a database would be; killed, it forgets what it was
    about to answer."""
    path, body = "/workflow/finalize-run", {"run_id": 7}

    def __init__(self, api, db, streams, spawn, faults):
        self.bus, self.forgetful = streams.bus("workflow"), "reply-not-kept" in faults
        self.random, self.life, self.effects, self.kept = random.Random(7), 0, 0, {}
        self.start()
        self.victim = duplicates.Victim(self.kill, self.start)

    def start(self):
        self.responder = Responder(self.bus, "command.finalize-run")
        self.responder.answers["command.finalize-run"] = self.answer

    def kill(self):
        self.life += 1
        self.responder.close()

    def have_effect(self, message):
        """The effect and the reply of it, in one step."""
        key, _, token = (message.headers or {}).get("Echora-Idem", "").partition(":")
        if key and not self.forgetful and key in self.kept:
            highest, answer = self.kept[key]
            if int(token) < highest:
                return refusal(409, "request_in_progress")
            self.kept[key] = int(token), answer
            return answer
        self.effects += 1
        answer = reply(200, {"final_status": "success", "nth": self.effects})
        if key:
            self.kept[key] = int(token), answer
        return answer

    async def answer(self, message):
        life, pause = self.life, self.random.uniform(0, 0.05)
        await asyncio.sleep(pause / 2)
        if life != self.life:
            return None
        answer = self.have_effect(message)
        await asyncio.sleep(pause / 2)
        return answer if life == self.life else None

    def is_there(self):
        assert self.effects, "success was told of an effect that is not"

    def check(self, answer):
        assert self.effects == answer["nth"] == 1, "more than one effect"


def request(api, call, key):
    body = json.dumps(call.body).encode()
    return (f"POST {call.path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nIdempotency-Key: {key}\r\nAuthorization: Bearer {api.token()}\r\n\r\n"
            ).encode() + body


def one_effect(kind, api, redis, db, streams, spawn, seed, n=N, faults=""):
    """The first owner of the key dies with its work done and the answer in nobody's hands, and then Redis forgets
    everything; the next ones die at other points, and what else happens is chance, of the seed."""
    api.env.update(PLANTED_FAULTS=faults, ECHORA_REPLY_TIMEOUT="1s", PLANTED_KILL="before-finish:1")
    call = kind(api, db, streams, spawn, faults)
    api.start()
    forgotten = []

    def api_is_back():
        if not forgotten:
            forgotten.append(True)
            redis.call("FLUSHALL")
        end_leases(redis)
    victims = {"api": duplicates.worker(api.worker, ["after-claim:1", "before-finish:1", "before-answer:1"]),
               "nginx": duplicates.nginx(api), "redis": duplicates.redis(redis, False),
               "redis, emptied": duplicates.redis(redis, True), "responder": call.victim}
    storm = duplicates.Storm(api.port, request(api, call, "k"), n, seed, call.is_there)
    with duplicates.Deaths(seed, victims, {"api": api_is_back}) as deaths:
        storm.run()
    print(f"seed {seed}: {kind.__name__}: {n} in {storm.seconds:.1f} s, killed {dict(deaths.deaths)}, "
          f"final {[(s, c) for (s, _), c in storm.final.items()]}, {storm.replayed} replayed, "
          f"told to come again {dict(storm.told_later)}, {storm.broken} without an answer")
    assert deaths.trouble is None and deaths.deaths["api"] and forgotten
    assert storm.strange == [], storm.strange[:3]
    ((status, body), count), *others = storm.final.items()
    assert not others and count == n, f"more than one answer: {storm.final}"
    for process in (api.worker, getattr(call, "process", None)):  # what follows is looked at in peace
        if process and not process.alive():
            process.env.pop("PLANTED_KILL", None)
            process.start()
    call.check(json.loads(body))


KINDS = [Decision, Replay, Workflow]


@pytest.mark.chaos(fault="kill -9: all of them, again and again, under one call many times at once; Redis emptied",
                   place="command-api, redis, nginx, catalogue, dead-letters",
                   checks="one effect, one answer, told only when it is there, else told to come again")
@pytest.mark.parametrize("kind", KINDS)
def test_duplicates(kind, api, redis, db, streams, spawn):
    one_effect(kind, api, redis, db, streams, spawn, seed=random.randrange(10**6))


def redis_is_away(api, redis, db, streams, spawn, faults=""):
    """What can't be claimed is not begun."""
    api.env["PLANTED_FAULTS"] = faults
    call = Workflow(api, db, streams, spawn, "")
    api.start()
    redis.kill()
    storm = duplicates.Storm(api.port, request(api, call, "k"), 50, 0)
    back = threading.Thread(target=lambda: (eventually(lambda: storm.told_later or call.effects, 20), redis.start()))
    back.start()
    storm.run()
    back.join()
    assert call.effects == len(storm.final) == 1 and storm.told_later, "more than one effect"


@pytest.mark.chaos(fault="kill -9: Redis, before a call many times at once", place="redis", checks="one effect")
def test_redis_is_away(api, redis, db, streams, spawn):
    redis_is_away(api, redis, db, streams, spawn)


# The catalogue has one effect without a kept reply, too: a decision that was taken is taken.
GUARDS = [("reply-not-kept", Replay), ("reply-not-kept", Workflow), ("claim-left-out", Replay), ("claim-left-out", Workflow),
          ("claim-for-granted", None)]


@pytest.mark.chaos(fault="guard taken away: claims, with and without Redis; the responder's own record", place="command-api",
                   checks="the scenario turns red")
@pytest.mark.parametrize("fault, kind", GUARDS)
def test_duplicates_without_a_guard(kind, fault, api, redis, db, streams, spawn):
    with pytest.raises(AssertionError, match="more than one"):
        if kind:
            one_effect(kind, api, redis, db, streams, spawn, seed=1, n=40, faults=fault)
        else:
            redis_is_away(api, redis, db, streams, spawn, fault)


@pytest.mark.chaos(fault="emptied: Redis, after an effect that took many tries", place="redis",
                   checks="the first who asks again is told")
def test_redis_forgets_a_high_token(api, redis, db, streams, spawn):
    """Many tries came to nothing before one had its effect; then Redis forgets how many there were."""
    api.start()
    for _ in range(20):
        assert api.post(Replay.path, Replay.body, key="k").status == 503, "nobody answers yet"
    call = Replay(api, db, streams, spawn, "")
    first = api.post(call.path, call.body, key="k")
    assert first.status == 202
    redis.call("FLUSHALL")
    again = api.post(call.path, call.body, key="k")
    assert (again.status, again.body) == (202, first.body), f"what was done is not told: {again}"
    call.check(first.json)
