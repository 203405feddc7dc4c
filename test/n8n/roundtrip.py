"""The workflows of ops/n8n in a real n8n on loopback: started by test/n8n/run, in the order of the file.

A stand-in is what n8n calls: the place for alerts, the token endpoint and the Command API as its specification says.
n8n's own database tells what was executed. With the Command API itself: acts.py.
"""
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.receiver import new_secret
from harness.webhooks import make_cases
from n8n.server import (LOGIN, PATIENCE, REVIEWER, ROUTES, SECRETS, StandIn, alerts, event_of, running, send, signed,
                        wait)
from ops.n8n import credentials

WORKFLOWS = {"dlq": "dlq-triage", "risk": "risky-update", "review": "review-ready"}  # by the adapter's routes
OLD = new_secret()


@pytest.fixture(scope="module")
def stand_in():
    server = StandIn()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def n8n(stand_in):
    client = ("n8n", "of the stand-in")
    rows = credentials.document(f"{stand_in.url}/oauth2/token", client, client, REVIEWER)
    both = {"ECHORA_WEBHOOK_SECRETS_DLQ_TRIAGE": f"{SECRETS['dlq-triage']} {OLD}"}
    with running(f"{stand_in.url}/alert", rows, **both) as one:
        yield one


@pytest.mark.parametrize("route", ROUTES)
def test_good_is_answered_and_acted_on_once(n8n, stand_in, route):
    before = len(stand_in.calls)
    event = event_of(route)
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": False})
    wait(lambda: alerts(stand_in, before), "an alert")
    wait(lambda: set(n8n.executions(route)) <= {"success"}, "the execution has ended")
    for _ in range(2):
        assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": True})
    wait(lambda: set(n8n.executions(route)) <= {"success"}, "the executions have ended")
    assert len(alerts(stand_in, before)) == 1 and len(stand_in.calls) == before + 1


def test_test_event_is_verified_and_nothing_more(n8n, stand_in):
    before = len(stand_in.calls)
    event = event_of("review-ready", type="webhook.test")
    assert send(n8n, "review-ready", event) == (202, {"id": event["id"], "repeat": False})
    wait(lambda: set(n8n.executions("review-ready")) <= {"success"}, "the execution has ended")
    assert len(stand_in.calls) == before


def test_what_is_not_genuine_is_refused(n8n, stand_in):
    before, route = len(stand_in.calls), "dlq-triage"
    event = event_of(route)
    headers, body = signed(route, event)
    now = int(time.time())
    refusals = {
        "tampered": (headers, body.replace(b"42", b"43"), "signature"),
        "bytes changed, meaning kept": (headers, body + b" ", "signature"),
        "stale": (*signed(route, event, timestamp=now - 400), "timestamp"),
        "of the future": (*signed(route, event, timestamp=now + 400), "timestamp"),
        "another route's secret": (*signed(route, event, secret=SECRETS["risky-update"]), "signature"),
        "another id": ({**headers, "webhook-id": str(uuid.uuid4())}, body, "signature"),
        "no headers": ({}, body, "headers"), "twice": ({**headers, "Webhook-Id": event["id"]}, body, "headers"),
        "v1a": ({**headers, "webhook-signature": "v1a" + headers["webhook-signature"][2:]}, body, "signature"),
        "empty": (headers, b"", "signature"),
        "as text": ({**headers, "Content-Type": "text/plain"}, body + b" ", "signature")}
    for what, (used, sent, why) in refusals.items():
        status, answer = n8n.post(route, used, sent)
        assert (status, json.loads(answer)) == (401, {"refused": why}), what
    assert send(n8n, route, event_of(route, type="ingestion.review-ready")) == (422, {"refused": "type"})
    assert len(stand_in.calls) == before


def test_secrets_change_without_a_refusal(n8n, stand_in):
    """New and old together, as the adapter signs while a secret changes; and each alone, for n8n knows both."""
    route = "dlq-triage"
    for used in ((SECRETS[route], OLD), (OLD, SECRETS[route]), (OLD,), (new_secret(), OLD)):
        event = event_of(route)
        body, now = json.dumps(event).encode(), int(time.time())
        both = " ".join(make_cases.sign(secret, event["id"], now, body) for secret in used)
        assert send(n8n, route, event, timestamp=now, signature=both)[0] == 202


def test_concurrent_calls_and_their_repeats(n8n, stand_in):
    """What concurrent executions forget of each other's ids; printed, for the README tells it."""
    route = "dlq-triage"
    wait(lambda: set(n8n.executions(route)) <= {"success"}, "the executions have ended")
    events = [event_of(route) for _ in range(20)]
    began = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        first = list(pool.map(lambda event: send(n8n, route, event), events))
    took = time.monotonic() - began
    assert [status for status, _ in first] == [202] * 20
    wait(lambda: set(n8n.executions(route)) <= {"success"}, "the executions have ended")
    again = [send(n8n, route, event)[1]["repeat"] for event in events]
    print(f"\n20 calls, 10 at a time: {took:.1f} s; repeats known: {sum(again)} of 20")
    wait(lambda: set(n8n.executions(route)) <= {"success"}, "the executions have ended")


def test_the_adapter_tells_n8n(n8n, stand_in, adapter, echora):
    """From the stream to n8n's list of executions, by the real adapter with a secret for each route."""
    files = {route: adapter.folder / f"secret-{route}" for route in WORKFLOWS}
    for route, name in WORKFLOWS.items():
        files[route].write_text(SECRETS[name] + "\n")
        files[route].chmod(0o644)
    before = len(stand_in.calls)
    done = {name: len(n8n.executions(name)) for name in ROUTES}
    adapter.start(f"http://127.0.0.1:{n8n.port}", call_timeout="45s", retry_longest="5s",
                  **{f"{route}_secret_files": file for route, file in files.items()})
    letter, risky, review = adapter.dead_letter(code="pg-23503"), adapter.risky(), adapter.review()
    adapter.settled(*WORKFLOWS, timeout=PATIENCE)
    assert {row["webhook_id"]: (row["route"], row["status"]) for row in adapter.attempts()} == \
        {letter: ("dlq", 202), risky: ("risk", 202), review: ("review", 202)}
    told = "\n".join(wait(lambda: len(alerts(stand_in, before)) == 3 and alerts(stand_in, before), "three alerts"))
    assert "dead letter 1 on anime.updated: pg-23503" in told and f"echora review show {risky}" in told
    assert "3 entries of ingestion run 7" in told
    assert echora("webhook", "test", "dlq", "--json").json["status"] == 202
    assert echora("webhook", "replay", "dlq", letter).code == 0
    wait(lambda: len(n8n.executions("dlq-triage")) == done["dlq-triage"] + 3, "the executions")
    wait(lambda: all(set(n8n.executions(name)) <= {"success"} for name in ROUTES), "they have ended")
    assert len(alerts(stand_in, before)) == 3  # neither the test nor the repeat was acted on
    assert {name: len(n8n.executions(name)) - done[name] for name in ROUTES} == \
        {"dlq-triage": 3, "risky-update": 1, "review-ready": 1}


def test_command_api_is_called_with_a_key_of_the_event(n8n, stand_in):
    """Restarted with the switch on: known ids are still known, and each command carries its key and a token."""
    route = "dlq-triage"
    known = event_of(route)
    send(n8n, route, known)
    wait(lambda: set(n8n.executions(route)) <= {"success"}, "the execution has ended")
    n8n.stop()
    n8n.start(ECHORA_COMMAND_API_URL=stand_in.url, ECHORA_TRIAGE_REPLAY="pg-40001, pg-23503")
    before = len(stand_in.calls)
    assert send(n8n, route, known) == (202, {"id": known["id"], "repeat": True})
    event = event_of(route)
    assert send(n8n, route, event)[0] == 202
    (method, _, headers, body), = wait(lambda: stand_in.on("/dlq/replay", before), "the replay")
    assert (method, body) == ("POST", {"filter": {"from_sequence": 42, "to_sequence": 42}})
    assert headers["idempotency-key"] == f"{event['id']}:dlq-replay"
    assert headers["Authorization"] == "Bearer token-of-the-stand-in"
    other = event_of(route)
    other["data"]["error_type"] = "bad-uuid"
    assert send(n8n, route, other)[0] == 202
    assert "bad-uuid" in wait(lambda: alerts(stand_in, before), "the alert")[0]
    assert len(stand_in.on("/dlq/replay", before)) == 1
    before = len(stand_in.calls)
    assert send(n8n, "review-ready", event_of("review-ready"))[0] == 202
    assert "the run is held" in wait(lambda: alerts(stand_in, before), "the alert")[0]


def test_a_person_decides_in_a_form(n8n, stand_in):
    before, route = len(stand_in.calls), "risky-update"
    event = event_of(route)
    assert send(n8n, route, event)[0] == 202
    path = n8n.form(wait(lambda: alerts(stand_in, before), "the alert")[0])
    wait(lambda: "waiting" in n8n.executions(route), "the execution waits")
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": True})
    assert n8n.request("GET", path, {}, None)[0] == 401
    status, page = n8n.request("GET", path, LOGIN, None)
    assert status == 200 and b"New &amp; newer" in page and b"Old &lt;b" in page, page[:2000]
    assert n8n.submit(path, {}, "approve") == 401
    assert n8n.submit(path, LOGIN, "approve", "Ann", "seen") == 200
    decision = f"/updates/{event['data']['event_id']}/decision"
    (method, _, headers, sent), = wait(lambda: stand_in.on(decision, before), "the decision")
    assert (method, sent) == ("POST", {"decision": "approve", "reviewed_by": "Ann", "reason": "seen"})
    assert headers["idempotency-key"] == f"{event['id']}:decision"
    wait(lambda: n8n.settled(route), "the execution has ended", lambda: str(n8n.executions(route)))
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": True})


def test_what_failed_is_done_when_the_call_comes_again(n8n, stand_in):
    before, route = len(stand_in.calls), "dlq-triage"
    event, errors = event_of(route), n8n.executions(route).count("error")
    stand_in.refusals["/dlq/replay"] = (403, {"code": "insufficient_scope", "retryable": False, "detail": "No scope."})
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": False})
    wait(lambda: n8n.executions(route).count("error") == errors + 1, "the execution has failed")
    stand_in.refusals.clear()
    (told,) = alerts(stand_in, before)
    assert "was not replayed: 403 insufficient_scope: No scope." in told
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": False})
    wait(lambda: len(stand_in.on("/dlq/replay", before)) == 2, "the replay")
    wait(lambda: n8n.settled(route), "the execution has ended", lambda: str(n8n.executions(route)))
    assert {call[2]["idempotency-key"] for call in stand_in.on("/dlq/replay", before)} == {f"{event['id']}:dlq-replay"}


def test_missing_secret_is_an_error_that_n8n_shows(n8n):
    route = "dlq-triage"
    errors = n8n.executions(route).count("error")
    n8n.stop()
    n8n.launch(ECHORA_WEBHOOK_SECRETS_DLQ_TRIAGE="")
    answers = []

    def served():
        answers.append(send(n8n, route, event_of(route)))
        return answers[-1][1] == {"failed": True}
    wait(served, "n8n serves", seconds=PATIENCE)
    # While it starts, n8n may take a call that it is serving for one that crashed before, and answers 200 with nothing.
    assert answers[-1][0] == 503
    assert all(status in (None, 404, 503) or (status, said) == (200, b"") for status, said in answers), answers
    assert send(n8n, route, event_of(route)) == (503, {"failed": True})
    wait(lambda: n8n.executions(route).count("error") > errors, "the failed execution")
