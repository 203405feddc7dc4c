"""Attacks on the Command API: by its callers, by a responder that lies, by a Redis that somebody else writes to."""
import contextlib
import hashlib
import json
import os
import select
import socket
import socketserver
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from random import Random
from types import SimpleNamespace

import pytest

from harness.gateway import EXECUTE, READ, Responder, audit, drained, parsed, refusal, reply
from harness.process import eventually, lasted_less
from harness.settings import LONG

ID = "3f0b8c1e-6d57-4a53-9c1c-1f1f0e6f7a10"
CALLS = ("check-tag", "start-incremental-run", "build-diff", "process-stages", "submit-stage6-decisions", "finalize-run",
         "run-get", "artifact-get")


@pytest.fixture
def responder(streams):
    one = Responder(streams.bus("workflow"), *(f"command.{call}" for call in CALLS))
    yield one
    one.close()


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
    assert len(audit(streams, 60, client="slow")) < 70


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
    kinds = [r["kind"] for r in audit(streams, 2, request_id=got.headers["x-request-id"])]
    assert kinds == ["intent", "outcome"]
    plain = api.post("/workflow/build-diff", {"run_id": 7})
    assert [r["kind"] for r in audit(streams, 1, request_id=plain.headers["x-request-id"])] == ["outcome"]


def test_the_audit_spells_ids_in_one_way(api, streams):
    """Who looks for an update finds who decided on it."""
    api.start()
    responder = Responder(streams.bus("catalogue"), "catalog.review.decide")
    responder.answers["catalog.review.decide"] = reply(200, {})
    api.post(f"/updates/{ID.upper()}/decision", {"decision": "approve", "reviewed_by": "a"})
    responder.close()
    assert [r["ids"] for r in audit(streams, 2)] == [{"review_id": ID}] * 2


def test_keys_of_calls_that_failed_are_kept_for_a_day(api, responder, redis):
    """Thirty days of them, of one caller who fails at its full rate, are more than Redis has room for."""
    api.start()
    responder.answers["command.finalize-run"] = refusal(409, "run_lock_conflict")
    path = "/workflow/finalize-run"
    api.post(path, {"run_id": 7}, key="k")
    assert 0 < redis.call("PTTL", key_name(path, "k")) <= 86_400_000
    responder.answers["command.finalize-run"] = reply(200, {})
    api.post(path, {"run_id": 7}, key="k")
    assert redis.call("PTTL", key_name(path, "k")) > 29 * 86_400_000


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


def test_slow_bodies_of_one_client_leave_room_to_others(api, responder):
    api.start(nginx=False)
    responder.answers["command.check-tag"] = reply(200, {})
    body = b'{"source":"a"}'

    def begin(client):
        s = api.connect(wait=30)
        sent = api.request(method="POST", uri="/workflow/check-tag", body=body, token=api.token(client_id=client))
        s.sendall(sent[:-len(body)])
        return s

    def refused():
        return sum(bool(select.select([s], [], [], 0)[0]) for s in held)
    held = [begin("n8n") for _ in range(16)]
    eventually(lambda: refused() >= 4, 10, "more than its share is refused")
    with begin("slow") as s:
        assert not select.select([s], [], [], 0.2)[0]
        s.sendall(body)
        assert parsed(drained(s)).status == 200
    for s in held:
        s.close()


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


def test_nobody_is_told_to_come_back_in_years(api, responder):
    api.start(nginx=False)
    for ms in (2 ** 63 - 1, 2 ** 62, -2 ** 63, 86_400_000_000, 1):
        responder.answers["command.run-get"] = refusal(409, "run_lock_conflict", retry_after_ms=ms, holder_run_id=-2 ** 63)
        got = api.scgi(uri="/workflow/runs/7")
        assert (got.status, got.code) == (409, "run_lock_conflict") and "holder_run_id" not in got.json
        assert 1 <= int(got.headers["retry-after"]) <= 3600, f"{ms}: {got}"


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
    for status, code in ((401, "unauthenticated"), (405, "method_not_allowed"), (415, "unsupported_media_type"),
                         (431, "headers_too_large")):
        responder.answers["command.finalize-run"] = refusal(status, code)
        got = api.post("/workflow/finalize-run", {"run_id": 7})
        assert (got.status, got.code) == (500, "non_retryable_error"), f"{code}: {got}"


def test_a_responder_can_not_hide_a_call_from_the_audit(api, responder, streams):
    api.start()
    responder.answers["command.finalize-run"] = refusal(429, "rate_limited")
    got = api.post("/workflow/finalize-run", {"run_id": 7})
    assert len(audit(streams, 1, request_id=got.headers["x-request-id"])) == 1


@pytest.mark.long
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


# Anything at all ---------------------------------------------------------------------------------------------------


def wire(random, depth=0):
    """Bytes that look like protobuf: fields of low numbers, all wire types, now and then cut."""
    out = b""
    for _ in range(random.randrange(6)):
        number, kind = random.randrange(1, 24), random.choice((0, 0, 1, 2, 2, 2, 5))
        out += bytes([number << 3 & 0x7f | kind]) if number < 16 else bytes([(number << 3 | kind) & 0x7f | 0x80, number >> 4])
        if kind == 2:
            part = wire(random, depth + 1) if depth < 4 and random.random() < 0.6 else random.choice(
                (b"", b"a" * random.randrange(100), random.randbytes(8), "\u65e5".encode() * 9, b"\x00\r\n\"\\"))
            out += bytes([len(part) & 0x7f]) + part if len(part) < 128 else bytes([len(part) & 0x7f | 0x80, len(part) >> 7]) + part
        else:
            out += random.choice((b"\x01", b"\x00", b"\xff" * 9 + b"\x01")) if kind == 0 else random.randbytes(8 if kind == 1 else 4)
    return out if random.random() < 0.95 else out[:random.randrange(len(out) + 1)]


def anything(random, depth=0):
    if depth > 3 or random.random() < 0.4:
        return random.choice((None, True, 0, -1, 7, 2 ** 63 - 1, -2 ** 63, 1e308, "", "x", "\u0000", "\ud83d\ude00" * 50, "a\r\nb",
                              "run_lock_conflict", "validation_error", "rate_limited", "insufficient_scope",
                              "unauthenticated", "method_not_allowed", "headers_too_large"))
    if random.random() < 0.3:
        return [anything(random, depth + 1) for _ in range(random.randrange(20))]
    names = ("code", "detail", "violations", "retry_after_ms", "phase", "state", "holder_run_id", "run_id", "pointer", "a")
    return {random.choice(names): anything(random, depth + 1) for _ in range(random.randrange(8))}


def lie(random):
    body = random.choice((lambda: wire(random), lambda: json.dumps(anything(random)).encode(), lambda: random.randbytes(40),
                          lambda: b""))()
    headers = {"Echora-Status": random.choice(("200", "201", "202", "409", "422", "500", "503", "0", "-1", "999", "x", "2" * 40)),
               "Nats-Service-Error-Code": random.choice(("not-found", "x", "\u65e5" * 40, "a" * 300, "stale-token")),
               "Echora-Error-Class": random.choice(("reject", "fatal", "retry", "unavailable", "?"))}
    return {k: v for k, v in headers.items() if random.random() < 0.6}, body


def test_a_responder_that_says_anything(api, streams):
    """Whatever comes back, the caller gets one answer that is whole, of a status that the document knows."""
    seed = int(time.time())
    random = Random(seed)
    asked = [("GET", "/workflow/runs/7", "command.run-get", None),
             ("POST", "/workflow/process-stages", "command.process-stages", {"run_id": 7}),
             ("POST", "/workflow/start-incremental-run", "command.start-incremental-run", {"source": "a", "tag": "b"}),
             ("GET", f"/updates/{ID}", "catalog.review.get", None),
             ("POST", f"/updates/{ID}/decision", "catalog.review.decide", {"decision": "approve", "reviewed_by": "a"}),
             ("GET", "/dlq", "dlq.list", None), ("GET", "/dlq/7", "dlq.show", None),
             ("POST", "/dlq/replay", "dlq.replay", {"filter": {}, "dry_run": True}),
             ("POST", "/operations/reconcile", "catalog.reconcile", {})]
    responders = [Responder(streams.bus(user), *(a[2] for a in asked if a[2].startswith(start))) for user, start in (
        ("workflow", "command."), ("catalogue", "catalog.review"), ("deadletters", "dlq."), ("qdrant", "catalog.reconcile"))]
    api.start(nginx=False)
    for n in range(4000 if LONG else 150):
        method, uri, subject, body = random.choice(asked)
        for one in responders:
            one.answers[subject] = lie(random)
        said = responders[0].answers[subject]
        for _ in range(2 if method == "POST" else 1):  # what is kept is the same
            got = api.scgi(method=method, uri=uri, body=json.dumps(body).encode() if body is not None else b"",
                           headers=[("HTTP_IDEMPOTENCY_KEY", f"k{n}")])
            what = f"seed {seed}, {n}: {uri} {said}: {got}"
            assert got is not None and got.status in (200, 201, 202, 400, 403, 404, 409, 413, 422, 429, 500, 503, 504), what
            assert len(got.body) == int(got.headers["content-length"]) and isinstance(got.json, dict), what
            assert got.code or got.status < 300, what
    for one in responders:
        one.close()
    assert api.worker.is_ready()


class SaysAnything(socketserver.StreamRequestHandler):
    """A Redis whose scripts answer with whatever `random` makes."""
    random = None

    def handle(self):
        with contextlib.suppress(OSError, ValueError):
            while line := self.rfile.readline():
                words = []
                for _ in range(int(line[1:])):
                    words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2])
                self.wfile.write({b"AUTH": b"+OK\r\n", b"PING": b"+PONG\r\n"}.get(words[0].upper()) or self.answer())

    def answer(self):
        """Mostly of the form that our scripts have, with values that are theirs, or not."""
        pick = self.random.choice
        texts = (b"", b"{}", b"application/json", b"application/problem+json", b"a\r\nb: c", b"/workflow/runs/7", b"/workflow/runs/x",
                 b"\xff\x00", b"x" * 70_000)
        numbers = (0, 1, 2, -1, 200, 202, 500, 30_000, 2 ** 63 - 1, -2 ** 63)
        form = pick((["new", 1], ["takeover", 2], ["new", pick(numbers)], ["busy", pick(numbers)], ["mismatch"], ["new", b"1"],
                     ["replay", 202, b"application/json", b"/workflow/runs/7", b"{}"],
                     ["replay", pick(numbers), b"application/json", b"", b"{}"],
                     ["replay", 202, pick(texts), pick(texts), b"{}"], [pick(texts)], [1, pick(numbers)], [0, pick(numbers)]))
        if self.random.random() < 0.05:
            return pick((b"*1000\r\n", b"junk\r\n", b":1\r\n:2\r\n", b"-ERR x\r\n", b"-NOSCRIPT x\r\n", b"$-1\r\n", b"+OK\r\n"))
        parts = [b":%d\r\n" % part if isinstance(part, int) else
                 b"$%d\r\n%b\r\n" % (len(part), part.encode() if isinstance(part, str) else part) for part in form]
        return parts[0] if len(parts) == 1 else b"*%d\r\n" % len(parts) + b"".join(parts)


def test_a_redis_that_says_anything(api, streams):
    seed = int(time.time())
    random = Random(seed)
    SaysAnything.random = random
    responder = Responder(streams.bus("workflow"), "command.process-stages")
    responder.answers["command.process-stages"] = reply(202, {"run_id": 7})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), SaysAnything) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        api.redis = SimpleNamespace(url=f"redis://127.0.0.1:{server.server_address[1]}", secret_files=api.redis.secret_files)
        api.start(nginx=False)
        seen, n, began = set(), 0, time.monotonic()
        # On and on when a slow moment has kept it from being asked.
        while n < (3000 if LONG else 150) or (not seen >= {202, 409, 503} and lasted_less(began, 20)):
            n += 1
            got = api.scgi(method="POST", uri="/workflow/process-stages", body=b'{"run_id":7}',
                           headers=[("HTTP_IDEMPOTENCY_KEY", f"k{n}")])
            what = f"seed {seed}, {n}: {got}"
            assert got is not None and got.status in (200, 202, 409, 429, 500, 503) and isinstance(got.json, dict), what
            assert got.code or got.headers.get("location", "/workflow/runs/7") == "/workflow/runs/7", what
            seen.add(got.status)
            assert "b" not in got.headers and 1 <= int(got.headers.get("retry-after", 1)) <= 3600, what
        server.shutdown()
    assert seen >= {202, 409, 503}, f"seed {seed}: {seen}"
    responder.close()
    assert api.worker.alive()
