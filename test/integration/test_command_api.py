"""The Command API through nginx and against its socket, with tokens, Redis and the bus as they are.

What answers on the bus is a scripted responder where the workers behind a call do not exist yet.
"""
import asyncio
import hashlib
import json
import socket
import ssl
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.gateway import APPROVE, EXECUTE, READ, Responder, audit, first_answer, parsed, refusal, reply
from harness.process import eventually, lasted_less

ID = "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10"
KEY = "0123456789abcdef" * 4
DECISION = {"entry_key": KEY, "decision": "approve_ingest", "reviewed_by": "anna"}
RULE = {"selector": {"all": True}, "decision": "defer", "reviewed_by": "anna"}

# call: path, scope, a good body, what the responder answers, the status that callers see.
WORKFLOW = {
    "check-tag": (READ, {"source": "manami"}, reply(200, {"latest_tag": "a", "changed": False}), 200),
    "start-incremental-run": (EXECUTE, {"source": "manami", "tag": "a"},
                              reply(201, {"run_id": 7, "snapshot_id": 3}), 201),
    "build-diff": (EXECUTE, {"run_id": 7}, reply(202, {"run_id": 7, "phase": "fetched", "state": "running"}), 202),
    "process-stages": (EXECUTE, {"run_id": 7}, reply(202, {"run_id": 7, "phase": "diffed", "state": "running"}), 202),
    "build-stage6-review": (EXECUTE, {"run_id": 7}, reply(200, {"review_ref": "artifact:sha256/" + KEY}), 200),
    "submit-stage6-decisions": (APPROVE, {"run_id": 7, "entry_decisions": [DECISION]},
                                reply(200, {"accepted_count": 1}), 200),
    "preview-stage6-batch": (READ, {"run_id": 7, "batch_rules": [RULE]}, reply(200, {"rule_matches": []}), 200),
    "replay-stage": (APPROVE, {"run_id": 7, "decision_batch_id": ID, "target_stage": "stage2"},
                     reply(202, {"run_id": 7, "phase": "review", "state": "running"}), 202),
    "ingest-approved": (EXECUTE, {"run_id": 7}, reply(202, {"run_id": 7, "phase": "review", "state": "running"}), 202),
    "finalize-run": (EXECUTE, {"run_id": 7}, reply(200, {"final_status": "success"}), 200),
}


@pytest.fixture
def responder(streams):
    one = Responder(streams.bus("workflow"), *(f"command.{call}" for call in (*WORKFLOW, "run-get", "run-entries")))
    yield one
    one.close()


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
    assert len(audit(streams, 2 * len(WORKFLOW), kind="outcome")) == 2 * len(WORKFLOW)


def test_reading_a_run(api, responder):
    api.start()
    responder.answers["command.run-get"] = reply(200, {"run_id": 7, "phase": "staged"})
    responder.answers["command.run-entries"] = reply(200, {"entries": [], "next_cursor": None})
    assert api.get("/workflow/runs/7", scope=READ).json == {"run_id": 7, "phase": "staged"}
    assert api.get("/workflow/runs/7/entries?limit=5&state=failed&cursor=a%2Bb", scope=READ).status == 200
    assert responder.bodies("command.run-get") == [{"run_id": 7}]
    assert responder.bodies("command.run-entries") == [{"run_id": 7, "limit": 5, "state": "failed", "cursor": "a+b"}]


def test_an_artifact_of_a_run(api, streams):
    content = bytes(range(256)) * 4096
    digest = hashlib.sha256(content).hexdigest()
    api.start()
    assert api.get(f"/workflow/artifacts/{digest}", scope=APPROVE).code == "retryable_upstream_error"
    one = Responder(streams.bus("workflow"), "command.artifact-get")
    one.answers["command.artifact-get"] = ({"Echora-Status": "200"}, content)
    try:
        got = api.get(f"/workflow/artifacts/{digest}", scope=APPROVE)
        assert got.status == 200 and got.body == content
        assert got.headers["content-type"] == "application/octet-stream"
        assert got.headers["content-disposition"] == "attachment" and got.headers["x-content-type-options"] == "nosniff"
        assert one.bodies("command.artifact-get") == [{"sha256": digest}]
        assert api.get(f"/workflow/artifacts/{KEY}", scope=APPROVE).code == "non_retryable_error"
        assert api.get("/workflow/artifacts/x", scope=APPROVE).status == 422
        assert api.get(f"/workflow/artifacts/{digest}", scope=READ).code == "insufficient_scope"
        one.answers["command.artifact-get"] = refusal(404, "not_found")
        assert api.get(f"/workflow/artifacts/{digest}", scope=APPROVE).code == "not_found"
    finally:
        one.close()


def violations(answer):
    return {(v["pointer"], v["code"]) for v in answer.json["violations"]}


def test_what_a_caller_may_not_say(api, responder):
    api.start()

    def refused(answer, status, code, *faults):
        assert (answer.status, answer.code) == (status, code), answer
        assert violations(answer) >= set(faults), answer
    run = {"run_id": 7}
    refused(api.post("/workflow/build-diff", {**run, "extra": 1}), 422, "validation_error", ("/extra", "unknown"))
    refused(api.post("/workflow/build-diff", b'{"run_id":7,"run_id":8}'), 422, "validation_error", ("", "repeated"))
    refused(api.post("/workflow/build-diff", b"[1]"), 422, "validation_error", ("", "type"))
    refused(api.post("/workflow/build-diff", {}), 422, "validation_error", ("/run_id", "missing"))
    refused(api.post("/workflow/build-diff?run_id=7", run), 422, "validation_error", ("/run_id", "unknown"))
    refused(api.post("/updates/x/decision", {"decision": "approve", "reviewed_by": "a"}), 422, "validation_error",
            ("/event_id", "pattern"))
    refused(api.post(f"/updates/{ID}/decision", {"event_id": ID, "decision": "approve", "reviewed_by": "a"}), 422,
            "validation_error", ("/event_id", "unknown"))
    refused(api.post("/workflow/build-diff", b"{"), 400, "validation_error")
    refused(api.post("/workflow/build-diff", b'{"run_id":7}\0'), 400, "validation_error")
    refused(api.post("/workflow/build-diff", run, key=""), 400, "validation_error")
    refused(api.post("/workflow/build-diff", run, key="with blank"), 400, "validation_error")
    refused(api.post("/workflow/build-diff", run, key="k" * 256), 400, "validation_error")
    for headers in ({"Content-Type": "text/plain"}, {"Content-Encoding": "gzip"}):
        refused(api.post("/workflow/build-diff", run, headers=headers), 415, "unsupported_media_type")
    refused(api.post("/workflow/build-diff", b" " * (256 * 1024 + 1)), 413, "payload_too_large")
    refused(api.post("/workflow/submit-stage6-decisions", b" " * (1024 * 1024 + 1)), 413, "payload_too_large")
    refused(api.post("/workflow/submit-stage6-decisions", b" " * (1024 * 1024)), 400, "validation_error")
    refused(api.get("/dlq?payload=1"), 422, "validation_error", ("/payload", "unknown"))
    refused(api.get("/dlq?limit=1001"), 422, "validation_error", ("/limit", "range"))
    refused(api.get("/dlq?consumer=a&consumer=a"), 422, "validation_error", ("/consumer", "repeated"))
    refused(api.get("/workflow/runs/0"), 422, "validation_error", ("/run_id", "range"))
    refused(api.get("/workflow/runs/9007199254740992"), 422, "validation_error", ("/run_id", "range"))
    refused(api.get("/nothing"), 404, "not_found")
    refused(api.get("/dlq/"), 404, "not_found")
    refused(api.get("/%64lq"), 404, "not_found")
    wrong = api.call("PUT", "/dlq", b"")
    refused(wrong, 405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET"
    refused(api.post("/workflow/build-diff", {**run, "accept_shrink": True}, scope=EXECUTE), 403, "insufficient_scope")
    assert responder.asked == []
    responder.answers["command.build-diff"] = reply(200, {"run_id": 7})
    assert api.post("/workflow/build-diff", {**run, "accept_shrink": True}).status == 200
    assert api.post("/workflow/build-diff", run, key='"in:quotes"').status == 200


def test_tokens(api, responder):
    api.start()
    responder.answers["command.check-tag"] = reply(200, {})

    def tag(**more):
        return api.post("/workflow/check-tag", {"source": "a"}, **more)
    absent = tag(token="")
    assert (absent.status, absent.code) == (401, "unauthenticated")
    assert absent.headers["www-authenticate"] == 'Bearer realm="echora"'
    now = int(time.time())
    for token in ("x", api.token() + "A", api.token(iat=now - 300, exp=now - 120), api.token(client_id="nobody"),
                  api.token(aud="another"), api.token(iss="https://other.example")):
        bad = tag(token=token)
        assert (bad.status, bad.code) == (401, "unauthenticated")
        assert 'error="invalid_token"' in bad.headers["www-authenticate"]
    assert api.get("/workflow/runs/7", headers={"Authorization": "Basic YTpi"}, token="").status == 401
    missing = tag(scope=EXECUTE)
    assert 'error="insufficient_scope", scope="workflow.read"' in missing.headers["www-authenticate"]
    assert responder.asked == []
    assert tag(scope=READ).status == 200
    told = [line["token"] for line in api.worker.logs() if line["msg"] == "call"]
    assert told == ["absent", "parts", "signature", "expired", "client", "audience", "issuer", "absent", "ok", "ok"]


def test_without_and_with_slow_responders(api, responder, streams):
    api.env["ECHORA_REPLY_TIMEOUT"] = "700ms"
    api.start()
    began = time.monotonic()
    nobody = api.get(f"/updates/{ID}")
    assert (nobody.status, nobody.code) == (503, "retryable_upstream_error") and lasted_less(began, 2)
    key = str(uuid.uuid4())
    late = api.post("/workflow/finalize-run", {"run_id": 7}, key=key)
    assert (late.status, late.code) == (504, "retryable_upstream_error")
    # The claim is let go: the same key is tried again, with a higher number, and then remembered.
    responder.answers["command.finalize-run"] = reply(200, {"final_status": "success"})
    assert api.post("/workflow/finalize-run", {"run_id": 7}, key=key).status == 200
    first, second = (m.headers["Echora-Idem"].split(":") for m in responder.asked)
    assert first[0] == second[0] and int(second[1]) > int(first[1])


def test_waiting_for_a_long_call(api, responder):
    api.env["ECHORA_REPLY_TIMEOUT"] = "300ms"
    api.start()

    async def in_a_second(message):
        await asyncio.sleep(1)
        return reply(200, {"processed_count": 5})
    responder.answers["command.process-stages"] = in_a_second
    assert api.post("/workflow/process-stages", {"run_id": 7}).status == 504
    done = api.post("/workflow/process-stages", {"run_id": 7}, headers={"Prefer": "respond-async, wait=20"})
    assert (done.status, done.json) == (200, {"processed_count": 5})
    assert [m.headers.get("Echora-Wait") for m in responder.asked] == [None, "20"]


def test_refusals_of_responders(api, responder):
    api.start()

    def told(answer):
        responder.answers["command.finalize-run"] = answer
        return api.post("/workflow/finalize-run", {"run_id": 7})
    got = told(refusal(409, "run_state_conflict", phase="staged", state="running", secret="x"))
    assert (got.status, got.code) == (409, "run_state_conflict")
    assert (got.json["phase"], got.json["state"]) == ("staged", "running") and "secret" not in got.json
    got = told(refusal(409, "run_lock_conflict", holder_run_id=12, retryable=True, retry_after_ms=7001))
    assert (got.code, got.json["holder_run_id"], got.headers["retry-after"]) == ("run_lock_conflict", 12, "8")
    got = told(refusal(422, "validation_error", violations=[{"pointer": "/run_id", "code": "unknown-run"}]))
    assert (got.status, violations(got)) == (422, {("/run_id", "unknown-run")})
    assert told(refusal(404, "not_found")).code == "not_found"
    assert told(refusal(500, "non_retryable_error")).status == 500
    for broken in (refusal(200, "pg-23505", "fatal"), ({}, b""), ({"Echora-Status": "200"}, b"no JSON"),
                   reply(99, {}), reply(202, {})):
        assert (got := told(broken)).code == "non_retryable_error", f"{broken}: {got}"
    assert told(refusal(0, "dependency-away", "unavailable")).status == 503


def test_idempotency(api, responder, redis):
    api.start()
    calls = iter(range(1, 100))
    responder.answers["command.start-incremental-run"] = lambda m: reply(201, {"run_id": next(calls), "snapshot_id": 1})

    def start(tag="a", **more):
        return api.post("/workflow/start-incremental-run", {"source": "manami", "tag": tag}, **more)
    first, again, other = start(key="k1"), start(key="k1"), start(key="k2")
    assert (first.status, first.json["run_id"], first.headers.get("idempotent-replayed")) == (201, 1, None)
    assert (again.status, again.body, again.headers["idempotent-replayed"]) == (201, first.body, "true")
    assert again.headers["location"] == first.headers["location"] == "/workflow/runs/1"
    assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert other.json["run_id"] == 2
    conflict = start("b", key="k1")
    assert (conflict.status, conflict.code) == (409, "idempotency_conflict")
    # Somebody else's key of the same name is another key; and without the scope nothing is replayed.
    assert start(key="k1", token=api.token(EXECUTE, client_id="slow")).json["run_id"] == 3
    assert start(key="k1", scope=READ).status == 403
    # What is retryable is not remembered, what is not is.
    for answer, remembered in ((refusal(409, "run_lock_conflict"), False), (refusal(422, "validation_error"), False),
                               (refusal(500, "non_retryable_error"), True)):
        responder.answers["command.start-incremental-run"] = answer
        key, before = str(uuid.uuid4()), len(responder.asked)
        first, second = start(key=key), start(key=key)
        assert (first.status, first.code) == (second.status, second.code)
        assert (len(responder.asked) - before == 1) == remembered
        assert ("idempotent-replayed" in second.headers) == remembered


def test_the_same_call_meanwhile(api, responder):
    api.start()

    async def slowly(message):
        while len(responder.asked) < 2:
            await asyncio.sleep(0.02)
        return reply(200, {"final_status": "success"})
    responder.answers["command.finalize-run"] = slowly
    responder.answers["command.check-tag"] = reply(200, {})
    with ThreadPoolExecutor() as pool:
        first = pool.submit(api.post, "/workflow/finalize-run", {"run_id": 7}, key="k")
        eventually(lambda: responder.asked, 5, "the first call")
        second = api.post("/workflow/finalize-run", {"run_id": 7}, key="k")
        assert (second.status, second.code) == (409, "request_in_progress")
        assert 1 <= int(second.headers["retry-after"]) <= 30
        api.post("/workflow/check-tag", {"source": "a"})  # lets the first go on
        assert first.result().status == 200
    assert api.post("/workflow/finalize-run", {"run_id": 7}, key="k").headers["idempotent-replayed"] == "true"


def test_rates(api, responder):
    api.start()
    responder.answers["command.run-get"] = reply(200, {})
    slow = api.token(client_id="slow")
    answers = [api.get("/workflow/runs/7", token=slow) for _ in range(4)]
    assert [a.status for a in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"read";q=3;w=60'
    assert answers[0].headers["ratelimit"].startswith('"read";r=2;t=')
    assert answers[3].code == "rate_limited" and 1 <= int(answers[3].headers["retry-after"]) <= 20
    assert api.get("/workflow/runs/7").status == 200  # another client
    assert api.post("/workflow/finalize-run", {"run_id": 1}, token=slow, scope=EXECUTE).status != 429  # another class


def test_without_redis(api, responder, redis):
    api.start()
    responder.answers["command.run-get"] = responder.answers["command.check-tag"] = reply(200, {})
    redis.kill()
    api.worker.wait_unready()
    refused = api.post("/workflow/finalize-run", {"run_id": 7})
    assert (refused.status, refused.code) == (503, "retryable_upstream_error")
    assert api.get("/workflow/runs/7").status == api.post("/workflow/check-tag", {"source": "a"}).status == 200
    assert [m.subject for m in responder.asked] == ["command.run-get", "command.check-tag"]
    redis.start()
    responder.answers["command.finalize-run"] = reply(200, {})
    eventually(lambda: api.post("/workflow/finalize-run", {"run_id": 7}).status == 200, 20, "Redis is back")


def test_audit(api, responder, streams):
    api.start()
    responder.answers["command.submit-stage6-decisions"] = reply(200, {"accepted_count": 1})
    body = {"run_id": 7, "entry_decisions": [DECISION]}
    got = api.post("/workflow/submit-stage6-decisions", body, key="k")
    intent, outcome = audit(streams, 2, request_id=got.headers["x-request-id"])
    assert (intent["kind"], outcome["kind"]) == ("intent", "outcome")
    for record in (intent, outcome):
        assert (record["client"], record["sub"], record["call"]) == ("n8n", "service-n8n", "submit-stage6-decisions")
        assert record["path"] == "/workflow/submit-stage6-decisions" and record["ids"] == {"run_id": 7}
        assert all(len(record[f"{what}_sha256"]) == 64 for what in ("jti", "key", "body"))
    assert (outcome["status"], outcome["code"], outcome["replayed"]) == (200, "", False)
    again = api.post("/workflow/submit-stage6-decisions", body, key="k")
    (outcome,) = audit(streams, 1, request_id=again.headers["x-request-id"])
    assert outcome["replayed"] is True
    invalid = api.post("/workflow/submit-stage6-decisions", {"run_id": "7"})
    (outcome,) = audit(streams, 1, request_id=invalid.headers["x-request-id"])
    assert (outcome["status"], outcome["code"], "ids" in outcome) == (422, "validation_error", False)
    assert not audit(streams, request_id=api.post("/workflow/finalize-run", {}, token="x").headers["x-request-id"])
    # No word of the broker: no approval. What is no approval goes on.
    streams.bus().wait(streams.bus().js.delete_stream("AUDIT"))
    before = len(responder.asked)
    refused = api.post("/workflow/submit-stage6-decisions", body)
    assert (refused.status, refused.code) == (503, "retryable_upstream_error") and len(responder.asked) == before
    responder.answers["command.finalize-run"] = reply(200, {})
    done = api.post("/workflow/finalize-run", {"run_id": 7})
    assert done.status == 200
    eventually(lambda: api.worker.metric("echora_command_audit_failures_total") == 3, 10, "each failure is counted")
    told = [line["request_id"] for line in api.worker.logs() if line["msg"] == "no audit record"]
    assert sorted(told) == sorted(2 * [refused.headers["x-request-id"]] + [done.headers["x-request-id"]])


def test_over_tls(api, responder, tmp_path):
    """Plain HTTP to that port is refused like anything else that can't be read."""
    responder.answers["command.run-get"] = reply(200, {"run_id": 7})
    certificate, key = tmp_path / "crt", tmp_path / "key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
                   check=True, capture_output=True, stdin=subprocess.DEVNULL)
    api.start(nginx=False)
    api.start_nginx(certificate=api.file("tls.crt", certificate.read_text()), key=api.file("tls.key", key.read_text()))
    context = ssl.create_default_context(cafile=str(certificate))
    with socket.create_connection(("127.0.0.1", api.port), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            s.sendall(b"GET /workflow/runs/7 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + api.token().encode()
                      + b"\r\n\r\n")
            assert parsed(first_answer(s)).json == {"run_id": 7}
    assert parsed(api.raw(b"GET /dlq HTTP/1.1\r\nHost: a\r\n\r\n")).code == "validation_error"


def test_documents_are_served(api):
    api.start()
    got = api.get("/openapi.json", token="")
    assert got.status == 200 and got.headers["content-type"] == "application/json" and got.json["openapi"] == "3.1.0"
    page = api.get("/docs", token="")
    assert page.status == 200 and page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"] and b"/openapi.json" in page.body
