"""contracts/openapi.json against the running Command API: its examples, by schemathesis, and what nginx refuses itself.

nginx, the worker, NATS, Redis, PostgreSQL and the responders of risky updates, dead letters and drift repair are the real
ones; `command.*` is answered by a scripted responder (harness/api_world.py).

All of schemathesis' checks run, and one of ours (harness/schemathesis_hooks.py). Three of them have little to look at:
use_after_free (no call deletes a thing), object_level_authorization (things belong to the fleet, no client has some of its
own) and ensure_resource_availability (runs are the scripted responder's). positive_data_acceptance leaves two things out,
which the hooks name.
"""
import json
import socket
import time

import pytest

from harness import promises, schemathesis_run
from harness.api_world import World, start
from harness.gateway import ALL, APPROVE, EXECUTE, READ, first_answer, parsed
from harness.process import eventually


@pytest.fixture
def world(api, streams, db, qdrant, spawn):
    one = World(api, streams, db, spawn)
    one.example_letters()
    one.example_update()
    start(api)
    yield one
    one.close()


def test_every_example_runs(world):
    api = world.api
    for call in promises.calls():
        for headers in ({}, {"Prefer": "wait=5"}) if "202" in call.operation["responses"] else ({},):
            got = api.call(call.method, call.path, call.body, scope=call.scope, headers=headers)
            assert 200 <= got.status < 300, f"{call}: {got}"
            promises.hold(got, call.method, call.path)
            waits = headers and "Prefer" in str(call.parameters)
            assert got.headers.get("preference-applied") == ("wait=5" if waits else None), f"{call}: {got}"
        refused = api.call(call.method, call.path, call.body, token="")
        assert refused.status == 401, f"{call}: {refused}"
        for scope in {READ, EXECUTE, APPROVE} - {call.scope}:
            refused = api.call(call.method, call.path, call.body, scope=scope)
            assert (refused.status, refused.json["scope"]) == (403, call.scope), f"{call}: {refused}"
        # A call that is begun and one that is answered again say the same.
        if call.keyed:
            first, again = (api.call(call.method, call.path, call.body, key=f"twice-{call.name}") for _ in range(2))
            assert again.headers.pop("idempotent-replayed") == "true"
            for name in ("x-request-id", "ratelimit", "date"):
                first.headers.pop(name), again.headers.pop(name)
            assert (first.status, first.headers, first.body) == (again.status, again.headers, again.body), call


def asked_enough(run, names):
    """Each of these calls was taken and refused, and asked without a token: else its checks have seen nothing."""
    for name in names:
        statuses = run.statuses[name]
        assert any(200 <= s < 300 for s in statuses) and statuses[422] and statuses[401], f"{name}: {statuses}"


LARGE = ("submit-stage6-decisions", "preview-stage6-batch")  # half of all cases of the phase coverage, and long bodies


def test_schemathesis(world, folder):
    run = schemathesis_run.run(world.api, folder, world.api.token(ALL), max_examples=5, uncovered=LARGE,
                               phases="examples,coverage,fuzzing,stateful")
    schemathesis_run.demand(run)
    asked_enough(run, [c.name for c in promises.calls() if c.name not in LARGE])


@pytest.mark.long
@pytest.mark.parametrize("call", [c.name for c in promises.calls()])
def test_schemathesis_at_length(world, folder, call):
    run = schemathesis_run.run(world.api, folder, world.api.token(ALL, exp=int(time.time()) + 3500), only=[call],
                               max_examples=1000 if call in LARGE else 3000, phases="coverage,fuzzing")
    print(call, run.cases, {status: run.statuses[call][status] for status in sorted(run.statuses[call])})
    schemathesis_run.demand(run)
    asked_enough(run, [call])


@pytest.mark.long
def test_schemathesis_step_by_step(world, folder):
    run = schemathesis_run.run(world.api, folder, world.api.token(ALL, exp=int(time.time()) + 3500), max_examples=1000,
                               phases="stateful")
    print(run.cases, dict(run.statuses))
    schemathesis_run.demand(run)


@pytest.mark.long
@pytest.mark.parametrize("scope", [READ, EXECUTE, APPROVE, None])
def test_schemathesis_with_too_little(world, folder, scope):
    token = world.api.token(scope) if scope else None
    run = schemathesis_run.run(world.api, folder, token, max_examples=50, phases="examples,coverage,fuzzing")
    schemathesis_run.demand(run)
    for call in promises.calls():
        told = run.statuses[call.name]
        assert told[401 if scope is None else 403] or scope == call.scope, f"{call}: {told}"
        assert scope == call.scope or not any(s < 400 for s in told), f"{call}: {told}"


HOST = b"Host: api.example\r\n"
# What nginx refuses, or does not wait for, by itself.
REFUSED = {
    "a body too large": (b"POST /workflow/check-tag HTTP/1.1\r\n" + HOST + b"Content-Length: 300000\r\n\r\n", 413),
    "a body too large for a question": (b"GET /dlq HTTP/1.1\r\n" + HOST + b"Content-Length: 300000\r\n\r\n", 413),
    "a body of unknown length": (b"POST /dlq/replay HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "no length": (b"POST /dlq/replay HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a head too large": (b"GET /dlq HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 17000 + b"\r\n\r\n", 431),
    "a path too large": (b"GET /dlq/" + b"7" * 17000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "no host": (b"GET /dlq HTTP/1.1\r\n\r\n", 400),
    "no line": (b"hello\r\n\r\n", 400),
    "TRACE": (b"TRACE /dlq HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "TRACE of a document": (b"TRACE /docs HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "CONNECT": (b"CONNECT api.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "half a head": (b"GET /dlq HTTP/1.1\r\n" + HOST + b"A: ", None),  # after 5 s; closed without a word
    "half a body": (b"POST /dlq/replay HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\n{", 401),
}


def told(api, sent, wait=20):
    with socket.create_connection(("127.0.0.1", api.port), timeout=wait) as s:
        s.sendall(sent)
        raw = first_answer(s)
    return parsed(raw) if raw else None


def line_of(sent):
    parts = sent.split(b"\r\n")[0].decode().split(" ")
    return (parts[0], parts[1]) if len(parts) == 3 else ("GET", "/")


def test_what_nginx_refuses(api):
    start(api)
    for name, (sent, status) in REFUSED.items():
        answer = told(api, sent)
        assert (answer.status if answer else None) == status, f"{name}: {answer}"
        if answer:
            promises.hold(answer, *line_of(sent))
            assert answer.code, name
    assert told(api, REFUSED["TRACE"][0]).headers["allow"] == "GET"
    for path in ("/docs", "/openapi.json"):
        wrong = api.call("POST", path, b"", token="")
        assert (wrong.status, wrong.code, wrong.headers["allow"]) == (405, "method_not_allowed", "GET, HEAD")


def test_when_nobody_is_behind_nginx(api):
    start(api, change=lambda text: text.replace("scgi_read_timeout 50s", "scgi_read_timeout 1s"))
    call = promises.find("GET", "/dlq")

    def ask():
        answer = told(api, b"GET /dlq HTTP/1.1\r\n" + HOST + b"Authorization: Bearer x\r\n\r\n")
        promises.hold(answer, call.method, call.path)
        return answer.status, answer.code
    assert ask() == (401, "unauthenticated")
    api.worker.pause()
    assert ask() == (504, "retryable_upstream_error")
    api.worker.resume()
    eventually(lambda: ask()[0] == 401, 10, "the worker answers again")
    api.worker.stop()
    assert ask() == (503, "retryable_upstream_error")


def test_it_is_the_document_that_is_served(api):
    start(api)
    got = api.get("/openapi.json", token="")
    assert got.status == 200 and json.loads(got.body) == promises.document()
