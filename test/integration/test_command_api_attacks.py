"""Attacks on the Command API: by its callers, by a responder that lies, by a Redis that somebody else writes to."""
import hashlib
import http.server
import json
import os
import socket
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.gateway import APPROVE, EXECUTE, READ, Responder, drained, first_answer, parsed, refusal, reply
from harness.process import eventually, lasted_less

ID = "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10"
CALLS = ("check-tag", "start-incremental-run", "build-diff", "process-stages", "submit-stage6-decisions", "finalize-run",
         "run-get", "artifact-get")


@pytest.fixture
def responder(streams):
    one = Responder(streams.bus("workflow"), *(f"command.{call}" for call in CALLS))
    yield one
    one.close()


def audited(streams, **want):
    found = [json.loads(m.data) for m in streams.bus().messages("AUDIT") if m.subject == "audit.command"]
    return [r for r in found if all(r.get(k) == v for k, v in want.items())]


def key_name(path, key, client="n8n"):
    client, key = (hashlib.sha256(text.encode()).hexdigest() for text in (client, key))
    return f"echora:idem:v1:{client}:{path}:{key}"


# Callers -----------------------------------------------------------------------------------------------------------


def test_refused_for_scope_spends_the_rate(api, streams):
    """Else a token for reading could fill the audit, and no approval would be taken any more."""
    api.start()
    slow = api.token(READ, client_id="slow")
    answers = [api.post("/workflow/finalize-run", {"run_id": 7}, token=slow) for _ in range(70)]
    assert [a.status for a in answers[:60]] == [403] * 60 and answers[-1].code == "rate_limited"
    assert len(audited(streams, client="slow")) < 70


def test_an_expired_token_is_told_so_whatever_others_send(api, responder):
    """Who shares an address with somebody who guesses tokens must learn that its own is to be renewed."""
    api.start(nginx=False)
    now = int(time.time())
    while api.scgi(token="x").status != 429:
        pass
    expired = api.scgi(token=api.token(iat=now - 900, exp=now - 300))
    assert (expired.status, expired.code) == (401, "unauthenticated")
    assert api.scgi(token=api.token(iat=now - 900, exp=now - 300, client_id="nobody")).status == 401
    assert api.scgi(token=api.token() + "A").status == 429


def test_waiting_takes_at_most_half_of_the_places(api, responder):
    api.env["ECHORA_IN_FLIGHT_MAX"] = "4"
    api.env["ECHORA_REPLY_TIMEOUT"] = "1s"
    api.start()
    responder.answers["command.run-get"] = reply(200, {})
    with ThreadPoolExecutor(8) as pool:
        waits = [pool.submit(api.post, "/workflow/process-stages", {"run_id": 7}, headers={"Prefer": "wait=20"})
                 for _ in range(4)]
        eventually(lambda: len(responder.asked) >= 4, 10, "four calls that wait")
        began = time.monotonic()
        eventually(lambda: api.get("/workflow/runs/7").status == 200, 15, "a place")
        assert lasted_less(began, 10)
        api.worker.kill()
        [w.result() for w in waits]


def test_an_approval_in_a_call_that_is_none_is_audited_before(api, responder, streams):
    api.start()
    responder.answers["command.build-diff"] = reply(202, {"run_id": 7})
    got = api.post("/workflow/build-diff", {"run_id": 7, "accept_shrink": True})
    kinds = [r["kind"] for r in audited(streams, request_id=got.headers["x-request-id"])]
    assert kinds == ["intent", "outcome"]
    plain = api.post("/workflow/build-diff", {"run_id": 7})
    assert [r["kind"] for r in audited(streams, request_id=plain.headers["x-request-id"])] == ["outcome"]


def test_a_header_with_another_spelling_is_another(api, responder):
    api.start()
    got = api.post("/workflow/finalize-run", {"run_id": 7}, key="", headers={"Idempotency_Key": "k"})
    assert (got.status, got.code) == (400, "validation_error") and responder.asked == []


PATHS = ("//dlq", "/dlq/", "/DLQ", "/dlq;a=b", "/dlq/.", "/./dlq", "/x/../dlq", "/dlq%2f", "/%2fdlq", "/dlq%00", "/dlq%3flimit=1",
         "//evil.example/dlq", "/dlq//7", "/workflow/runs/7%2fentries", "/workflow/runs/7;x", "/workflow/runs/7/entries/",
         "/workflow//check-tag", "/workflow/artifacts/..%2f..%2fdlq", "/updates/%2e%2e/decision")


def test_paths_have_one_spelling(api, responder):
    """What nginx and the worker see is the same, or it is nobody's path."""
    api.start()
    host = b"Host: a\r\nAuthorization: Bearer " + api.token().encode() + b"\r\nConnection: close\r\n\r\n"
    for path in PATHS:
        got = parsed(api.raw(b"GET " + path.encode() + b" HTTP/1.1\r\n" + host))
        assert got.status in (400, 404, 405, 422) and got.code, f"{path}: {got}"
    assert responder.asked == []
    responder.answers["command.run-get"] = reply(200, {})
    got = parsed(api.raw(b"GET http://evil.example/workflow/runs/7 HTTP/1.1\r\n" + host))
    assert got.status == 200 and b"evil" not in got.body
    # A larger body is for the one path that has it, however nginx reads the others.
    big = b'{"run_id":7,"x":"' + b"y" * 300_000 + b'"}'
    head = b"Content-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: %d\r\n" % len(big)
    for path in (b"/workflow/x/../submit-stage6-decisions", b"/workflow/submit-stage6-decision%73"):
        got = parsed(api.raw(b"POST " + path + b" HTTP/1.1\r\n" + head + host + big))
        assert got.status in (404, 413), got


def test_the_same_key_for_other_things(api, responder):
    """One key, and what differs by the method's path, the client, the query, the body's bytes or who has decided."""
    api.start()
    calls = iter(range(1, 99))
    for call in ("finalize-run", "process-stages"):
        responder.answers[f"command.{call}"] = lambda m: reply(200, {"n": next(calls)})
    def n(path="/workflow/finalize-run", body=b'{"run_id":7}', **more):
        got = api.post(path, body, key="k", **more)
        return got.json.get("n", got.code)
    assert n() == n() == 1
    assert n("/workflow/process-stages") == 2
    assert n(token=api.token(EXECUTE, client_id="slow")) == 3
    for body in (b'{"run_id":7} ', b'{"run_id":7,"force":false}', b'{"run_id":8}', b'\n{"run_id":7}'):
        assert n(body=body) == "idempotency_conflict"
    assert n("/workflow/finalize-run?") == 1
    assert n(headers={"Content-Type": "APPLICATION/json; charset=x"}) == 1


def test_bodies_heavier_than_they_look(api, responder):
    """{} of two bytes takes two hundred once it is parsed: a burst of such bodies took gigabytes."""
    api.start()
    decision = {"entry_key": "0" * 64, "decision": "approve_ingest", "reviewed_by": "a"}
    start, end = json.dumps({"run_id": 7, "entry_decisions": [{**decision, "edits": {"a": [0]}}]}).split("0]", 1)
    for fill in ("{},", "[],", "0,"):
        got = api.post("/workflow/submit-stage6-decisions", (start + fill * 340_000 + "0]" + end).encode())
        assert (got.status, got.code) == (413, "payload_too_large")
    assert responder.asked == []
    responder.answers["command.submit-stage6-decisions"] = responder.answers["command.run-get"] = reply(200, {})
    many = [{**decision, "reason": ",{[" * 160, "edits": dict.fromkeys("abcdefghijklmnop", 1)} for _ in range(1000)]
    assert api.post("/workflow/submit-stage6-decisions", {"run_id": 7, "entry_decisions": many}).status == 200
    responder.answers["command.run-get"] = ({"Echora-Status": "200"}, b'{"a":[' + b"{}," * 2_000_000 + b"0]}")
    assert api.get("/workflow/runs/7").code == "non_retryable_error"


# A responder that lies ---------------------------------------------------------------------------------------------


def test_words_of_a_responder_are_cut_between_characters(api, responder):
    api.start()
    long = "x" + "\u00e4" * 200 + "\u65e5" * 200
    for status, code in ((500, "non_retryable_error"), (409, "run_state_conflict"), (422, "validation_error")):
        responder.answers["command.finalize-run"] = refusal(status, code, phase=long, state="a\r\nb: c" + long,
                                                            violations=[{"pointer": "/" + long, "code": long}])
        got = api.post("/workflow/finalize-run", {"run_id": 7}, key=code)
        assert got.status == status and got.code == code and got.body.decode()
        assert b"b" not in got.headers


@pytest.mark.parametrize("ms", [2 ** 63 - 1, 2 ** 62, -2 ** 63, 86_400_000_000])
def test_nobody_is_told_to_come_back_in_years(api, responder, ms):
    api.start(nginx=False)
    responder.answers["command.run-get"] = refusal(409, "run_lock_conflict", retry_after_ms=ms,
                                                   holder_run_id=-2 ** 63)
    got = api.scgi(uri="/workflow/runs/7")
    assert got.code is None or got.status == 409
    assert 1 <= int(got.headers["retry-after"]) <= 3600


def test_where_a_run_is_said_to_be(api, responder):
    """A call of one run points to that run; a new one has a number that is one."""
    api.start()
    for run in (8, -7, 0, 2 ** 63 - 1, "8", None, {"a": 1}):
        responder.answers["command.process-stages"] = reply(202, {"run_id": run})
        got = api.post("/workflow/process-stages", {"run_id": 7})
        assert (got.status, got.headers["location"]) == (202, "/workflow/runs/7"), f"{run}: {got}"
    for run in (-7, 0, 2 ** 53, "8", None):
        responder.answers["command.start-incremental-run"] = reply(201, {"run_id": run, "snapshot_id": 1})
        got = api.post("/workflow/start-incremental-run", {"source": "a", "tag": "a"})
        assert got.status == 500, f"{run}: {got}"


def test_statuses_that_a_call_does_not_have(api, responder):
    api.start()
    for status in (100, 199, 201, 202, 204, 205, 206, 299, 304, 599, "2e2", "-200", ""):
        responder.answers["command.finalize-run"] = reply(status, {"final_status": "success"})
        got = api.post("/workflow/finalize-run", {"run_id": 7})
        assert (got.status, got.code) == (500, "non_retryable_error"), f"{status}: {got}"


def test_a_responder_can_not_hide_a_call_from_the_audit(api, responder, streams):
    api.start()
    responder.answers["command.finalize-run"] = refusal(429, "rate_limited")
    got = api.post("/workflow/finalize-run", {"run_id": 7})
    assert len(audited(streams, request_id=got.headers["x-request-id"])) == 1


def test_an_artifact_for_somebody_slow(api, responder):
    """The bytes go to the gateway as fast as it takes them, and it keeps them for who reads slowly."""
    api.start()
    data = os.urandom(7 << 20)
    name = hashlib.sha256(data).hexdigest()
    responder.answers["command.artifact-get"] = ({"Echora-Status": "200"}, data)
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s.settimeout(60)
        s.connect(("127.0.0.1", api.port))
        s.sendall(b"GET /workflow/artifacts/" + name.encode() + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                  b"Authorization: Bearer " + api.token().encode() + b"\r\n\r\n")
        got = b""
        time.sleep(8)
        while part := s.recv(1 << 20):
            got += part
    assert parsed(got).status == 200 and parsed(got).body == data


# A Redis that somebody else writes to ------------------------------------------------------------------------------


STORED = {"status": "200", "type": "application/json", "location": "", "body": "{}"}
LIES = [{"status": "999"}, {"status": "-1"}, {"status": "0"}, {"status": "9223372036854775807"}, {"status": "302"},
        {"type": "text/html"}, {"type": "application/json\r\nX-Accel-Redirect: /docs"},
        {"location": "/a\r\nSet-Cookie: a=b"}, {"location": "https://evil.example/"}, {"location": "//evil.example"},
        {"location": "/workflow/runs/7\r\n"}, {"location": "/workflow/runs/0"}, {"status": "500"}, {"status": "201"}]


def test_stored_answers_that_are_none(api, responder, redis):
    api.start()
    responder.answers["command.finalize-run"] = reply(200, {})
    path = "/workflow/finalize-run"
    assert api.post(path, {"run_id": 7}, key="k").status == 200
    for lie in LIES:
        flat = [word for pair in {**STORED, **lie}.items() for word in pair]
        redis.call("HSET", key_name(path, "k"), *flat)
        got = api.post(path, {"run_id": 7}, key="k")
        assert (got.status, got.code) == (503, "retryable_upstream_error"), f"{lie}: {got}"
    assert api.worker.is_ready() and len(responder.asked) == 1
    redis.call("HSET", key_name(path, "k"), *[word for pair in STORED.items() for word in pair])
    assert api.post(path, {"run_id": 7}, key="k").body == b"{}"


def test_a_lease_longer_than_any(api, responder, redis):
    """Its clock was set back, or somebody else wrote it: the key is not locked until then."""
    api.start()
    responder.answers["command.finalize-run"] = reply(503, {})
    path = "/workflow/finalize-run"
    api.post(path, {"run_id": 7}, key="k")
    redis.call("HSET", key_name(path, "k"), "state", "pending", "lease_until", str(10 ** 15))
    responder.answers["command.finalize-run"] = reply(200, {})
    assert api.post(path, {"run_id": 7}, key="k").status == 200


def test_poisoned_buckets(api, responder, redis):
    api.start()
    responder.answers["command.run-get"] = reply(200, {})
    name = f"echora:rl:v1:{hashlib.sha256(b'n8n').hexdigest()}:read"
    for value in ("junk", "nan", "inf", "-inf", "1e308", "-1e308", "0x7fffffffffffffff", "", "9" * 400):
        redis.call("SET", name, value)
        got = [api.get("/workflow/runs/7").status for _ in range(2)]
        assert set(got) <= {200, 429}, f"{value}: {got}"
    redis.call("DEL", name)
    redis.call("HSET", name, "a", "b")
    assert api.get("/workflow/runs/7").status == 200


# What others may read -----------------------------------------------------------------------------------------------


def test_no_query_in_the_log_when_the_worker_has_ended(api):
    """Its socket is gone then, which nginx takes for graver than one that nobody serves."""
    api.start()
    api.worker.stop()
    assert api.get("/dlq?consumer=marker0815").status == 503
    for log in api.folder.rglob("*.log"):
        assert "marker0815" not in log.read_text(errors="replace"), log
