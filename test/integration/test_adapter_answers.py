"""What a receiver says when it does not take a webhook stands in the log, made harmless; and so does what people did."""
import json
import re
import threading
from urllib.parse import quote

import pytest

from harness.adapter import PATHS
from harness.process import eventually
from harness.receiver import new_secret

DLQ = PATHS["dlq"]
NOT_REGISTERED = b'{"code":404,"message":"The requested webhook \\"dlq-triage\\" is not registered."}'


def pieces(text, n=8):
    """Each n letters in a row, upper and lower case alike."""
    return {text[i:i + n].lower() for i in range(len(text) - n + 1)}


def shown(text, secrets):
    """Those of eight letters in a row that text and one of the secrets have in common."""
    return pieces(text) & set().union(*map(pieces, secrets))


def test_an_operator_sees_what_the_receiver_said(adapter, receiver, echora):
    receiver.answer = lambda call: (404, {}, NOT_REGISTERED) if len(receiver.calls) < 2 else 204
    adapter.start(receiver.url)
    id = adapter.dead_letter()
    adapter.settled("dlq")
    assert [r["answer"] for r in adapter.attempts()] == [NOT_REGISTERED.decode(), ""]
    newest, first = echora("webhook", "deliveries", "--id", id, "--json").json
    assert (first["answer"], first["status"], newest["answer"], newest["status"]) == (NOT_REGISTERED.decode(), 404, "", 204)
    text = echora("webhook", "deliveries", "dlq").out
    assert f"    it said: {NOT_REGISTERED.decode()}\n" in text and text.count("it said:") == 1


def test_a_test_event_tells_it_at_once(adapter, receiver, echora):
    receiver.answer = lambda call: (500, {}, b"Workflow could not be started\n")
    adapter.start(receiver.url)
    said = echora("webhook", "test", "risk", ok=False).out
    assert "trouble, status 500" in said and "    it said: Workflow could not be started.\n" in said
    assert echora("webhook", "test", "risk", "--json", ok=False).json["answer"] == "Workflow could not be started."
    receiver.answer = lambda call: (200, {}, b"thank you")
    assert echora("webhook", "test", "risk", "--json").json["answer"] == ""
    assert [r["answer"] for r in adapter.attempts()] == ["Workflow could not be started."] * 2 + [""]


def test_only_202_tells_why_200_is_none(adapter, receiver):
    receiver.answer = lambda call: (200, {}, b"Error in workflow") if len(receiver.calls) < 2 else 202
    adapter.start(receiver.url, only_202="true")
    adapter.dead_letter()
    adapter.settled("dlq")
    assert [(r["status"], r["answer"]) for r in adapter.attempts()] == [(200, "Error in workflow"), (202, "")]


def chunks(data, times):
    """Such a body in chunks, over and over; the connection ends in the middle of it."""
    def answer(s):
        s.sendall(b"HTTP/1.1 500 Whatever\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(times):
            s.sendall(b"%x\r\n%s\r\n" % (len(data), data))
    return answer


BODIES = {
    "control bytes": (bytes(range(256)), "." * 32 + "".join(map(chr, range(32, 127))) + "." * 129),
    "a terminal's orders": (b"\x1b]0;mine\x07\x1b[2J\x1b[31mred\x9b\r\nx", ".]0;mine..[2J.[31mred...x"),
    "no text at all": (b"\xff\xfe\x00\xc3\x28", "....("),
    "other letters": ("Fehler: späť 忍".encode(), "Fehler: sp.... ..."),
    "SQL": (b"'); DROP TABLE adapter.delivery;--", "'); DROP TABLE adapter.delivery;--"),
    "JSON's own signs": (b'"\\\x00\\u0000{}', '"\\.\\u0000{}'),
    "nothing": (b"", ""),
    "256": (b"x" * 256, "x" * 256),
    "257": (b"x" * 257, "x" * 256),
    "much": (b"y" * 60000, "y" * 256),
}


@pytest.mark.parametrize("body", BODIES)
def test_a_hostile_body_becomes_a_line(adapter, receiver, echora, body):
    sent, expected = BODIES[body]
    receiver.answer = lambda call: (503, {}, sent) if len(receiver.calls) < 2 else 204
    adapter.start(receiver.url)
    adapter.dead_letter()
    adapter.settled("dlq")
    assert [r["answer"] for r in adapter.attempts()] == [expected, ""]
    text = echora("webhook", "deliveries").out
    assert re.fullmatch(r"[\n -~]*", text) and (not expected or f"it said: {expected}\n" in text)


@pytest.mark.parametrize("data,times", [(b"z" * 4096, 10000), (b"z", 300), (b"zz", 100)])
def test_endless_and_broken_off(adapter, receiver, data, times):
    """Nobody waits for the end of it; what came is shown."""
    receiver.answer = lambda call: chunks(data, times) if len(receiver.calls) < 2 else 204
    worker = adapter.start(receiver.url)
    adapter.dead_letter()
    adapter.settled("dlq")
    assert [(r["status"], r["answer"]) for r in adapter.attempts()] == [(500, "z" * min(256, len(data) * times)), (204, "")]
    assert worker.memory() < 60e6


def echoes(call, secrets):
    """Answers that hold what must not be seen: as it came, without its word, in JSON, in a URL, around the limit."""
    headers, (secret, *_) = {k: v for k, v in call.headers.items() if "signature" in k}, secrets
    signature = headers["webhook-signature"]
    yield json.dumps(headers)
    yield json.dumps({"expected": signature.split(",")[1], "got": headers["x-signature-256"].split("=")[1].upper()})
    yield json.dumps(headers).replace("/", "\\/")
    yield quote(json.dumps(headers), safe="")
    yield f"bad secret {secret}"
    yield f"bad key {secret.removeprefix('whsec_')} {secret.removeprefix('whsec_')[:12]}"
    for n in (200, 240, 247, 250, 255):
        yield "-" * n + signature
        yield "-" * n + secret
    yield "-" * 240 + signature[:12]


def test_an_echo_shows_nothing_of_ours(adapter, receiver, echora):
    """With two secrets in use, whichever the receiver tells."""
    adapter.secrets.append(new_secret())
    adapter.write_secrets(*adapter.secrets)
    receiver.secrets = list(adapter.secrets)
    lock, answers = threading.Lock(), []

    def answer(call):
        with lock:
            n = len(answers)
            every = [*echoes(call, adapter.secrets), *echoes(call, adapter.secrets[::-1])]
            answers.append((every[n % len(every)], call))
        return 400, {}, answers[-1][0].encode()
    receiver.answer = answer
    worker = adapter.start(receiver.url, calls=1)
    ids = [adapter.dead_letter() for _ in range(36)]
    adapter.settled("dlq", timeout=40)
    rows = {r["webhook_id"]: r["answer"] for r in adapter.attempts("dlq")}
    assert sorted(rows) == sorted(ids) and len(answers) == 36
    for said, call in answers:
        ours = [*adapter.secrets, *call.headers["webhook-signature"].split(" "),
                call.headers["x-signature-256"].removeprefix("sha256=")]
        assert shown(said, ours) and shown(rows[call.id], ours) == set() and "*" in rows[call.id], said
    log = worker.text() + echora("webhook", "deliveries", "--json").out
    assert shown(log, adapter.secrets) == set()


def test_an_echo_of_a_secret_of_before(adapter, receiver, echora):
    """It is no longer in the file, and still a secret."""
    adapter.start(receiver.url)
    receiver.answer = lambda call: (401, {}, f"made with {new_secret()}, expected v1,{'Ab3/' * 11}".encode())
    echora("webhook", "test", "dlq", ok=False)
    (row,) = adapter.attempts()
    assert row["answer"] == "made with " + "*" * 50 + ", expected " + "*" * 47


# What people did -----------------------------------------------------------------------------------------------------

def test_who_asked_for_what(adapter, receiver, echora):
    receiver.answer = lambda call: 422
    adapter.start(receiver.url)
    id = adapter.dead_letter()
    adapter.settled("dlq")
    receiver.answer = lambda call: 204
    echora("webhook", "test", "dlq")
    echora("webhook", "replay", "dlq", id)
    adapter.bus.request("webhook.replay", json.dumps({"route": "dlq", "webhookId": id}).encode())  # says no name
    rows = adapter.attempts()
    assert [(r["trigger"], r["attempt"]) for r in rows] == [("event", 1), ("test", 1), ("replay", 2), ("replay", 3)]
    me = rows[1]["asked_by"]
    assert me and [r["asked_by"] for r in rows] == ["", me, me, ""]
    listed = echora("webhook", "deliveries", "--json").json
    assert [(r["trigger"], r["actor"]) for r in listed] == [("replay", ""), ("replay", me), ("test", me), ("event", "")]
    text = echora("webhook", "deliveries").out
    assert text.count(f"  by {me}\n") == 2


def test_a_route_that_was_disabled_and_enabled(adapter, receiver, echora):
    """Each change is a line between the attempts, and stays when the route is disabled again."""
    receiver.answer = lambda call: 410 if call.path == DLQ else 204
    adapter.start(receiver.url)
    for n in (1, 2):
        adapter.dead_letter()
        eventually(lambda n=n: len(adapter.parked()) == n, what="parked")
        echora("webhook", "enable", "dlq")
    echora("webhook", "enable", "risk")  # it was, and a person asked all the same
    adapter.bus.request("webhook.enable", json.dumps({"route": "dlq", "actor": "\x1b[31manna"}).encode())
    rows = echora("webhook", "deliveries", "dlq", "--json").json
    assert [r["trigger"] for r in rows] == ["enabled", "enabled", "disabled", "event", "enabled", "disabled", "event"]
    disabled = rows[2]
    assert (disabled["actor"], disabled["reason"], disabled["route"]) == \
        ("echora-adapter", "the receiver answered 410", "dlq") and "webhook_id" not in disabled
    assert rows[1]["actor"] == rows[4]["actor"] != "" and rows[1]["reason"] == ""
    text = echora("webhook", "deliveries").out
    assert text.count(" dlq    disabled by echora-adapter: the receiver answered 410\n") == 2
    assert " dlq    enabled by ?[31manna\n" in text and f" risk   enabled by {rows[1]['actor']}\n" in text
    assert [r["trigger"] for r in echora("webhook", "deliveries", "--class", "gone", "--json").json] == ["event"] * 2
    assert len(echora("webhook", "deliveries", "--limit", "3", "--json").json) == 3


def test_old_changes_are_forgotten_with_the_attempts(adapter, receiver, db, echora):
    db.do("INSERT INTO adapter.route_change (route, enabled, reason, changed_at, changed_by)"
          " VALUES ('dlq', true, '', now() - interval '31 days', 'anna'), ('dlq', true, '', now() - interval '29 days', 'anna')")
    adapter.start(receiver.url)
    eventually(lambda: db.one("SELECT count(*) FROM adapter.route_change") == 1, 30, "forgotten")
