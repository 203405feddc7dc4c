"""A claim that is taken over while its first owner still works: one effect, and two answers that are both true."""
import asyncio
import contextlib
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from chaos.test_command_api import end_leases
from harness.gateway import CommandApi, Responder, drained, parsed, refusal, reply
from harness.process import eventually
from harness.reviews import Reviews

from ops.fleet import system

FINALIZE = ("/workflow/finalize-run", {"run_id": 7})
LEASE = 30  # seconds


class Two:
    """Two processes of the API on one Redis, asked at their sockets with the same key."""

    def __init__(self, spawn, redis, folder, faults="", **servers):
        self.pool, self.redis = ThreadPoolExecutor(2), redis
        self.first, self.second = (self.one(spawn, folder / name, faults) for name in ("first", "second"))
        self.second.key = self.first.key
        self.first.start(nginx=False, **servers)
        self.second.start(nginx=False)

    def one(self, spawn, folder, faults):
        folder.mkdir()
        system.own(folder)
        return CommandApi(spawn, self.redis, folder, env={"PLANTED_FAULTS": faults})

    @staticmethod
    def ask(api, path, body, headers=()):
        sent = api.request(method="POST", uri=path, body=json.dumps(body).encode(),
                           headers=[("HTTP_IDEMPOTENCY_KEY", "k"), *headers])
        with api.connect(wait=60) as s:
            s.sendall(sent)
            return parsed(drained(s))

    def ask_first(self, *what, **more):
        return self.pool.submit(self.ask, self.first, *what, **more)

    def ask_second(self, *what, **more):
        return self.ask(self.second, *what, **more)


def told_to_come_again(answer, why):
    assert answer.status == 409 and answer.code == "request_in_progress" and "retry-after" in answer.headers, \
        f"{why}: {answer}"


@contextlib.contextmanager
def stopped(process):
    process.pause()
    try:
        yield
    finally:
        process.resume()


class Keeper:
    """A scripted responder for workflow calls, which keeps keys as the protocol asks. The first asked has its effect at
    once, and answers when it is let go."""

    def __init__(self, bus, subject):
        self.bus, self.effects, self.kept, self.let_go = bus, 0, {}, threading.Event()
        self.responder = Responder(bus, subject)
        self.responder.answers[subject] = self.answer

    async def answer(self, message):
        key, _, token = message.headers["Echora-Idem"].partition(":")
        if key in self.kept:
            highest, answer = self.kept[key]
            self.kept[key] = max(highest, int(token)), answer
            return answer if int(token) >= highest else refusal(409, "request_in_progress")
        self.effects += 1
        answer = reply(200, {"run_id": 7, "nth": self.effects})
        self.kept[key] = int(token), answer
        asyncio.ensure_future(self.later(message, answer))
        return None

    async def later(self, message, answer):
        while not self.let_go.is_set():
            await asyncio.sleep(0.02)
        await self.bus.nc.publish(message.reply, answer[1], headers=answer[0])


def over(two, wait):
    if wait:
        time.sleep(LEASE + 1)
    else:
        end_leases(two.redis)


def stopped_behind_its_effect(two, streams, wait=False):
    """The first owner stands still until its lease is over; the reply to it is on its way."""
    keeper = Keeper(streams.bus("workflow"), "command.finalize-run")
    first = two.ask_first(*FINALIZE)
    eventually(lambda: keeper.effects, 10, "the effect")
    with stopped(two.first.worker):
        told_to_come_again(two.ask_second(*FINALIZE), "its lease is not over")
        over(two, wait)
        keeper.let_go.set()
        second = two.ask_second(*FINALIZE)
        assert second.status == 200 and second.json == {"run_id": 7, "nth": 1}, second
    if wait:  # it may have heard that it is too late
        assert first.result().status in (409, 504), "the old owner's finish was taken"
    else:
        told_to_come_again(first.result(), "the old owner's finish was taken")
    assert keeper.effects == 1
    for ask in (two.ask_first(*FINALIZE).result(), two.ask_second(*FINALIZE)):
        assert (ask.body, ask.headers["idempotent-replayed"]) == (second.body, "true")


@pytest.mark.chaos(fault="paused: the owner of a claim, until another has it", place="command-api",
                   checks="one effect; the new owner tells it, the old one tells to come again")
def test_stopped_behind_its_effect(spawn, redis, streams, folder):
    stopped_behind_its_effect(Two(spawn, redis, folder), streams)


@pytest.mark.long
@pytest.mark.chaos(fault="paused: the owner of a claim, longer than its lease", place="command-api",
                   checks="one effect; the new owner tells it, the old one tells to come again")
def test_stopped_for_longer_than_a_lease(spawn, redis, streams, folder):
    stopped_behind_its_effect(Two(spawn, redis, folder), streams, wait=True)


@pytest.mark.chaos(fault="guard taken away: whose claim it is, when an answer is kept", place="command-api",
                   checks="the scenario turns red")
def test_an_old_owner_that_finishes_is_seen(spawn, redis, streams, folder):
    with pytest.raises(AssertionError, match="old owner's finish was taken"):
        stopped_behind_its_effect(Two(spawn, redis, folder, "finish-unfenced"), streams)


def stopped_before_its_effect(proxy, spawn, redis, db, streams, folder, faults=""):
    """What the first owner asks for comes to the catalogue when the second one has it done."""
    spawn("catalogue", env={"PLANTED_FAULTS": faults})
    by = proxy(streams.server)
    two = Two(spawn, redis, folder, faults, nats=Behind(streams, by.port))
    reviews = Reviews(streams, db)
    anime_id = reviews.living(title="Right")
    review_id, _ = reviews.park(anime_id, title="Wrong")
    call = f"/updates/{review_id}/decision", {"decision": "approve", "reviewed_by": "anna"}
    rule = by.plan("hold", b"HPUB catalog.review.decide")
    first = two.ask_first(*call)
    rule.wait()
    with stopped(two.first.worker):
        end_leases(redis)
        second = two.ask_second(*call)
        assert second.status == 200 and second.json["state"] == "approved", second
        revision = reviews.value(anime_id, "revision")
    rule.release()
    told_to_come_again(first.result(), "what a stale owner asked was served")
    assert two.ask_first(*call).result().body == second.body
    assert (reviews.value(anime_id), reviews.value(anime_id, "revision")) == ("Wrong", revision)
    assert len(reviews.audits()) == 1


class Behind:
    """The nats-server as who goes through a proxy sees it."""

    def __init__(self, server, port):
        self.server, self.url = server, f"nats://127.0.0.1:{port}"

    def __getattr__(self, name):
        return getattr(self.server, name)


@pytest.mark.chaos(fault="paused: the owner of a claim, its request late", place="command-api, nats, catalogue",
                   checks="one effect; the late request is refused")
def test_stopped_before_its_effect(proxy, spawn, redis, db, streams, folder):
    stopped_before_its_effect(proxy, spawn, redis, db, streams, folder)


@pytest.mark.chaos(fault="guard taken away: tokens of stale owners, and whose claim it is", place="catalogue",
                   checks="the scenario turns red")
def test_a_stale_owner_that_is_served_is_seen(proxy, spawn, redis, db, streams, folder):
    with pytest.raises(AssertionError, match="stale owner asked was served"):
        stopped_before_its_effect(proxy, spawn, redis, db, streams, folder, "stale-token-served,finish-unfenced")


def slower_than_a_lease(two, streams):
    """Who still works keeps its claim, however long that takes."""
    keeper = Keeper(streams.bus("workflow"), "command.build-diff")
    call = "/workflow/build-diff", {"run_id": 7}
    wait = [("HTTP_PREFER", "wait=25")]
    began = time.monotonic()
    first = two.ask_first(*call, headers=wait)
    eventually(lambda: keeper.effects, 10, "the effect")
    time.sleep(began + LEASE + 1 - time.monotonic())
    second = two.ask_second(*call, headers=wait)
    keeper.let_go.set()
    told_to_come_again(second, "taken over though its owner worked")
    assert first.result().status == 200 and keeper.effects == len(keeper.responder.asked) == 1


@pytest.mark.long
@pytest.mark.chaos(fault="slow: a responder, longer than a lease", place="command-api", checks="the claim is renewed")
def test_slower_than_a_lease(spawn, redis, streams, folder):
    slower_than_a_lease(Two(spawn, redis, folder), streams)


@pytest.mark.long
@pytest.mark.chaos(fault="guard taken away: renewal of claims", place="command-api", checks="the scenario turns red")
def test_a_claim_that_is_not_renewed_is_seen(spawn, redis, streams, folder):
    with pytest.raises(AssertionError, match="taken over though its owner worked"):
        slower_than_a_lease(Two(spawn, redis, folder, "claim-unrenewed"), streams)
