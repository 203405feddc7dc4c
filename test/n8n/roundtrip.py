"""The workflows of ops/n8n in a real n8n on loopback: started by test/n8n/run, in the order of the file.

A stand-in of this file is what n8n calls: the place for alerts, the token endpoint and the Command API as its
specification says. n8n's own database tells what was executed.
"""
import base64
import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from harness.settings import ROOT
from harness.webhooks import make_cases
from ops.fleet import system

# Path → type and data of its events.
ROUTES = {
    "dlq-triage": ("dead-letter.created", {
        "event_id": None, "subject": "anime.enriched", "error_type": "pg-23503", "entity_id": "an-1",
        "source_service": "catalog-enriched", "attempt_count": 5, "dlq_seq": 42, "fingerprint": "0f1e2d3c4b5a6978"}),
    "risky-update": ("update.review-requested", {
        "event_id": "11111111-2222-7333-8444-555555555555", "anime_id": "an-2", "changed_fields": ["title", "type"],
        "risk_reason": ["title-changed"]}),
    "review-ready": ("ingestion.review-ready", {"run_id": 7, "entry_count": 12, "review_ref": "artifact:sha256/00"})}
WORKFLOWS = {"dlq": "dlq-triage", "risk": "risky-update", "review": "review-ready"}  # by the adapter's routes
SECRETS = {route: "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode() for route in ROUTES}
OLD = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
REVIEWER = ("reviewer", secrets.token_hex(8))
PATIENCE = 300  # seconds: n8n starts slowly where much else runs


class StandIn(ThreadingHTTPServer):
    """Answers like the Command API, an issuer of tokens and a chat; keeps (method, path, headers, JSON) of each."""

    def __init__(self):
        self.calls, self.failing = [], set()
        super().__init__(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def on(self, prefix, since=0):
        return [call for call in self.calls[since:] if call[1].startswith(prefix)]


class Answer(BaseHTTPRequestHandler):
    def reply(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urllib.parse.urlsplit(self.path).path
        with contextlib.suppress(ValueError):
            body = json.loads(body)
        self.server.calls.append((self.command, path, dict(self.headers), body))
        status, answer = 200, {"ok": True}
        if path in self.server.failing:
            status = 503
        elif path == "/oauth2/token":
            answer = {"access_token": "token-of-the-stand-in", "token_type": "Bearer", "expires_in": 600}
        elif path == "/dlq/replay":
            status, answer = 202, {"plan_id": "p"}
        elif path.startswith("/updates/"):
            answer = {"anime_id": "an-2", "state": "open", "current": {"title": "Old <b>"},
                      "proposed": {"title": "New & newer"}}
        elif path.startswith("/workflow/runs/"):
            answer = {"run_id": 7, "phase": "review", "state": "held"}
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = reply

    def log_message(self, *_):
        pass


class N8n:
    """One n8n with a folder of its own."""

    def __init__(self, folder, stand_in):
        self.folder, self.stand_in, self.child = folder, stand_in, None
        self.port = system.free_port()
        self.program = Path(os.environ["ECHORA_N8N"]) / "node_modules/n8n/bin/n8n"
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "N8N_USER_FOLDER": str(folder), "DB_TYPE": "sqlite",
            "N8N_LISTEN_ADDRESS": "127.0.0.1", "N8N_PORT": str(self.port),
            "WEBHOOK_URL": f"http://127.0.0.1:{self.port}/",
            "N8N_ENCRYPTION_KEY": secrets.token_hex(16), "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false", "N8N_TEMPLATES_ENABLED": "false",
            "N8N_ENFORCE_SETTINGS_FILE_PERMISSIONS": "true", "N8N_RUNNERS_ENABLED": os.environ["ECHORA_N8N_RUNNERS"],
            "N8N_RUNNERS_BROKER_PORT": str(system.free_port()), "N8N_EXPRESSION_ENGINE": "legacy",
            "NODE_FUNCTION_ALLOW_BUILTIN": "crypto", "N8N_BLOCK_ENV_ACCESS_IN_NODE": "false",
            "ECHORA_ALERT_URL": f"{stand_in.url}/alert",
            "ECHORA_WEBHOOK_SECRETS_DLQ_TRIAGE": f"{SECRETS['dlq-triage']} {OLD}",
            "ECHORA_WEBHOOK_SECRETS_RISKY_UPDATE": SECRETS["risky-update"],
            "ECHORA_WEBHOOK_SECRETS_REVIEW_READY": SECRETS["review-ready"]}

    def command(self, *argv):
        with open(self.folder / "commands.log", "ab") as log:
            done = subprocess.run(["node", self.program, *argv], env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=log, stderr=log, timeout=PATIENCE)
        assert done.returncode == 0, (self.folder / "commands.log").read_text()[-3000:]

    def load(self):
        """Imports workflows and credentials as ops/n8n/README.md says, and switches the workflows on."""
        oauth = {"grantType": "clientCredentials", "accessTokenUrl": f"{self.stand_in.url}/oauth2/token",
                 "clientId": "n8n", "clientSecret": "of the stand-in", "authentication": "header", "authUrl": ""}
        rows = [{"id": name[0], "name": name[1], "type": "oAuth2Api", "data": {**oauth, "scope": scope}}
                for name, scope in ((("echora-read", "Echora Command API, read"), "workflow.read"),
                                    (("echora-approve", "Echora Command API, approve"), "workflow.approve"))]
        rows.append({"id": "echora-reviewers", "name": "Echora reviewers", "type": "httpBasicAuth",
                     "data": {"user": REVIEWER[0], "password": REVIEWER[1]}})
        (self.folder / "credentials.json").write_text(json.dumps(rows))
        self.command("import:credentials", f"--input={self.folder}/credentials.json")
        self.command("import:workflow", "--separate", f"--input={ROOT}/ops/n8n")
        if os.environ["ECHORA_N8N_VERSION"].startswith("1."):
            self.command("update:workflow", "--all", "--active=true")
            return
        for route in ROUTES:
            self.command("publish:workflow", f"--id={id_of(route)}")

    def start(self, **environment):
        with open(self.folder / "n8n.log", "ab") as log:
            self.child = subprocess.Popen(["node", self.program, "start"], env={**self.environment, **environment},
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        # Its health says "ready" before its webhooks are there.
        for route in ROUTES:
            wait(lambda: self.post(route, {}, b"{}")[0] == 401, f"n8n serves {route}",
                 lambda: (self.folder / "n8n.log").read_text()[-3000:], PATIENCE)

    def stop(self, number=signal.SIGTERM):
        if self.child and self.child.poll() is None:
            os.killpg(self.child.pid, number)
            self.child.wait(60)

    def request(self, method, path, headers, body, timeout=60):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as e:
            return None, str(e).encode()
        finally:
            connection.close()

    def post(self, route, headers, body):
        return self.request("POST", f"/webhook/{route}", {"Content-Type": "application/json", **headers}, body)

    def executions(self, route):
        """Status of each execution of a workflow, by n8n's own database."""
        with contextlib.closing(sqlite3.connect(f"file:{self.folder}/.n8n/database.sqlite?mode=ro", uri=True)) as db:
            return [row[0] for row in db.execute("SELECT status FROM execution_entity WHERE workflowId = ? ORDER BY id",
                                                 (id_of(route),))]


def id_of(route):
    return json.loads((ROOT / f"ops/n8n/{route}.json").read_text(encoding="utf-8"))["id"]


def wait(condition, what, told=lambda: "", seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s\n{told()}")


@pytest.fixture(scope="module")
def stand_in():
    server = StandIn()
    yield server
    server.shutdown()


@pytest.fixture(scope="module")
def n8n(stand_in):
    folder = Path(tempfile.mkdtemp(prefix="echora-n8n-"))
    one = N8n(folder, stand_in)
    try:
        one.load()
        one.start()
        yield one
    finally:
        one.stop(signal.SIGKILL)
        if os.environ.get("ECHORA_TEST_KEEP"):
            print(f"\nkept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def event_of(route, **more):
    kind, data = ROUTES[route]
    webhook_id = str(uuid.uuid4())
    return {"type": kind, "timestamp": "2026-01-01T00:00:00Z", "id": webhook_id,
            "data": {"event_id": webhook_id, **data}, **more}


def signed(route, event, **more):
    """(headers, body) of a genuine call now."""
    body = json.dumps(event).encode()
    values = {"timestamp": int(time.time()), "secret": SECRETS[route], **more}
    return dict(make_cases.call(body, event["id"], **values)), body


def send(n8n, route, event, **more):
    status, answer = n8n.post(route, *signed(route, event, **more))
    return status, json.loads(answer) if answer[:1] == b"{" else answer


def alerts(stand_in, since=0):
    return [call[3]["text"] for call in stand_in.on("/alert", since)]


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
    for used in ((SECRETS[route], OLD), (OLD, SECRETS[route]), (OLD,), (secrets_unknown(), OLD)):
        event = event_of(route)
        body, now = json.dumps(event).encode(), int(time.time())
        both = " ".join(make_cases.sign(secret, event["id"], now, body) for secret in used)
        assert send(n8n, route, event, timestamp=now, signature=both)[0] == 202


def secrets_unknown():
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


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
    form = urllib.parse.urlsplit(wait(lambda: alerts(stand_in, before), "the alert")[0].split()[-1])
    path = f"{form.path}?{form.query}" if form.query else form.path
    wait(lambda: "waiting" in n8n.executions(route), "the execution waits")
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": True})
    assert n8n.request("GET", path, {}, None)[0] == 401
    login = {"Authorization": "Basic " + base64.b64encode(":".join(REVIEWER).encode()).decode()}
    status, page = n8n.request("GET", path, login, None)
    assert status == 200 and b"New &amp; newer" in page and b"Old &lt;b" in page, page[:2000]
    boundary = "echora"
    fields = {"field-0": "approve", "field-1": "Ann", "field-2": "seen"}
    body = "".join(f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
                   for name, value in fields.items()) + f"--{boundary}--\r\n"
    multipart = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    assert n8n.request("POST", path, multipart, body.encode())[0] == 401
    assert n8n.request("POST", path, {**multipart, **login}, body.encode())[0] == 200
    decision = f"/updates/{event['data']['event_id']}/decision"
    (method, _, headers, sent), = wait(lambda: stand_in.on(decision, before), "the decision")
    assert (method, sent) == ("POST", {"decision": "approve", "reviewed_by": "Ann", "reason": "seen"})
    assert headers["idempotency-key"] == f"{event['id']}:decision"
    wait(lambda: set(n8n.executions(route)) <= {"success"}, "the execution has ended")
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": True})


def test_what_failed_is_done_when_the_call_comes_again(n8n, stand_in):
    before, route = len(stand_in.calls), "dlq-triage"
    event = event_of(route)
    stand_in.failing.add("/dlq/replay")
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": False})
    wait(lambda: "error" in n8n.executions(route), "the execution has failed")
    stand_in.failing.clear()
    assert len(stand_in.on("/dlq/replay", before)) == 3
    assert send(n8n, route, event) == (202, {"id": event["id"], "repeat": False})
    wait(lambda: len(stand_in.on("/dlq/replay", before)) == 4, "the replay")
    wait(lambda: set(n8n.executions(route)) <= {"success", "error"}, "the execution has ended")
    assert {call[2]["idempotency-key"] for call in stand_in.on("/dlq/replay", before)} == {f"{event['id']}:dlq-replay"}


def test_missing_secret_is_an_error_that_n8n_shows(n8n):
    route = "dlq-triage"
    errors = n8n.executions(route).count("error")
    n8n.stop()
    n8n.environment["ECHORA_WEBHOOK_SECRETS_DLQ_TRIAGE"] = ""
    with open(n8n.folder / "n8n.log", "ab") as log:
        n8n.child = subprocess.Popen(["node", n8n.program, "start"], env=n8n.environment, stdin=subprocess.DEVNULL,
                                     stdout=log, stderr=log, start_new_session=True)
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
