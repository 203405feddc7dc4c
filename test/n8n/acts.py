"""The workflows of ops/n8n act: a real n8n, the whole fleet and the Command API on loopback. Started by test/n8n/run.

Nothing is scripted but the chat, and one responder in one test, which says so. Each test's `echora dev-issuer` has a
key of its own, so n8n's token of the test before is refused and renewed by the way; the ports stay.
"""
import asyncio
import contextlib
import json
import re
import signal
import socketserver
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from harness.catalogue import anime, new_id
from harness.chain import SYNC
from harness.dead_letters import DeadLetters
from harness.fleet import reachable_copy
from harness.gateway import Responder
from harness.process import Process, eventually
from harness.reviews import Reviews
from harness.settings import BUILD, LONG
from n8n.server import LOGIN, PATIENCE, REVIEWER, SECRETS, StandIn, alerts, event_of, running, send, wait
from ops.fleet import system
from ops.fleet.fleet import CLIENTS, client_table
from ops.n8n import credentials

PORTS = {"api": system.free_port(), "issuer": system.free_port()}
CLIENT_SECRETS = {name: f"secret-of-{name}" for name in CLIENTS}
ISSUER = f"http://127.0.0.1:{PORTS['issuer']}"
WEBHOOKS = {"dlq": "dlq-triage", "risk": "risky-update", "review": "review-ready"}  # by the adapter's routes
SMALL = {"ECHORA_DECODE_MAX": "64KiB"}  # a writer that refuses large events, until it is mended
LONG_TEXT = "A long story. " * 10000


@pytest.fixture(scope="module")
def chat():
    server = StandIn()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def n8n(chat):
    clients = [(name, CLIENT_SECRETS[name]) for name in ("n8n", "n8n-approve")]
    rows = credentials.document(f"{ISSUER}/oauth2/token", *clients, REVIEWER)
    with running(f"{chat.url}/alert", rows, ECHORA_COMMAND_API_URL=f"http://127.0.0.1:{PORTS['api']}",
                 ECHORA_TRIAGE_REPLAY="pg-40001, too-large") as one:
        yield one


class Fleet(Reviews):
    """Everything but Qdrant's sync, the catalogue and the dead letters' worker, which the tests start themselves."""

    def __init__(self, streams, db, qdrant, api, adapter, n8n, chat, folder):
        super().__init__(streams, db)
        self.qdrant, self.api, self.adapter, self.n8n, self.chat, self.folder = qdrant, api, adapter, n8n, chat, folder
        self.letters, self.before, self.issuer = DeadLetters(streams), len(chat.calls), None

    def start(self):
        self.issue()
        self.api.port = PORTS["api"]
        self.api.env.update(ECHORA_ISSUER=ISSUER, ECHORA_JWKS=f"{ISSUER}/jwks", ECHORA_DEV="true", ECHORA_REPLY_TIMEOUT="25s",
                            ECHORA_CLIENTS=self.api.file("table.json", client_table()))
        self.api.start()
        return self

    def issue(self):
        """Starts the issuer; again, and it has another key."""
        if self.issuer:
            self.issuer.stop()
        secrets = self.api.file("client-secrets", "".join(f"{n} {s}\n" for n, s in CLIENT_SECRETS.items()))
        argv = [reachable_copy(BUILD / "ops/echora", self.folder), "dev-issuer", "--listen",
                f"127.0.0.1:{PORTS['issuer']}", "--secrets-file", secrets]
        self.issuer = Process("dev-issuer", argv, self.folder, ready=lambda: system.port_open(PORTS["issuer"]))
        self.issuer.start()

    def another_key(self, status):
        """The issuer starts with another key, and the API reads it; until `status`, of the old one's token, is 401."""
        self.issue()
        self.api.worker.send_signal(signal.SIGHUP)
        eventually(lambda: status() == 401, 20, "the new key is read, the old one forgotten")

    def token(self):
        """One of n8n's client that approves."""
        form = {"grant_type": "client_credentials", "scope": "workflow.approve"}
        auth = ("n8n-approve", CLIENT_SECRETS["n8n-approve"])
        return httpx.post(f"{ISSUER}/oauth2/token", data=form, auth=auth).json()["access_token"]

    def tell_n8n(self):
        """Starts the adapter, with a secret for each route."""
        files = {}
        for route, name in WEBHOOKS.items():
            files[f"{route}_secret_files"] = self.adapter.folder / f"secret-{route}"
            files[f"{route}_secret_files"].write_text(SECRETS[name] + "\n")
            files[f"{route}_secret_files"].chmod(0o644)
        self.adapter.start(f"http://127.0.0.1:{self.n8n.port}", call_timeout="45s", retry_longest="5s", only_202="true",
                           **files)

    # What people see and do ------------------------------------------------------------------------

    def told(self, n=1):
        """The n-th message since this test began, when there is one."""
        return wait(lambda: alerts(self.chat, self.before)[n - 1:n], f"message {n}", self.seen, PATIENCE)[0]

    def messages(self):
        return alerts(self.chat, self.before)

    def fill_in(self, form, *answers):
        """As soon as the form is there: while an execution is at work, n8n leaves its form without an answer."""
        wait(lambda: self.n8n.request("GET", form, LOGIN, None, timeout=5)[0] == 200, "the form", self.seen, PATIENCE)
        assert self.n8n.submit(form, LOGIN, *answers) == 200

    def over(self, route):
        wait(lambda: self.n8n.settled(route), f"{route}: all executions are over", self.seen, PATIENCE)

    def seen(self):
        return str({route: self.n8n.executions(route) for route in WEBHOOKS.values()}) + str(self.messages())

    # What the fleet did ----------------------------------------------------------------------------

    def calls(self, call, **want):
        """The Command API's audit of a call: what it answered, oldest first."""
        found = [json.loads(m.data) for m in self.bus.messages("AUDIT") if m.subject == "audit.command"]
        return [r for r in found if r["call"] == call and r["kind"] == "outcome"
                and all(r.get(k) == v for k, v in want.items())]

    def refusals(self, code):
        return self.api.worker.metric("echora_command_refusals_total", code=code)

    def served(self, call, status):
        return self.api.worker.metric("echora_command_calls_total", call=call, status=status)

    def title(self, anime_id):
        status, reply = self.qdrant.call("GET", f"/collections/anime_database/points/{anime_id}")
        return reply["result"]["payload"]["title"] if status == 200 else None

    def indexed(self, anime_id, title):
        eventually(lambda: self.title(anime_id) == title, 40, f"{title} in Qdrant")

    def synced(self):
        eventually(lambda: self.bus.settled("ANIME_SYNC", *(f"qdrant-{name}" for name in SYNC)), 40, "synced")

    def decided(self, review_id):
        return self.db.all("SELECT state, decided_by, decision_note FROM catalog.update_review WHERE review_id = %s", review_id)[0]

    def plans(self):
        return [r for r in self.letters.audit() if r["action"] == "plan"]


@pytest.fixture
def fleet(streams, db, qdrant, api, adapter, n8n, chat, folder):
    one = Fleet(streams, db, qdrant, api, adapter, n8n, chat, folder).start()
    yield one
    one.issuer.stop()


@pytest.fixture
def reviewing(fleet, spawn):
    """All that a risky update needs, and an anime whose title stands in the index."""
    fleet.writer = spawn("catalogue", timeout=90)
    spawn("relay", timeout=90)
    spawn("qdrant", timeout=90)
    fleet.anime = fleet.living(title="Right")
    fleet.indexed(fleet.anime, "Right")
    return fleet


def asked(fleet, **values):
    """A risky update whose reviewers have been asked: its review id, and the path of the form."""
    review_id, _ = fleet.park(fleet.anime, **(values or {"title": "Wrong? No"}))
    fleet.tell_n8n()
    text = fleet.told()
    assert f"an update of anime {fleet.anime} waits for a decision: title-changed; fields: title. http" in text
    wait(lambda: "waiting" in fleet.n8n.executions("risky-update"), "the execution waits", fleet.seen, PATIENCE)
    return review_id, fleet.n8n.form(text)


def test_approved_in_the_form_it_comes_into_qdrant(reviewing):
    fleet = reviewing
    review_id, form = asked(fleet)
    assert fleet.n8n.request("GET", form, {}, None)[0] == 401
    page = fleet.n8n.request("GET", form, LOGIN, None)[1]
    assert b"Wrong? No" in page and b"Right" in page
    fleet.fill_in(form, "approve", "Ann", "it is so")
    fleet.indexed(fleet.anime, "Wrong? No")
    assert fleet.told(2) == f"Echora: the update of anime {fleet.anime} is now approved."
    assert fleet.decided(review_id) == ("approved", "Ann", "it is so")
    (record,) = fleet.calls("update-decision")
    assert (record["client"], record["status"], record["replayed"]) == ("n8n-approve", 200, False)
    fleet.over("risky-update")
    # The call comes again: known, and nothing more.
    event = {**event_of("risky-update"), "id": review_id}
    assert send(fleet.n8n, "risky-update", event) == (202, {"id": review_id, "repeat": True})
    fleet.over("risky-update")
    assert len(fleet.messages()) == 2 and len(fleet.calls("update-decision")) == 1


def test_rejected_in_the_form_it_does_not(reviewing):
    fleet = reviewing
    review_id, form = asked(fleet)
    fleet.fill_in(form, "reject", "Ben", "")
    assert fleet.told(2) == f"Echora: the update of anime {fleet.anime} is now rejected."
    assert fleet.decided(review_id)[:2] == ("rejected", "Ben")
    fleet.synced()
    assert fleet.title(fleet.anime) == "Right" and fleet.value(fleet.anime) == "Right"


def test_decided_elsewhere_meanwhile_people_are_told(reviewing):
    fleet = reviewing
    review_id, form = asked(fleet)
    fleet.approve(review_id, by="operator")
    fleet.fill_in(form, "reject", "Ben", "no")
    assert fleet.told(2) == (f"Echora: the decision about anime {fleet.anime} was not taken: 409 already_decided: "
                             f"The contrary was decided before. echora review show {review_id}")
    fleet.over("risky-update")
    assert fleet.decided(review_id)[:2] == ("approved", "operator") and len(fleet.messages()) == 2
    fleet.indexed(fleet.anime, "Wrong? No")


def test_decided_before_the_call_came_nobody_is_asked(reviewing):
    fleet = reviewing
    review_id, _ = fleet.park(fleet.anime, title="Wrong? No")
    fleet.reject(review_id, by="operator")
    done = len(fleet.n8n.executions("risky-update"))
    fleet.tell_n8n()
    wait(lambda: len(fleet.n8n.executions("risky-update")) == done + 1, "the execution")
    fleet.over("risky-update")
    assert fleet.messages() == [] and fleet.served("update-get", "2xx") == 1


def test_a_second_form_of_the_same_call_does_not_decide_otherwise(reviewing):
    """Two executions of one call, as happens when n8n forgets its id: the first to send its decision decides."""
    fleet = reviewing
    review_id, _ = fleet.park(fleet.anime, title="Wrong? No")
    event = event_of("risky-update")
    event.update(id=review_id, data={**event["data"], "event_id": review_id, "anime_id": fleet.anime})
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: send(fleet.n8n, "risky-update", event), range(2)))
    assert [(status, said["repeat"]) for status, said in answers] == [(202, False)] * 2
    forms = [fleet.n8n.form(fleet.told(n)) for n in (1, 2)]
    fleet.fill_in(forms[0], "approve", "Ann", "")
    assert fleet.told(3).endswith("is now approved.")
    fleet.fill_in(forms[1], "reject", "Ben", "")
    assert "was not taken: 409 idempotency_conflict" in fleet.told(4)
    assert fleet.decided(review_id)[:2] == ("approved", "Ann")


def test_what_a_person_writes_is_made_to_fit(reviewing):
    """A text area's line ends, and more bytes than the catalogue keeps; and a name of nothing is asked for again."""
    fleet = reviewing
    review_id, form = asked(fleet)
    fleet.fill_in(form, "approve", "  ", "")
    assert "did not arrive: 422 validation_error" in fleet.told(2) and "/reviewed_by: length" in fleet.told(2)
    assert fleet.state(review_id) == "pending" and fleet.n8n.form(fleet.told(2)) == form
    fleet.fill_in(form, "approve", "Ænn", "two\r\nlines " + "ä" * 400)
    assert fleet.told(3) == f"Echora: the update of anime {fleet.anime} is now approved. Cut, for it was too long: reason."
    _, by, reason = fleet.decided(review_id)
    assert by == "Ænn" and reason.startswith("two lines ää") and reason.endswith("ä…") and 498 <= len(reason.encode()) <= 500


def test_nobody_but_reviewers_ends_the_waiting(reviewing):
    """By the other addresses that n8n has for executions that wait."""
    fleet = reviewing
    review_id, form = asked(fleet)
    body = json.dumps({"Decision": "approve", "Your name": "Eve", "data": {"Decision": "approve"}}).encode()
    for path in (form, form.replace("/form-waiting/", "/webhook-waiting/")):
        for method in ("GET", "POST"):
            status, _ = fleet.n8n.request(method, path, {"Content-Type": "application/json"}, body, timeout=5)
            assert status in (401, 404, None), f"{method} {path}: {status}"  # None: n8n leaves it without an answer
    assert fleet.n8n.submit(form, {}, "approve", "Eve") == 401
    assert fleet.n8n.executions("risky-update")[-1] == "waiting"
    assert fleet.state(review_id) == "pending" and not fleet.calls("update-decision")
    fleet.fill_in(form, "reject", "Ann", "")
    assert fleet.told(2).endswith("is now rejected.")


def test_a_decision_waits_until_the_catalogue_is_back(reviewing, spawn):
    fleet = reviewing
    review_id, form = asked(fleet)
    fleet.writer.stop()
    fleet.fill_in(form, "approve", "Ann", "")
    wait(lambda: len(fleet.calls("update-decision", status=503)) == 2, "two tries", fleet.seen, PATIENCE)
    assert len(fleet.messages()) == 1  # nothing is claimed
    spawn("catalogue", timeout=90)
    assert fleet.told(2).endswith("is now approved.")
    assert [r["status"] for r in fleet.calls("update-decision")] == [503, 503, 200]
    assert fleet.decided(review_id)[0] == "approved"
    fleet.indexed(fleet.anime, "Wrong? No")


class Closing(socketserver.ThreadingTCPServer):
    """Stands where nginx was, and closes what comes; `n` says how often something came."""
    allow_reuse_address = True

    def __init__(self, port):
        self.n = 0
        super().__init__(("127.0.0.1", port), socketserver.BaseRequestHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def process_request(self, request, client_address):
        self.n += 1
        self.shutdown_request(request)

    def end(self):
        self.shutdown()
        self.server_close()


def test_without_the_api_and_without_the_issuer_it_is_tried_again(reviewing):
    """No answer at all, first from the API, then none for a new token. n8n keeps no token among what was executed."""
    fleet = reviewing
    fleet.park(fleet.anime, title="Wrong? No")
    old = fleet.token()
    fleet.api.nginx.stop()
    nobody = Closing(PORTS["api"])
    fleet.tell_n8n()
    wait(lambda: nobody.n, "a first try", fleet.seen, PATIENCE)
    fleet.another_key(lambda: fleet.api.scgi(token=old).status)
    before = fleet.refusals("unauthenticated")
    fleet.issuer.stop()
    nobody.end()
    fleet.api.nginx.start()
    wait(lambda: fleet.refusals("unauthenticated") > before, "n8n's old token is refused", fleet.seen, PATIENCE)
    assert fleet.messages() == []
    fleet.issuer.start()
    fleet.fill_in(fleet.n8n.form(fleet.told()), "approve", "Ann", "")
    assert fleet.told(2).endswith("is now approved.")
    fleet.over("risky-update")
    with contextlib.closing(sqlite3.connect(f"file:{fleet.n8n.folder}/.n8n/database.sqlite?mode=ro", uri=True)) as db:
        kept = [row[0] for row in db.execute("SELECT data FROM execution_data")]
    assert kept and not [data for data in kept if re.search(r"eyJ[\w-]+\.eyJ|Bearer ey|secret-of-", data)]


def test_a_token_that_is_refused_is_renewed(reviewing):
    """The issuer has another key, so n8n's token is good no longer: 401, a new token, and the call once more."""
    fleet = reviewing
    review_id, form = asked(fleet)
    old = fleet.token()
    fleet.another_key(lambda: fleet.api.get(f"/updates/{review_id}", token=old).status)
    before = fleet.refusals("unauthenticated")
    fleet.fill_in(form, "approve", "Ann", "")
    assert fleet.told(2).endswith("is now approved.")
    assert fleet.refusals("unauthenticated") == before + 1 and len(fleet.calls("update-decision")) == 1


@pytest.mark.skipif(not LONG, reason="11 minutes: test/n8n/run --long")
def test_a_token_that_is_over_is_renewed(reviewing):
    """The same by the clock: 10 minutes, and 60 s in which clocks may differ."""
    fleet = reviewing
    review_id, form = asked(fleet)
    before = fleet.refusals("unauthenticated")
    time.sleep(11 * 60 + 5)
    fleet.fill_in(form, "approve", "Ann", "")
    assert fleet.told(2).endswith("is now approved.")
    assert fleet.refusals("unauthenticated") == before + 1 and len(fleet.calls("update-decision")) == 1


# Dead letters ------------------------------------------------------------------------------------------------------


@pytest.fixture
def mended(fleet, spawn):
    """A dead letter whose cause is gone: a writer that could not take a large update, and one that can."""
    fleet.keeper = spawn("dead-letters", timeout=90)
    writer = spawn("catalogue", env=SMALL, timeout=90)
    fleet.anime = new_id()
    fleet.enriched(fleet.anime, anime(title="first"))
    fleet.updated(fleet.anime, ["year", "synopsis"], anime(year=2010, synopsis=LONG_TEXT), at=10)
    fleet.settle()
    writer.stop()
    assert fleet.dead_letters() == [("catalog-updated", "too-large")] and fleet.value(fleet.anime, "synopsis") != LONG_TEXT
    spawn("catalogue", timeout=90)
    fleet.letters.indexed()
    return fleet


def test_a_dead_letter_is_replayed_and_succeeds(mended):
    fleet = mended
    fleet.tell_n8n()
    eventually(lambda: fleet.value(fleet.anime, "synopsis") == LONG_TEXT, PATIENCE, "the update has come through")
    (plan,) = fleet.plans()
    assert plan["actor"] == "n8n-approve"
    over = fleet.letters.finished(plan["planId"])
    assert over["done"] == 1 and "failed" not in over
    (letter,) = fleet.letters.letters(state="replayed")
    assert letter["attempts"] == 1 and fleet.letters.letters() == []
    fleet.over("dlq-triage")
    (record,) = fleet.calls("dlq-replay")
    assert (record["client"], record["status"]) == ("n8n-approve", 202) and fleet.messages() == []


def test_a_code_that_is_not_on_the_list_is_told_to_people(fleet, spawn):
    spawn("dead-letters", timeout=90)
    fleet.tell_n8n()
    letter = fleet.adapter.dead_letter(code="bad-uuid")
    assert fleet.told() == ("Echora: dead letter 1 on anime.updated: bad-uuid, from catalog-updated, attempts: 1. "
                            "echora dlq show 1"), letter
    fleet.over("dlq-triage")
    assert not fleet.calls("dlq-replay") and not fleet.plans()


def test_the_same_call_several_times_at_once_is_one_plan(mended):
    """n8n may forget ids of calls that run at the same moment; the Command API does not."""
    fleet = mended
    event = event_of("dlq-triage")
    event["data"].update(error_type="too-large", dlq_seq=1)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: send(fleet.n8n, "dlq-triage", event), range(6)))
    assert [status for status, _ in answers] == [202] * 6
    acted = sum(not said["repeat"] for _, said in answers)
    assert acted >= 2
    fleet.over("dlq-triage")
    assert send(fleet.n8n, "dlq-triage", event) == (202, {"id": event["id"], "repeat": True})
    fleet.over("dlq-triage")
    codes = [(r["status"], r["code"], r["replayed"]) for r in fleet.calls("dlq-replay")]
    print(f"\n6 at once: {acted} acted, the API answered {codes}")
    assert len([c for c in codes if c[0] == 202]) == acted and codes.count((202, "", False)) == 1
    assert {c[1] for c in codes} <= {"", "request_in_progress"}
    assert len(fleet.plans()) == 1 and fleet.messages() == []
    assert fleet.letters.finished(fleet.plans()[0]["planId"])["done"] == 1


def test_a_call_that_is_carried_out_already_is_asked_for_again(fleet, streams):
    """409 request_in_progress, from a first call of ours with the same key, client and body. The responder is
    scripted, so that it can be slow."""
    release = []

    async def slowly(message):
        while not release:
            await asyncio.sleep(0.05)
        return {}, b""  # in Protobuf: a reply without its plan, which is enough here
    with contextlib.closing(Responder(streams.bus("deadletters"), "dlq.replay")) as responder:
        responder.answers["dlq.replay"] = slowly
        event = event_of("dlq-triage")
        event["data"].update(error_type="too-large", dlq_seq=1)
        body = b'{"filter":{"from_sequence":1,"to_sequence":1}}'
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(fleet.api.post, "/dlq/replay", body, key=f"{event['id']}:dlq-replay",
                                token=fleet.token())
            eventually(lambda: responder.asked, 10, "the first call")
            assert send(fleet.n8n, "dlq-triage", event)[0] == 202
            wait(lambda: fleet.calls("dlq-replay", code="request_in_progress"), "the second call", fleet.seen)
            release.append(True)
            assert first.result().status == 202
        fleet.over("dlq-triage")
        assert len(responder.asked) == 1 and fleet.calls("dlq-replay", replayed=True, status=202)
    assert fleet.messages() == []


def test_without_its_responder_a_replay_waits(mended, spawn):
    fleet = mended
    fleet.keeper.stop()
    fleet.tell_n8n()
    wait(lambda: fleet.calls("dlq-replay", status=503), "a first try", fleet.seen, PATIENCE)
    assert fleet.messages() == [] and not fleet.plans()
    spawn("dead-letters", timeout=90)
    eventually(lambda: fleet.value(fleet.anime, "synopsis") == LONG_TEXT, PATIENCE, "the update has come through")
    fleet.over("dlq-triage")
    assert len(fleet.plans()) == 1 and fleet.messages() == []


def test_a_refusal_is_told_with_its_code(fleet, spawn):
    """422, for the letter's number is none: what a broken sender would cause."""
    spawn("dead-letters", timeout=90)
    event, errors = event_of("dlq-triage"), fleet.n8n.executions("dlq-triage").count("error")
    event["data"].update(error_type="too-large", dlq_seq=0)
    assert send(fleet.n8n, "dlq-triage", event)[0] == 202
    assert "was not replayed: 422 validation_error" in fleet.told() and "/filter/from_sequence: range" in fleet.told()
    wait(lambda: fleet.n8n.executions("dlq-triage").count("error") == errors + 1, "the execution shows it")
    assert not fleet.plans()


def test_a_waiting_review_is_told_though_nobody_knows_the_run(fleet):
    """Nobody serves command.run-get yet: 503, and people are told all the same, at once."""
    fleet.tell_n8n()
    fleet.adapter.review(run_id=7, entry_count=3)
    assert fleet.told().startswith("Echora: 3 entries of ingestion run 7 wait for review. artifact:sha256/")
    assert fleet.served("run-get", "5xx") == 1
    fleet.over("review-ready")
