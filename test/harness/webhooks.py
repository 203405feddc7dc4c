"""Receivers of webhooks: the recipes of contracts/examples/webhooks and the published Standard Webhooks libraries.

Each takes cases as make_cases.py writes them and gives one answer per case: "accepted", or why not.
"""
import base64
import contextlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from ops.fleet import system

from .process import eventually
from .settings import ROOT, STATE

EXAMPLES = ROOT / "contracts/examples/webhooks"
DRIVERS = ROOT / "test/contract/webhooks"
LIBRARIES = STATE / "webhook-libraries"


def _make_cases():
    spec = importlib.util.spec_from_file_location("make_cases", EXAMPLES / "make_cases.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_cases = _make_cases()


def program(name):
    """The path of a program that only these tests need; without it the test is skipped, in CI a failure."""
    found = shutil.which(name)
    if not found:
        pytest.skip(f"no {name}")
    return found


def answers(argv, cases, **more):
    """What a driver prints for each case."""
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([str(a) for a in argv], input=lines, capture_output=True, text=True, timeout=180, **more)
    assert done.returncode == 0, done.stderr
    out = done.stdout.splitlines()
    assert len(out) == len(cases), done.stdout[-2000:] + done.stderr[-2000:]
    return out


def recipe_of_python(source, folder, cases):
    (folder / "receive.py").write_text(source, encoding="utf-8")
    return answers([sys.executable, "-B", DRIVERS / "recipe/recipe.py", folder / "receive.py"], cases)


def recipe_of_node(source, folder, cases):
    (folder / "receive.mjs").write_text(source, encoding="utf-8")
    return answers([program("node"), DRIVERS / "recipe/recipe.mjs", folder / "receive.mjs"], cases)


def recipe_of_go(source, folder, cases):
    go = program("go")
    (folder / "receive.go").write_text(source, encoding="utf-8")
    for path in (EXAMPLES / "go/go.mod", DRIVERS / "recipe/receive_test.go"):
        shutil.copy(path, folder)
    subprocess.run([go, "test", "-c", "-o", "recipe", "."], cwd=folder, check=True, timeout=600)
    return answers([folder / "recipe"], cases)


# Language → the recipe, and what runs its text on cases.
RECIPES = {"python": (EXAMPLES / "receive.py", recipe_of_python), "node": (EXAMPLES / "receive.mjs", recipe_of_node),
           "go": (EXAMPLES / "go/receive.go", recipe_of_go)}


def command_of(language, folder):
    """What starts the recipe as a server; its port is the last argument."""
    if language == "python":
        return [sys.executable, "-B", EXAMPLES / "receive.py"]
    if language == "node":
        return [program("node"), EXAMPLES / "receive.mjs"]
    build = [program("go"), "build", "-o", folder / "receive", "."]
    subprocess.run(build, cwd=EXAMPLES / "go", check=True, timeout=600)
    return [folder / "receive"]


def post(port, headers, body):
    """The status that a receiver on loopback answers; headers may come twice."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.putrequest("POST", "/")
        for name, value in [*headers, ["content-length", str(len(body))]]:
            connection.putheader(name, value)
        connection.endheaders(body)
        return connection.getresponse().status
    finally:
        connection.close()


@contextlib.contextmanager
def receiving(language, folder, secrets):
    """A recipe that runs as a server: its port, and a function that gives the events it has acted on."""
    port, out = system.free_port(), folder / "events"

    def listens():
        with contextlib.suppress(OSError):
            return post(port, [], b"")

    with open(out, "wb") as log:
        child = subprocess.Popen([*map(str, command_of(language, folder)), str(port)], stdin=subprocess.DEVNULL,
                                 stdout=log, stderr=subprocess.DEVNULL,
                                 env={**os.environ, "ECHORA_WEBHOOK_SECRETS": " ".join(secrets)})
    try:
        eventually(lambda: child.poll() is not None or listens(), 30, "the receiver listens")
        yield port, lambda: [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    finally:
        child.kill()
        child.wait(10)


def library_of_python(calls):
    from standardwebhooks.webhooks import Webhook, WebhookVerificationError
    out = []
    for call in calls:
        try:
            Webhook(call["secrets"][0]).verify(base64.b64decode(call["body"]), dict(call["headers"]))
            out.append("accepted")
        except WebhookVerificationError as why:
            out.append(f"refused: {why}")
    return out


def library_of_node(calls):
    node = program("node")
    if not (LIBRARIES / "node_modules/standardwebhooks").is_dir():
        pytest.skip("no standardwebhooks of npm: ops/install --tests")
    return answers([node, DRIVERS / "libraries/libraries.cjs", LIBRARIES], calls)


def library_of_go(calls):
    if not (LIBRARIES / "libraries-go").exists():
        pytest.skip("no standard-webhooks of Go: ops/install --tests")
    return answers([LIBRARIES / "libraries-go"], calls)


# The published libraries, each with the first secret of a call and today's clock.
PUBLISHED = {"python": library_of_python, "node": library_of_node, "go": library_of_go}


def call_of(secret, headers, body):
    """A call in the form of a case, without clock and answer."""
    return {"secrets": [secret], "headers": [list(pair) for pair in headers], "body": base64.b64encode(body).decode()}


class Workflow:
    """The Code nodes of one workflow of ops/n8n, run in Node as they stand; `change` edits its text first."""

    def __init__(self, name, folder, change=None):
        self.name = name
        self.variable = "ECHORA_WEBHOOK_SECRETS_" + name.upper().replace("-", "_")
        text = (ROOT / f"ops/n8n/{name}.json").read_text(encoding="utf-8")
        self.path = folder / f"{name}.json"
        self.path.write_text(change(text) if change else text, encoding="utf-8")
        self.document = json.loads(text)

    def run(self, lines):
        driver = [program("node"), DRIVERS / "workflow.mjs", self.path, self.variable]
        return [json.loads(line) for line in answers(driver, lines)]

    def verify(self, cases):
        return self.run([{**case, "node": "Verify signature"} for case in cases])


def data_members(text):
    """Members of an event's `data` that a workflow's JSON reads."""
    return re.findall(r"json\.data\.([a-z_]+)", text)
