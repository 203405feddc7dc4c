"""ops/n8n/credentials.py: what the workflows ask for by id, with no more rights than they need."""
import json
import subprocess
import sys

import pytest

from harness.settings import ROOT
from ops.fleet.fleet import CLIENTS

pytestmark = pytest.mark.one_nats


def run(*arguments):
    return subprocess.run([sys.executable, "-B", ROOT / "ops/n8n/credentials.py", *map(str, arguments)],
                          capture_output=True, text=True)


@pytest.fixture
def clients(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).write_text(f"secret {name}\n")
    return ["--token-url", "https://issuer.example/token", "--read", f"reader:{tmp_path}/one",
            "--approve", f"approver:{tmp_path}/two", "--reviewers", f"people:{tmp_path}/three"]


def test_each_credential_of_the_workflows_is_there(clients):
    rows = {row["id"]: row for row in json.loads(run(*clients).stdout)}
    asked = {}
    for file in (ROOT / "ops/n8n").glob("*.json"):
        for node in json.loads(file.read_text(encoding="utf-8"))["nodes"]:
            asked.update({one["id"]: (one["name"], kind) for kind, one in node.get("credentials", {}).items()})
    assert {key: (row["name"], row["type"]) for key, row in rows.items()} == asked
    read, approve, people = (rows[f"echora-{name}"]["data"] for name in ("read", "approve", "reviewers"))
    assert (read["clientId"], read["clientSecret"], read["scope"]) == ("reader", "secret one", "workflow.read")
    assert (approve["clientId"], approve["clientSecret"], approve["scope"]) == ("approver", "secret two", "workflow.approve")
    assert people == {"user": "people", "password": "secret three"}
    for data in (read, approve):
        assert (data["grantType"], data["accessTokenUrl"]) == ("clientCredentials", "https://issuer.example/token")
        assert data["authentication"] == "header" and "additionalBodyProperties" not in data


def test_an_audience_stands_in_the_form(clients):
    read = json.loads(run(*clients, "--audience", "echora-command-api").stdout)[0]["data"]
    assert read["authentication"] == "body" and json.loads(read["additionalBodyProperties"]) == {"audience": "echora-command-api"}


def test_clients_of_this_machine_have_these_scopes_and_no_more():
    assert CLIENTS["n8n-approve"] == ["workflow.approve"]
    assert "workflow.read" in CLIENTS["n8n"] and "workflow.approve" not in CLIENTS["n8n"]


def test_what_is_missing_is_said(clients, tmp_path):
    assert "go together" in run(*clients[:-2]).stderr
    assert "is no NAME:FILE" in run(*clients[:-1], "people").stderr
    done = run("--state", tmp_path / "none")
    assert done.returncode == 1 and "run ops/up first" in done.stderr
