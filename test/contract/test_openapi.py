"""contracts/openapi.json: made from the route table, and what the specification's tables promise."""
import json
import re
import subprocess

import jsonschema
import pytest

from harness import promises
from harness.settings import BUILD, ROOT

TEXT = (ROOT / "contracts/openapi.json").read_text()
API = json.loads(TEXT)
READ, EXECUTE, APPROVE = "workflow.read", "workflow.execute", "workflow.approve"
# Method, path → scope, whether a key is needed, the statuses of good answers.
CALLS = {
    ("post", "/workflow/check-tag"): (READ, False, {"200"}),
    ("post", "/workflow/start-incremental-run"): (EXECUTE, True, {"201"}),
    ("post", "/workflow/build-diff"): (EXECUTE, True, {"200", "202"}),
    ("post", "/workflow/process-stages"): (EXECUTE, True, {"200", "202"}),
    ("post", "/workflow/build-stage6-review"): (EXECUTE, True, {"200", "202"}),
    ("post", "/workflow/submit-stage6-decisions"): (APPROVE, True, {"200"}),
    ("post", "/workflow/preview-stage6-batch"): (READ, False, {"200"}),
    ("post", "/workflow/replay-stage"): (APPROVE, True, {"200", "202"}),
    ("post", "/workflow/ingest-approved"): (EXECUTE, True, {"200", "202"}),
    ("post", "/workflow/finalize-run"): (EXECUTE, True, {"200"}),
    ("get", "/workflow/runs/{run_id}"): (READ, False, {"200"}),
    ("get", "/workflow/runs/{run_id}/entries"): (READ, False, {"200"}),
    ("get", "/workflow/artifacts/{sha256}"): (APPROVE, False, {"200"}),
    ("get", "/updates/{event_id}"): (APPROVE, False, {"200"}),
    ("post", "/updates/{event_id}/decision"): (APPROVE, True, {"200"}),
    ("get", "/dlq"): (READ, False, {"200"}),
    ("get", "/dlq/{seq}"): (READ, False, {"200"}),
    ("post", "/dlq/replay"): (APPROVE, True, {"200", "202"}),
    ("post", "/dlq/discard"): (APPROVE, True, {"200", "202"}),
    ("post", "/operations/reconcile"): (EXECUTE, True, {"202"}),
}


def test_it_is_up_to_date():
    made = subprocess.run([BUILD / "ops/echora", "contracts", "openapi"], capture_output=True, text=True, check=True)
    assert TEXT == made.stdout, "make it again: ops/tools/regenerate"


def test_every_call_is_there_and_no_other():
    there = {(method, path) for path, methods in API["paths"].items() for method in methods}
    assert there == set(CALLS) and API["openapi"] == "3.1.0"


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_a_call(call):
    method, path = call
    scope, keyed, good = CALLS[call]
    operation = API["paths"][path][method]
    assert operation["security"] == [{"oauth2": [scope]}] and operation["summary"]
    assert {s for s in operation["responses"] if s < "300"} == good
    everywhere = {"400", "401", "403", "404", "405", "413", "422", "429", "431", "500", "503", "504"}
    assert everywhere <= set(operation["responses"])
    assert ("409" in operation["responses"]) == keyed and ("415" in operation["responses"]) == (method == "post")
    names = {p.get("$ref", p.get("name")) for p in operation["parameters"]}
    assert ("#/components/parameters/IdempotencyKey" in names) == keyed
    assert set(re.findall(r"{(\w+)}", path)) == {p["name"] for p in operation["parameters"] if p.get("in") == "path"}
    assert ("requestBody" in operation) == (method == "post")
    if "artifacts" in path:
        assert list(operation["responses"]["200"]["content"]) == ["application/octet-stream"]
        return
    for status in good:
        answer = operation["responses"][status]["content"]["application/json"]
        assert answer["schema"]["properties"] and answer["schema"]["required"], status
        assert promises.faults(answer["schema"], answer["example"]) == [], status
    if method == "post":
        body = operation["requestBody"]["content"]["application/json"]
        assert promises.faults(body["schema"], body["example"]) == []
    for parameter in (promises.resolved(p) for p in operation["parameters"]):
        if "example" in parameter:
            assert promises.faults(parameter["schema"], parameter["example"]) == []


def schemas(value):
    if isinstance(value, dict):
        if isinstance(value.get("type"), str) and value["type"] in ("object", "string", "integer", "array"):
            yield value
        for inner in value.values():
            yield from schemas(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from schemas(inner)


def test_schemas_are_schemas_and_references_lead_somewhere():
    found = list(schemas(API["paths"]))
    assert len(found) > 100
    for schema in found:
        jsonschema.Draft202012Validator.check_schema(schema)
    for reference in set(re.findall(r'"\$ref": "([^"]+)"', TEXT)):
        at = API
        for part in reference.removeprefix("#/").split("/"):
            at = at[part]
        assert at


def test_a_body_by_its_schema():
    body = API["paths"]["/workflow/submit-stage6-decisions"]["post"]["requestBody"]["content"]["application/json"]
    check = jsonschema.Draft202012Validator(body["schema"])
    decision = {"entry_key": "ab" * 32, "decision": "defer", "reviewed_by": "anna"}
    assert check.is_valid({"run_id": 7, "entry_decisions": [decision]})
    for bad in ({}, {"run_id": 0}, {"run_id": 7, "extra": 1}, {"run_id": 7, "entry_decisions": [{**decision, "x": 1}]},
                {"run_id": 7, "entry_decisions": [{**decision, "entry_key": "A"}]},
                {"run_id": 7, "entry_decisions": []},
                {"run_id": 7, "batch_rules": [{**decision, "selector": {}}]}, {"run_id": 7},
                {"run_id": 7, "entry_decisions": [{**decision, "target_stage": "stage1"}]},
                {"run_id": 7, "entry_decisions": [{**decision, "decision": "send_back_to_stage"}]},
                {"run_id": 7, "entry_decisions": [{**decision, "edits": {}}]}):
        assert not check.is_valid(bad), bad


def test_codes_are_those_of_the_specification():
    codes = API["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    assert sorted(codes) == sorted([
        "validation_error", "unauthenticated", "insufficient_scope", "not_found", "method_not_allowed",
        "idempotency_conflict", "already_decided", "run_state_conflict", "run_lock_conflict", "request_in_progress",
        "payload_too_large", "unsupported_media_type", "headers_too_large", "rate_limited", "non_retryable_error",
        "retryable_upstream_error"])
