"""A real n8n on loopback with the workflows of ops/n8n, and a chat that it tells people in."""
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
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from harness.receiver import new_secret
from harness.settings import ROOT
from harness.webhooks import make_cases
from ops.fleet import system

PATIENCE = 300  # seconds: n8n starts slowly where much else runs
# Path → type and data of its events.
ROUTES = {
    "dlq-triage": ("dead-letter.created", {
        "event_id": None, "subject": "anime.enriched", "error_type": "pg-23503", "entity_id": "an-1",
        "source_service": "catalog-enriched", "attempt_count": 5, "dlq_seq": 42, "fingerprint": "0f1e2d3c4b5a6978"}),
    "risky-update": ("update.review-requested", {
        "event_id": "11111111-2222-7333-8444-555555555555", "anime_id": "an-2", "changed_fields": ["title", "type"],
        "risk_reason": ["title-changed"]}),
    "review-ready": ("ingestion.review-ready", {"run_id": 7, "entry_count": 12, "review_ref": "artifact:sha256/00"})}
SECRETS = {route: new_secret() for route in ROUTES}
REVIEWER = ("reviewer", secrets.token_hex(8))
LOGIN = {"Authorization": "Basic " + base64.b64encode(":".join(REVIEWER).encode()).decode()}
IDS = {route: json.loads((ROOT / f"ops/n8n/{route}.json").read_text(encoding="utf-8"))["id"] for route in ROUTES}


class StandIn(ThreadingHTTPServer):
    """Answers like the Command API, an issuer of tokens and a chat; keeps (method, path, headers, JSON) of each.
    `refusals` has (status, body) by path, `state` is that of every update."""

    def __init__(self):
        self.calls, self.refusals, self.state = [], {}, "pending"
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
        if path in self.server.refusals:
            status, answer = self.server.refusals[path]
        elif path == "/oauth2/token":
            answer = {"access_token": "token-of-the-stand-in", "token_type": "Bearer", "expires_in": 600}
        elif path == "/dlq/replay":
            status, answer = 202, {"plan_id": "p"}
        elif path.startswith("/updates/"):
            answer = {"anime_id": "an-2", "state": self.server.state, "current": {"title": "Old <b>"},
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
    """One n8n with a folder of its own. `rows` are its credentials, as ops/n8n/credentials.py makes them."""

    def __init__(self, folder, alert_url, rows, **more):
        self.folder, self.rows, self.child = folder, rows, None
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
            "ECHORA_ALERT_URL": alert_url,
            **{f"ECHORA_WEBHOOK_SECRETS_{route.upper().replace('-', '_')}": SECRETS[route] for route in ROUTES}, **more}

    def command(self, *argv):
        with open(self.folder / "commands.log", "ab") as log:
            done = subprocess.run(["node", self.program, *argv], env=self.environment, stdin=subprocess.DEVNULL,
                                  stdout=log, stderr=log, timeout=PATIENCE)
        assert done.returncode == 0, (self.folder / "commands.log").read_text()[-3000:]

    def load(self):
        """Imports workflows and credentials as ops/n8n/README.md says, and switches the workflows on."""
        (self.folder / "credentials.json").write_text(json.dumps(self.rows))
        self.command("import:credentials", f"--input={self.folder}/credentials.json")
        self.command("import:workflow", "--separate", f"--input={ROOT}/ops/n8n")
        if os.environ["ECHORA_N8N_VERSION"].startswith("1."):
            self.command("update:workflow", "--all", "--active=true")
            return
        for route in IDS:
            self.command("publish:workflow", f"--id={IDS[route]}")

    def launch(self, **environment):
        with open(self.folder / "n8n.log", "ab") as log:
            self.child = subprocess.Popen(["node", self.program, "start"], env={**self.environment, **environment},
                                          stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def start(self, **environment):
        self.launch(**environment)
        # Its health says "ready" before its webhooks are there.
        for route in IDS:
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
                                                 (IDS[route],))]

    def settled(self, route):
        """No execution of the workflow is at work, or waits for a person or for later. Crashed counts as over: so n8n
        marks, where it starts slowly, a call that came while it started."""
        return not set(self.executions(route)) & {"new", "running", "waiting"}

    def form(self, alert):
        """The path of the form whose link stands in an alert."""
        link = urllib.parse.urlsplit(next(word for word in alert.split() if "/form-waiting/" in word))
        return f"{link.path}?{link.query}" if link.query else link.path

    def submit(self, path, login, decision, name="Ann", reason=""):
        """What a browser sends for the form; the status."""
        fields = {"field-0": decision, "field-1": name, "field-2": reason}
        body = "".join(f'--echora\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
                       for key, value in fields.items()) + "--echora--\r\n"
        return self.request("POST", path, {"Content-Type": "multipart/form-data; boundary=echora", **login},
                            body.encode())[0]


def wait(condition, what, told=lambda: "", seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"{what}: not within {seconds} s\n{told()}")


@contextlib.contextmanager
def running(alert_url, rows, **more):
    """An n8n that is loaded and serves; `more` are variables of its environment."""
    folder = Path(tempfile.mkdtemp(prefix="echora-n8n-"))
    one = N8n(folder, alert_url, rows, **more)
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
    """What people were told."""
    return [call[3]["text"] for call in stand_in.on("/alert", since)]
