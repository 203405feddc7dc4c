"""Broken, hostile and slow input, through nginx and at the worker's socket; many calls at once; the orderly end."""
import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.gateway import Responder, drained, first_answer, netstring, parsed, reply
from harness.half_open import HalfOpen
from harness.process import eventually, lasted_less

HOST = b"Host: api.example\r\n"
LINE = b"GET /nothing HTTP/1.1\r\n"
POST = b"POST /workflow/check-tag HTTP/1.1\r\n" + HOST


@pytest.fixture
def responder(streams):
    one = Responder(streams.bus("workflow"), "command.check-tag", "command.run-get", "command.finalize-run")
    yield one
    one.close()


# What is sent, and the status that comes back; every refusal is problem+json, whoever says it.
THROUGH_NGINX = {
    "two lengths": (POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    "two lengths that differ": (POST + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\nabc", 400),
    "length and chunks": (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "chunks and length": (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    "chunks": (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
    "two encodings": (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400),
    "an unknown encoding": (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", None),
    "a length with a sign": (POST + b"Content-Length: +3\r\n\r\nabc", 400),
    "a negative length": (POST + b"Content-Length: -3\r\n\r\nabc", 400),
    "a list of lengths": (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    "no length": (POST + b"\r\n", 400),
    "a folded line": (LINE + HOST + b"A: b\r\n c\r\n\r\n", 400),
    "a folded line with a tab": (LINE + HOST + b"A: b\r\n\tc\r\n\r\n", 400),
    "space before the colon": (LINE + HOST + b"A : b\r\n\r\n", 400),
    "space before the length's colon": (POST + b"Content-Length : 3\r\n\r\nabc", 400),
    "a control byte in a name": (LINE + HOST + b"A\x01: b\r\n\r\n", 400),
    "a control byte in a value": (LINE + HOST + b"A: b\x01\r\n\r\n", 400),
    "NUL in a value": (LINE + HOST + b"A: b\x00\r\n\r\n", 400),
    "a carriage return in a value": (LINE + HOST + b"A: b\rc\r\n\r\n", 400),
    "a control byte in the target": (b"GET /nothing\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "no Host": (LINE + b"\r\n", 400),
    "no Host in 1.0": (b"GET /nothing HTTP/1.0\r\n\r\n", 400),
    "two Hosts": (LINE + HOST + HOST + b"\r\n", 400),
    "an empty Host": (LINE + b"Host:\r\n\r\n", 400),
    "a head too large": (LINE + HOST + b"A: " + b"b" * 17_000 + b"\r\n\r\n", 431),
    "a target too large": (b"GET /" + b"b" * 17_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
    "65 fields": (LINE + HOST + b"".join(b"A%d: b\r\n" % n for n in range(64)) + b"\r\n", 431),
    "no HTTP": (b"\x00\x01 junk\r\n\r\n", 400),
    "a method that is none": (b"G@T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a version that is none": (b"GET /nothing HTTP/2.0\r\n" + HOST + b"\r\n", 400),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "TRACE": (b"TRACE /dlq HTTP/1.1\r\n" + HOST + b"\r\n", 405),
    "a path upwards": (b"GET /dlq/../../nothing HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "nginx's own pages": (b"GET /_problem/400 HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "a body that is too large": (POST + b"Content-Length: 262145\r\n\r\n", 413),
    "two Authorizations": (b"GET /dlq HTTP/1.1\r\n" + HOST + b"Authorization: a\r\nAuthorization: b\r\n\r\n", 400),
    # nginx takes a bare line feed for a line's end. It alone reads HTTP here, so nothing can be smuggled by that.
    "bare line feeds": (LINE.replace(b"\r", b"") + HOST.replace(b"\r", b"") + b"\n", 404),
}


def test_through_nginx(api, responder):
    api.start()
    for name, (sent, status) in THROUGH_NGINX.items():
        with socket.create_connection(("127.0.0.1", api.port), timeout=10) as s:
            s.sendall(sent)
            raw = first_answer(s)
        assert raw, f"{name}: no answer"
        answer = parsed(raw)
        assert answer.status == status or (status is None and answer.status >= 400), f"{name}: {answer}"
        assert answer.code and answer.headers["cache-control"] == "no-store", f"{name}: {answer}"
    assert responder.asked == []


# Heads of a POST that parsers have read in two ways: {n} is the length of the request that is hidden behind them.
SMUGGLING = (
    b"Content-Length: {n}\r\nTransfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n",
    b"Content-Length: 0\r\nContent-Length: {n}\r\n", b"Content-Length: {n}\r\nContent-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-encoding: x\r\n", b"Transfer-Encoding : chunked\r\nContent-Length: {n}\r\n",
    b"Transfer-Encoding:\tchunked\r\nContent-Length: {n}\r\n", b"Transfer-Encoding: \x0bchunked\r\nContent-Length: {n}\r\n",
    b" Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n", b"X: y\rTransfer-Encoding: chunked\r\nContent-Length: {n}\r\n",
    b"X: y\r\n Transfer-Encoding: chunked\r\nContent-Length: {n}\r\n", b"Transfer-Encoding\r\n: chunked\r\nContent-Length: {n}\r\n",
    b"Transfer-Encoding: identity, chunked\r\nContent-Length: {n}\r\n", b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Length: 0, {n}\r\n", b"Content-Length: 0 {n}\r\n", b"Content-Length: +{n}\r\n", b"Content-Length: 0x{n}\r\n",
    b"Content_Length: {n}\r\n", b"Content-Length:\r\n", b"Content-Length\x00: {n}\r\n", b"Content-Length: {n}\x00\r\n",
    b"Content-Length: 99999999999999999999\r\n")


def test_smuggled_requests_stay_where_they_are(api, responder):
    """A second request hidden in the body of a first is never one: behind each of these there is one answer, or two for
    two requests that both stand in the open."""
    api.start()
    responder.answers["command.check-tag"] = responder.answers["command.run-get"] = reply(200, {"latest_tag": "a"})
    token = api.token().encode()
    hidden = b"GET /workflow/runs/7 HTTP/1.1\r\n" + HOST + b"Authorization: Bearer " + token + b"\r\n\r\n"

    def sent(head, body):
        return api.raw(head.replace(b"{n}", b"%d" % len(hidden)) + body, wait=1)
    for lengths in SMUGGLING:
        got = sent(POST + b"Authorization: Bearer " + token + b"\r\n" + lengths + b"\r\n", b"0\r\n\r\n" + hidden)
        assert got.count(b"HTTP/1.1 ") == 1 and parsed(got).status in (400, 413), (lengths, got)
    # A body where none belongs is no request either.
    got = sent(LINE + HOST + b"Content-Length: {n}\r\n\r\n", hidden)
    assert got.count(b"HTTP/1.1 ") == 1 and parsed(got).status == 404, got
    got = sent(hidden.replace(b"\r\n\r\n", b"\r\nContent-Length: {n}\r\n\r\n"), hidden)
    assert got.count(b"HTTP/1.1 ") == 1 and parsed(got).status == 400, got
    assert responder.asked == []
    body = b'{"source": "a"}'
    open_one = (POST + b"Authorization: Bearer " + token + b"\r\nContent-Type: application/json\r\nContent-Length: "
                + b"%d\r\n\r\n" % len(body) + body)
    got = sent(open_one + open_one.replace(HOST, HOST + b"Connection: close\r\n"), b"")
    assert got.count(b"HTTP/1.1 200") == 2 and len(responder.asked) == 2


# Against the socket: netstrings that nginx would never send. None: closed, or refused with this status.
def bad_heads():
    good = [("CONTENT_LENGTH", "0"), ("SCGI", "1"), ("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/dlq")]
    yield "no netstring", b"GET / HTTP/1.1\r\n\r\n", 400
    yield "no comma", netstring(good)[:-1] + b";", 400
    yield "a length too long", b"99999:", 431
    yield "length first", netstring([good[1], good[0], *good[2:]]), 400
    yield "no SCGI", netstring([good[0], *good[2:]]), 400
    yield "two methods", netstring([*good, ("REQUEST_METHOD", "POST")]), 400
    yield "two lengths", netstring([*good, ("CONTENT_LENGTH", "7")]), 400
    yield "a line end in a value", netstring([*good, ("HTTP_A", "b\r\nStatus: 200")]), 400
    yield "a folded value", netstring([*good, ("HTTP_A", "b\n c")]), 400
    yield "a blank in a name", netstring([*good, ("HTTP_A ", "b")]), 400
    yield "control bytes", netstring([*good, ("HTTP_A", "\x01")]), 400
    yield "65 fields", netstring([*good, *((f"HTTP_A{n}", "b") for n in range(65))]), 431
    yield "too many bytes", netstring([*good, ("HTTP_A", "b" * 16_500)]), 431
    yield "a target in full", netstring([*good[:3], ("REQUEST_URI", "http://a/dlq")]), 400
    for length in ("", "-1", "+3", "3,3", "0x3", "3 ", "9" * 20):
        yield f"a length that is {length!r}", netstring([("CONTENT_LENGTH", length), *good[1:]]), 400
    for length in ("-1", "+3", "3,3", "0x3", "3 ", "9" * 20):
        yield f"a body's length that is {length!r}", netstring([*good, ("BODY_LENGTH", length)]), 400
    yield "two body's lengths", netstring([*good, ("BODY_LENGTH", "0"), ("BODY_LENGTH", "3")]), 400
    yield "less body than came", netstring([("CONTENT_LENGTH", "3"), *good[1:], ("BODY_LENGTH", "2")]) + b"abc", 400
    yield "a carriage return in a value", netstring([*good, ("HTTP_A", "b\rc")]), 400
    yield "two tokens", netstring([*good, ("HTTP_AUTHORIZATION", "a"), ("HTTP_AUTHORIZATION", "b")]), 400
    yield "more body than said", netstring([("CONTENT_LENGTH", "1"), *good[1:2], ("REQUEST_METHOD", "POST"),
                                            ("REQUEST_URI", "/workflow/check-tag")]) + b"abc", 401


def test_heads_that_are_none(api, responder):
    api.start(nginx=False)
    for name, sent, status in bad_heads():
        answer = api.scgi(sent)
        assert answer is not None and answer.status == status and answer.code, f"{name}: {answer}"
    sent = api.request(method="POST", uri="/workflow/check-tag", body=b'{"source":"a"}')
    assert api.scgi(sent + b"more").status == 400
    for cut in range(0, len(sent), 7):
        answer = api.scgi(sent[:cut])
        assert answer is None or answer.status == 400, f"{cut}: {answer}"
    assert responder.asked == []
    responder.answers["command.check-tag"] = reply(200, {})
    assert api.scgi(sent).status == 200
    assert api.worker.is_ready()


def trickle(s, data, pause, until):
    """Byte by byte until the other side has had enough; how long that took."""
    began = time.monotonic()
    s.setblocking(False)
    for n in range(len(data)):
        if time.monotonic() - began > until:
            break
        try:
            s.send(data[n:n + 1])
        except (BrokenPipeError, ConnectionResetError):
            break
        try:
            if s.recv(1, socket.MSG_PEEK):
                break
            break
        except BlockingIOError:
            time.sleep(pause)
        except ConnectionResetError:
            break
    s.setblocking(True)
    return time.monotonic() - began


def test_slow_heads_and_bodies_at_the_socket(api, responder):
    api.env.update(ECHORA_HEAD_TIMEOUT="600ms", ECHORA_BODY_TIMEOUT="900ms")
    api.start(nginx=False)
    sent = api.request(method="POST", uri="/workflow/check-tag", body=b'{"source":"a"}' + b" " * 2000)
    head = sent.index(b'{"source"')
    with api.connect() as s:
        assert trickle(s, sent, 0.05, 20) < 20
        answer = parsed(drained(s))
        assert (answer.status, answer.code) == (400, "validation_error")
    with api.connect() as s:
        s.sendall(sent[:head])
        assert trickle(s, sent[head:], 0.05, 20) < 20
        answer = parsed(drained(s))
        assert (answer.status, answer.code) == (400, "validation_error")
    assert responder.asked == []


def test_a_slow_body_through_nginx(api, responder):
    """nginx hands a body on as it comes: a bad token is told before it, and the worker's limit is absolute."""
    api.env.update(ECHORA_BODY_TIMEOUT="900ms")
    api.start()
    head = (POST + b"Content-Type: application/json\r\nContent-Length: 2000\r\nAuthorization: Bearer ")
    began = time.monotonic()
    for token, status in ((b"x", 401), (api.token().encode(), 400)):
        with socket.create_connection(("127.0.0.1", api.port), timeout=30) as s:
            s.sendall(head + token + b"\r\n\r\n{")
            trickle(s, b" " * 1999, 0.05, 20)
            answer = parsed(drained(s))
            assert answer.status == status and answer.code
    assert lasted_less(began, 15)


def test_many_half_open_heads(api, responder):
    """Slow heads hold threads, not calls: they go after their time, and then everybody is served again."""
    api.env.update(ECHORA_HEAD_TIMEOUT="1s")
    responder.answers["command.run-get"] = reply(200, {})
    api.start()
    waiting = [api.connect() for _ in range(150)]
    for s in waiting:
        s.sendall(b"300:CONTENT_LENGTH")
    assert api.get("/workflow/runs/7").status == 200
    for s in waiting:
        s.close()


def test_a_slow_head_through_nginx(api, responder):
    """However steadily it trickles, it is gone after its time."""
    api.start()
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", api.port), timeout=30) as s:
        s.sendall(LINE + b"A: ")
        assert trickle(s, b"b" * 200, 0.2, 30) < 30 and lasted_less(began, 12)
        assert drained(s) == b""


def test_half_open_connections_lock_nobody_out(api, responder):
    """A thousand through nginx, whose time would not be over before this test is, and more at the worker's socket than
    it has threads; good clients are served as if there were none."""
    api.env.update(ECHORA_HEAD_TIMEOUT="60s", ECHORA_BODY_TIMEOUT="60s")
    responder.answers["command.run-get"] = responder.answers["command.finalize-run"] = reply(200, {})
    api.start()
    token = api.file("token", api.token())
    with HalfOpen(api.port, api.socket, token, silent=250, heads=250, bodies=250, strangers=250, direct=100):
        began = time.monotonic()
        for n in range(50):
            assert api.get("/workflow/runs/7").status == 200, "locked out"
            assert api.post_at_once("/workflow/finalize-run", {"run_id": 7}, f"good-{n}").status == 200, "locked out"
        assert lasted_less(began, 20), "locked out"


def test_more_calls_than_may_be_in_flight(api, responder):
    api.env["ECHORA_IN_FLIGHT_MAX"] = "4"
    api.start()
    released = threading.Event()

    async def wait(message):
        while not released.is_set():
            await asyncio.sleep(0.02)
        return reply(200, {})
    responder.answers["command.run-get"] = wait
    with ThreadPoolExecutor(12) as pool:
        first = [pool.submit(api.get, "/workflow/runs/7") for _ in range(4)]
        eventually(lambda: api.worker.metric("echora_command_in_flight") == 4, 10, "four calls in flight")
        began = time.monotonic()
        refused = api.get("/workflow/runs/7")
        assert (refused.status, refused.code) == (503, "retryable_upstream_error") and lasted_less(began, 3)
        released.set()
        assert [f.result().status for f in first] == [200] * 4
    eventually(lambda: api.get("/workflow/runs/7").status == 200, 5, "room again")


def test_the_orderly_end(api, responder):
    """What is being served is answered, what comes later is told to come again, and the process ends in time."""
    api.start()

    async def soon(message):
        await asyncio.sleep(1)
        return reply(200, {"final_status": "success"})
    responder.answers["command.finalize-run"] = soon
    with ThreadPoolExecutor() as pool:
        last = pool.submit(api.post, "/workflow/finalize-run", {"run_id": 7})
        eventually(lambda: responder.asked, 5, "the call")
        began = time.monotonic()
        assert api.worker.stop() == 0 and lasted_less(began, 9)
        assert last.result().status == 200
    late = api.get("/workflow/runs/7")
    assert (late.status, late.code) == (503, "retryable_upstream_error")
    assert not Path(api.socket).exists()


def test_an_end_while_a_responder_is_silent(api, responder):
    api.start()
    with ThreadPoolExecutor() as pool:
        last = pool.submit(api.post, "/workflow/finalize-run", {"run_id": 7}, headers={"Prefer": "wait=25"})
        eventually(lambda: responder.asked, 5, "the call")
        began = time.monotonic()
        assert api.worker.stop() == 0 and lasted_less(began, 10)
        assert last.result().status == 504


def test_a_worker_that_was_killed_leaves_its_place(api, responder):
    api.start()
    responder.answers["command.run-get"] = reply(200, {})
    api.worker.kill()
    assert api.get("/workflow/runs/7").status == 503
    api.worker.start()
    eventually(lambda: api.get("/workflow/runs/7").status == 200, 10, "the next process listens")
