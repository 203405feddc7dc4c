"""The Command API through nginx and against its socket, with tokens, Redis and the bus as they are.

What answers on the bus is a scripted responder where the workers behind a call do not exist yet.
"""
import json
import time
import uuid

import pytest

from harness.gateway import ALL, APPROVE, EXECUTE, READ, CommandApi, Responder, refusal, reply
from harness.process import eventually, lasted_less

ID = "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10"
KEY = "0123456789abcdef" * 4
DECISION = {"entry_key": KEY, "decision": "approve_ingest", "reviewed_by": "anna"}
RULE = {"selector": {"all": True}, "decision": "defer", "reviewed_by": "anna"}

# call: path, scope, a good body, what the responder answers, the status that callers see.
WORKFLOW = {
    "check-tag": (READ, {"source": "manami"}, reply(200, {"latest_tag": "a", "changed": False}), 200),
    "start-incremental-run": (EXECUTE, {"source": "manami", "tag": "a"}, reply(201, {"run_id": 7, "snapshot_id": 3}), 201),
    "build-diff": (EXECUTE, {"run_id": 7}, reply(202, {"run_id": 7, "phase": "fetched", "state": "running"}), 202),
    "process-stages": (EXECUTE, {"run_id": 7}, reply(202, {"run_id": 7, "phase": "diffed", "state": "running"}), 202),
    "build-stage6-review": (EXECUTE, {"run_id": 7}, reply(200, {"review_ref": "artifact:sha256/" + KEY}), 200),
    "submit-stage6-decisions": (APPROVE, {"run_id": 7, "entry_decisions": [DECISION]}, reply(200, {"accepted_count": 1}), 200),
    "preview-stage6-batch": (READ, {"run_id": 7, "batch_rules": [RULE]}, reply(200, {"rule_matches": []}), 200),
    "replay-stage": (APPROVE, {"run_id": 7, "decision_batch_id": ID, "target_stage": "stage2"},
                     reply(202, {"run_id": 7, "phase": "review", "state": "running"}), 202),
    "ingest-approved": (EXECUTE, {"run_id": 7}, reply(202, {"run_id": 7, "phase": "review", "state": "running"}), 202),
    "finalize-run": (EXECUTE, {"run_id": 7}, reply(200, {"final_status": "success"}), 200),
}


@pytest.fixture
def api(spawn, redis, streams, folder):
    one = CommandApi(spawn, redis, folder)
    yield one
    one.stop()


@pytest.fixture
def responder(streams):
    return Responder(streams.bus("ingestion"), *(f"command.{call}" for call in (*WORKFLOW, "run-get", "run-entries")))


def audit(streams, **want):
    """The records on audit.command with these members."""
    found = [json.loads(m.data) for m in streams.bus().messages("AUDIT") if m.subject == "audit.command"]
    return [r for r in found if all(r.get(k) == v for k, v in want.items())]


def test_every_workflow_call(api, responder, streams):
    api.start()
    for call, (scope, body, answer, status) in WORKFLOW.items():
        responder.answers[f"command.{call}"] = answer
        got = api.post(f"/workflow/{call}", body, scope=scope)
        assert (got.status, got.json) == (status, json.loads(answer[1])), f"{call}: {got}"
        asked = responder.asked[-1]
        assert json.loads(asked.data) == body
        assert asked.headers["Echora-Request-Id"] == got.headers["x-request-id"]
        assert 0 < int(asked.headers["Echora-Deadline"]) / 1000 - time.time() <= 10.5
        assert asked.headers["Echora-Context"] and asked.headers["traceparent"].startswith("00-")
        keyed = call not in ("check-tag", "preview-stage6-batch")
        assert ("Echora-Idem" in asked.headers) == keyed
        if status == 202:
            assert got.headers["location"] == "/workflow/runs/7" and got.headers["retry-after"] == "5"
        other = READ if scope != READ else EXECUTE
        refused = api.post(f"/workflow/{call}", body, scope=other)
        assert (refused.status, refused.code, refused.json["scope"]) == (403, "insufficient_scope", scope)
    assert len(responder.asked) == len(WORKFLOW)
    assert len(audit(streams, kind="outcome")) == 2 * len(WORKFLOW)
