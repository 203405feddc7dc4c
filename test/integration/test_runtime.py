"""The worker runtime as its users meet it: publishers of events, and people who read dead letters."""
import asyncio
import calendar
import gzip
import http.server
import json
import os
import random
import re
import signal
import socket
import threading
import time
import uuid
from pathlib import Path

import pytest
from harness.process import eventually, lasted_less, steady
from harness.scripted import CHARACTER, STREAM, UPDATED, Script, event, field
from harness.settings import LONG


@pytest.fixture
def script(nats, folder):
    return Script(nats, folder)


@pytest.fixture
def worker(spawn, script, nats):
    def start(*argv, env=None, **options):
        return spawn("scripted", env=dict(script.env, **(env or {})), argv=argv, **options)
    return start


class Collector:
    """An OTLP/HTTP endpoint that keeps what it gets."""

    def __init__(self):
        bodies = self.bodies = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.append(json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip"
                                         else body))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def spans(self):
        return [span for body in list(self.bodies) for resource in body["resourceSpans"]
                for scope in resource["scopeSpans"] for span in scope["spans"]]


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


def events_processed(process, outcome, consumer=UPDATED):
    return process.metric("echora_messages_processed_total", consumer=consumer, outcome=outcome)


# What happens to an event

def test_events_are_handled_and_acked(script, worker):
    process = worker()
    sequences = script.publish(*["done"] * 200) + script.publish("skip")
    other = script.publish(*["done"] * 10, durable=CHARACTER)
    script.wait_settled()
    script.wait_settled(CHARACTER)
    assert sorted(line.seq for line in script.lines(durable=UPDATED)) == sequences
    assert sorted(line.seq for line in script.lines(durable=CHARACTER)) == other
    assert {line.deliveries for line in script.lines()} == {1}
    assert events_processed(process, "done") == 200
    assert events_processed(process, "skip") == 1
    assert script.dead_letters() == []


def test_backlog_is_handled_in_batches_that_grow_from_one(script, worker):
    script.publish(*["done"] * 300)
    worker("--fetch-size=32")
    script.wait_settled()
    sizes = [line.batch for line in script.lines()]
    assert sizes[0] == 1
    assert 16 < max(sizes) <= 32  # a batch is what has come, it waits for no more
    assert sorted(line.seq for line in script.lines()) == list(range(1, 301))


def test_slow_backlog_is_handled_in_whole_batches(script, worker):
    """The next events come while a batch is handled: none that follows a whole batch starts with the first one there."""
    script.publish(*["slow:20"] * (1 + 2 + 4 + 20 * 8))
    worker("--fetch-size=8")
    script.wait_settled(timeout=30)
    whole = [line.seq for line in script.lines() if line.batch == 8]
    assert len(whole) >= 17 * 8, f"{len(whole)} of 160 in whole batches"


def test_bad_event_does_not_spoil_its_neighbours(script, worker):
    good = script.publish(*["done"] * 20)
    bad = script.bus.publish("anime.updated", b"\x0a\x24not an event").seq
    script.publish("reject")
    good += script.publish(*["done"] * 20)
    worker()
    script.wait_settled()
    assert sorted(line.seq for line in script.lines(source="done")) == good
    assert {(d.headers["Echora-Dlq-Seq"], d.headers["Echora-Dlq-Code"]) for d in script.dead_letters()} == {
        (str(bad), "decode"), (str(bad + 1), "identity-conflict")}


def test_dead_letter_tells_everything(script, worker):
    process = worker()
    event_id, entity = str(uuid.uuid4()), str(uuid.uuid4())
    payload = event("reject", event_id, entity)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    before = time.time()
    ack = script.bus.publish("anime.updated", payload, headers={
        "Nats-Msg-Id": "x-1", "Content-Type": "application/protobuf", "traceparent": trace,
        "X-Of-Publisher": "kept", "Echora-Event-Id": event_id})
    script.wait_settled()
    (letter,) = script.dead_letters()
    created = json.loads(script.bus.request(f"$JS.API.STREAM.INFO.{STREAM}").data)["created"]
    assert letter.subject == "anime.dlq.catalog-updated"
    assert letter.data == payload
    headers = dict(letter.headers)
    seconds = calendar.timegm(time.strptime(created[:19], "%Y-%m-%dT%H:%M:%S"))
    assert headers.pop("Nats-Msg-Id") == f"{STREAM}:{seconds}:catalog-updated:{ack.seq}"
    first_seen, failed_at = headers.pop("Echora-Dlq-First-Seen"), headers.pop("Echora-Dlq-Failed-At")
    for stamp in (first_seen, failed_at):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", stamp)
        assert stamp[:16] >= time.strftime("%Y-%m-%dT%H:%M", time.gmtime(before - 60))
    assert re.fullmatch(r"[0-9a-f]{16}", headers.pop("Echora-Dlq-Fingerprint"))
    assert re.fullmatch(rf"echora-scripted/\S+ \S+:{process.pid}", headers.pop("Echora-Dlq-Worker"))
    assert headers == {
        "Nats-Expected-Stream": "ANIME_DLQ",
        "Echora-Dlq-Stream": "ANIME_EVENTS", "Echora-Dlq-Consumer": "catalog-updated",
        "Echora-Dlq-Subject": "anime.updated", "Echora-Dlq-Seq": str(ack.seq),
        "Echora-Dlq-Deliveries": "1", "Echora-Dlq-Class": "reject",
        "Echora-Dlq-Code": "identity-conflict", "Echora-Dlq-Reason": "the script wants reject",
        "Echora-Dlq-Entity": entity, "Echora-Dlq-Hop": "0",
        "Content-Type": "application/protobuf", "traceparent": trace, "X-Of-Publisher": "kept",
        "Echora-Event-Id": event_id}
    steady(lambda: len(script.lines()) == 1, 1.5, "no second delivery")
    assert script.settled()


def test_reasons_hold_no_values(script, worker):
    worker()
    secret = "c0ffee-is-no-uuid"
    script.bus.publish("anime.updated", event("done", event_id=secret))
    eventually(lambda: script.dead_letters(), what="dead letter")
    (letter,) = script.dead_letters()
    assert letter.headers["Echora-Dlq-Code"] == "bad-uuid"
    assert secret not in json.dumps(dict(letter.headers))


def test_retry_comes_back_later_and_ends_well(script, worker):
    process = worker()
    script.publish("retry-once")
    (first,) = script.wait_lines(1)
    began = time.monotonic()
    lines = script.wait_lines(2, timeout=5)
    assert [line.deliveries for line in lines] == [1, 2]
    assert lasted_less(began, 1.6)  # full jitter over the first step of 1 s
    script.wait_settled()
    assert events_processed(process, "retry") == 1 and events_processed(process, "done") == 1


def test_retries_end_as_a_dead_letter(script, worker):
    """give-up-at 2, so that the test need not wait for the later steps of the pace."""
    worker("--give-up-at=2")
    script.publish("retry", "unset")
    eventually(lambda: len(script.dead_letters()) == 2, 10, "dead letters")
    letters = {d.headers["Echora-Dlq-Code"]: d.headers for d in script.dead_letters()}
    assert set(letters) == {"pg-40001", "no-verdict"}
    for headers in letters.values():
        assert headers["Echora-Dlq-Class"] == "retry-exhausted"
        assert headers["Echora-Dlq-Deliveries"] == "2"
    script.wait_settled()
    assert len(script.lines()) == 4


def test_replay_for_another_consumer_is_ignored(script, worker):
    process = worker()
    script.publish("reject", headers={"Echora-Replay-For": "qdrant-anime-synced"})
    script.publish("done", headers={"Echora-Replay-For": "catalog-updated"})
    script.wait_settled()
    assert [line.source for line in script.lines()] == ["done"]
    assert events_processed(process, "not-for-us") == 1
    assert script.dead_letters() == []


def test_failed_replays_count_their_hops_and_are_parked(script, worker):
    worker()
    for hop in ("1", "2", "3"):
        script.publish("reject", headers={"Echora-Replay-Hop": hop, "Echora-Replay-Id": "r"})
    eventually(lambda: len(script.dead_letters()) == 3, what="dead letters")
    found = {d.headers["Echora-Dlq-Hop"]: d.subject for d in script.dead_letters()}
    assert found == {"1": "anime.dlq.catalog-updated", "2": "anime.dlq.catalog-updated",
                     "3": "anime.dlq.parked.catalog-updated"}


def test_one_trace_from_publish_to_handler(script, worker):
    worker()
    trace = uuid.uuid4().hex
    script.publish("done", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    script.publish("done")
    first, second = script.wait_lines(2)
    assert first.trace_id == trace
    assert second.trace_id not in (trace, "0" * 32)


def test_span_of_the_handler_is_exported(script, worker, collector):
    worker(env={"ECHORA_OTLP_ENDPOINT": collector.url})
    trace, parent = uuid.uuid4().hex, "00f067aa0ba902b7"
    script.publish("done", "reject", headers={"traceparent": f"00-{trace}-{parent}-01"})
    eventually(lambda: len(collector.spans()) >= 2, 15, "spans")
    done, reject = sorted(collector.spans(), key=lambda s: "code" in s.get("status", {}))
    for span in (done, reject):
        assert (span["traceId"], span["parentSpanId"], span["kind"]) == (trace, parent, 5)
        assert span["name"] == "process anime.updated"
    assert reject["status"]["code"] == 2
    attributes = {a["key"]: a["value"]["stringValue"] for a in done["attributes"]}
    assert attributes["messaging.system"] == "nats"
    assert attributes["messaging.consumer.group.name"] == UPDATED


def test_event_with_payload_alone_is_served(script, worker):
    worker()
    event_id = str(uuid.uuid4())
    script.bus.publish("anime.updated", event("done", event_id))
    (line,) = script.wait_lines(1)
    assert line.event_id == event_id


def test_large_event_passes(script, worker):
    worker()
    padding = field(8, b"x" * (8 * 1024 * 1024 - 65536 - 400))  # an unknown field
    script.bus.publish("anime.updated", event("done") + padding)
    script.publish("done")
    script.wait_lines(2)
    script.wait_settled()


def dlq_missing(bus):
    bus.wait(bus.js.delete_stream("ANIME_DLQ"))
    return lambda: bus.add_stream("ANIME_DLQ", ["anime.dlq.>"], allow_direct=True)


def dlq_full(bus):
    bus.wait(bus.js.delete_stream("ANIME_DLQ"))
    bus.add_stream("ANIME_DLQ", ["anime.dlq.>"], max_bytes=100, discard="new")
    return lambda: bus.wait(bus.js.update_stream(name="ANIME_DLQ", subjects=["anime.dlq.>"], max_bytes=1 << 30,
                                                 discard="new"))


def dlq_refused(bus):
    """The subject lies in another stream than the letter names."""
    bus.wait(bus.js.delete_stream("ANIME_DLQ"))
    bus.add_stream("OTHER", ["anime.dlq.>"])

    def mend():
        bus.wait(bus.js.delete_stream("OTHER"))
        bus.add_stream("ANIME_DLQ", ["anime.dlq.>"], allow_direct=True)
    return mend


@pytest.mark.parametrize("break_dlq", [dlq_missing, dlq_full, dlq_refused])
def test_dead_letter_that_cannot_be_stored_is_held(script, worker, break_dlq):
    """However long it takes (here: twice the hold-limit), it spends no delivery; then it is stored once."""
    mend = break_dlq(script.bus)
    process = worker("--hold-limit=1s")
    script.publish("reject", "reject")
    eventually(lambda: process.metric("echora_breaker_open", dependency="dead-letter-stream") == 1, 8, "breaker open")
    eventually(lambda: not process.is_ready(), 2, "not ready")
    status, text = process.http("/readyz")
    assert status == 503 and "dead-letter-stream" in text and "ANIME_DLQ" in text
    pulls = process.metric("echora_pulls_total", consumer=UPDATED)
    steady(lambda: process.metric("echora_pulls_total", consumer=UPDATED) == pulls, 2, "nothing is fetched")
    done = script.publish(*["done"] * 3)
    mend()
    eventually(lambda: len(script.dead_letters()) == 2, 12, "dead letters")
    script.wait_settled()
    assert [line.seq for line in script.lines(source="done")] == done
    assert [d.headers["Echora-Dlq-Deliveries"] for d in script.dead_letters()] == ["1", "1"]
    process.wait_ready(5)
    assert len(script.dead_letters()) == 2, "stored once"


def test_dead_letter_held_at_the_end_comes_again(script, worker):
    mend = dlq_missing(script.bus)
    process = worker()
    script.publish("reject")
    eventually(lambda: not process.is_ready(), 8, "held")
    assert process.stop() == 0
    mend()
    worker()
    eventually(lambda: len(script.dead_letters()) == 1, 10, "dead letter")
    script.wait_settled()


def test_dead_letter_too_large_for_its_stream_goes_without_its_payload(script, worker):
    """Refused for ever: rather a record without the bytes (the stream still has them) than none."""
    script.bus.wait(script.bus.js.delete_stream("ANIME_DLQ"))
    script.bus.add_stream("ANIME_DLQ", ["anime.dlq.>"], allow_direct=True, max_msg_size=3000)
    worker()
    large, many = field(8, b"x" * 4000), {"X-Large": "y" * 4000}
    script.bus.publish("anime.updated", event("reject") + large)
    script.bus.publish("anime.updated", event("reject"), headers=many)
    script.publish("done")
    eventually(lambda: len(script.dead_letters()) == 2, 10, "dead letters")
    script.wait_settled()
    letters = {d.headers["Echora-Dlq-Seq"]: d for d in script.dead_letters()}
    assert not letters["1"].data and "without original headers and payload" in letters["1"].headers[
        "Echora-Dlq-Reason"]
    assert letters["2"].data and "X-Large" not in letters["2"].headers
    assert "identity-conflict" == letters["1"].headers["Echora-Dlq-Code"]


def test_events_at_every_limit_become_dead_letters(script, worker):
    """The largest message that a stream takes, and the largest header block that JetStream takes."""
    worker()
    padding = field(8, b"x" * (8 * 1024 * 1024 - 65536 - 400))
    largest = event("reject") + padding
    script.bus.publish("anime.updated", largest)
    script.bus.publish("anime.updated", event("reject"), headers={f"X-{i}": "y" * 8000 for i in range(8)})
    eventually(lambda: len(script.dead_letters()) == 2, 15, "dead letters")
    script.wait_settled()
    first, second = script.dead_letters()
    assert first.data == largest
    kept = [name for name in second.headers if name.startswith("X-")]
    assert 6 <= len(kept) < 8 and second.headers["Echora-Dlq-Reason"] == "the script wants reject"


def raw_publish(nats, subject, header_block, payload):
    """As a client that checks nothing would."""
    with socket.create_connection(("127.0.0.1", nats.port), 5) as s:
        file = s.makefile("rb")
        file.readline()
        connect = {"user": "admin", "pass": nats.passwords["admin"], "headers": True, "verbose": False,
                   "no_responders": True}
        s.sendall(b"CONNECT %s\r\nHPUB %s %d %d\r\n%s%s\r\nPING\r\n" % (
            json.dumps(connect).encode(), subject.encode(), len(header_block), len(header_block) + len(payload),
            header_block, payload))
        while (line := file.readline()) != b"PONG\r\n":
            assert line and not line.startswith(b"-ERR"), line


@pytest.mark.parametrize("lines, code", [
    (b"X Y: 1\r\nX-Good: kept\r\n", "identity-conflict"), (b": nameless\r\nX-Good: kept\r\n", "identity-conflict"),
    (b"no colon\r\nX-Good: kept\r\n", "unreadable-header"),
    (b"na\xc3\xafve: \xff\x01\r\nX-Good: kept\r\n", "identity-conflict"),
    (b"X\nNats-Rollup: all\r\n", "unreadable-header"), (b"X-A: a\nb\r\n", "unreadable-header")])
def test_headers_that_cannot_be_repeated(script, worker, nats, lines, code):
    process = worker()
    raw_publish(nats, "anime.updated", b"NATS/1.0\r\n" + lines + b"\r\n", event("reject"))
    script.publish("done")
    eventually(lambda: len(script.dead_letters()) == 1, 10, "dead letter")
    script.wait_settled()
    assert script.dead_letters()[0].headers["Echora-Dlq-Code"] == code
    assert process.is_ready()


def test_raw_wildcard_consumer(nats, folder, spawn):
    """Reads whatever lies below a wildcard, decodes nothing, parks what it can't handle."""
    script = Script(nats, folder)
    script.bus.add_consumer("ANIME_DLQ", "adapter-dlq", ack_policy="explicit", filter_subject="anime.dlq.*",
                            max_deliver=100)
    spawn("scripted", env=dict(script.env, SCRIPTED_RAW="1", ECHORA_NATS_USER="adapter",
                               ECHORA_NATS_PASSWORD_FILE=nats.secret_files["adapter"]))
    writer = nats.bus("deadletters")
    writer.publish("anime.dlq.catalog-updated", b"\xff no protobuf", headers={"Echora-Replay-For": "catalog-updated"})
    writer.publish("anime.dlq.qdrant-anime-synced", b"", headers={"X-Script": "reject"})
    script.wait_lines(2)
    eventually(lambda: script.bus.stream("ANIME_DLQ").state.messages == 3, what="parked")
    parked = script.bus.message("ANIME_DLQ", 3)
    assert parked.subject == "anime.dlq.parked.adapter-dlq"
    assert parked.headers["Echora-Dlq-Subject"] == "anime.dlq.qdrant-anime-synced"


# Holding events in hand

def test_progress_keeps_a_long_handler_from_redelivery(nats, folder, spawn):
    script = Script(nats, folder, ack_wait=1.5)
    spawn("scripted", env=script.env)
    script.publish("slow:6000", *["done"] * 5)
    script.wait_settled(timeout=15)
    assert [line.deliveries for line in script.lines()] == [1] * 6


def test_dependency_trouble_spends_no_delivery(script, worker):
    process = worker("--fetch-size=4")
    script.take_away()
    script.publish(*["needs"] * 40)
    eventually(lambda: not process.is_ready(), 2, "not ready")
    steady(lambda: script.info().num_ack_pending <= 8, 3, "fetching stopped")
    script.bring_back()
    script.wait_settled(timeout=10)
    done = {line.seq for line in script.lines()}
    assert len(done) == 40
    assert {line.deliveries for line in script.lines()} == {1}
    assert script.dead_letters() == []
    eventually(process.is_ready, 5, "ready again")


def test_handler_trouble_opens_the_breaker(script, worker):
    """The dependency answers pings again only after the handler ran into it."""
    process = worker()
    script.publish("needs")
    script.wait_settled()
    script.take_away()
    script.publish("needs")
    script.wait_lines(2)
    eventually(lambda: process.metric("echora_breaker_open", dependency="qdrant") == 1, 3, "breaker open")
    outage, = json.loads(process.http("/readyz")[1])["outages"]
    assert (outage["dependency"], outage["code"], outage["op"]) == ("qdrant", "http-connect", "follow the script")
    assert process.metric("echora_breaker_trips_total", dependency="qdrant", code="http-connect") == 1
    opened = process.metric("echora_breaker_opened_timestamp_seconds", dependency="qdrant")
    assert opened > time.time() - 600
    eventually(lambda: json.loads(process.http("/readyz")[1])["outages"][0]["failed_probes"] > 1, 10, "probes fail")
    later, = json.loads(process.http("/readyz")[1])["outages"]
    assert later["since"] == outage["since"] and later["for_ms"] > outage["for_ms"]
    assert 0 <= later["next_probe_ms"] <= 6000
    assert process.metric("echora_breaker_opened_timestamp_seconds", dependency="qdrant") == opened
    tries = len(script.lines())
    script.publish(*["done"] * 5)
    steady(lambda: len(script.lines()) == tries, 1.5, "nothing handled while it is open")
    script.bring_back()
    script.wait_settled(timeout=10)
    assert process.metric("echora_breaker_open", dependency="qdrant") == 0
    assert process.metric("echora_breaker_opened_timestamp_seconds", dependency="qdrant") == 0
    assert json.loads(process.http("/readyz")[1])["outages"] == []
    opens, closes = (next(line for line in process.logs() if said in line["msg"])
                     for said in ("breaker opened", "answers again, fetching goes on"))
    assert (opens["code"], opens["op"]) == ("http-connect", "follow the script")
    assert closes["code"] == "http-connect" and closes["open_ms"] > 0 and closes["failed_probes"] > 1


def test_stopped_process_loses_its_events_to_another(nats, folder, spawn):
    """A process that hangs as a whole reports no progress: its events come to the other one."""
    script = Script(nats, folder, ack_wait=1.5)
    first = spawn("scripted", env=script.env)
    script.publish("slow:1000", "done", "done")
    script.wait_lines(1)
    first.pause()
    second = spawn("scripted", env=script.env, argv=["--give-up-at=9"])
    eventually(lambda: {line.seq for line in script.lines(pid=second.pid)} == {1, 2, 3}, 12, "all taken over")
    first.resume()
    script.wait_settled()
    assert script.dead_letters() == []


def test_event_held_too_long_is_given_back_for_minutes(script, worker):
    """The dependency answers pings and fails the event, again and again: one delivery, not ten."""
    process = worker("--hold-limit=3s")
    script.publish("unavailable")
    process.wait_log("held too long", 10)
    tries = script.lines()
    assert len(tries) >= 3 and {line.deliveries for line in tries} == {1}
    script.publish("done")
    script.wait_lines(1, source="done")
    steady(lambda: len(script.lines(source="unavailable")) == len(tries), 3, "not back before its two minutes")
    assert script.info().num_ack_pending == 1
    assert script.dead_letters() == []


def test_event_that_fails_its_dependency_holds_up_nobody(script, worker):
    """Whole batches fail with it at first (the handler can't tell); then it is tried alone."""
    worker("--hold-limit=60s")
    script.publish(*["together"] * 5, "unavailable", *["together"] * 100)
    eventually(lambda: script.info().num_ack_pending == 1 and script.info().num_pending == 0, 15, "all but one")
    assert {line.deliveries for line in script.lines()} == {1}


def test_trouble_of_one_event_is_its_own(script, worker):
    """Its dependency serves all others: it counts as a retry, and while it waits, redelivered and alone, the others
    are fetched and handled."""
    worker("--give-up-at=2")
    (bad,) = script.publish("unavailable")
    sent = []

    def ended():
        sent.extend(script.publish("done"))
        return script.dead_letters()
    eventually(ended, 60, "dead letter")
    script.wait_settled()
    (letter,) = script.dead_letters()
    assert (letter.headers["Echora-Dlq-Seq"], letter.headers["Echora-Dlq-Class"]) == (str(bad), "retry-exhausted")
    assert letter.headers["Echora-Dlq-Deliveries"] == "2" and letter.headers["Echora-Dlq-Code"] == "http-connect"
    lines = script.lines()
    second = [i for i, line in enumerate(lines) if line.seq == bad and line.deliveries == 2]
    assert len(second) >= 3
    assert any(line.source == "done" for line in lines[second[0]:second[-1]]), "others pass between its tries"
    assert sorted(line.seq for line in lines if line.source == "done") == sent


def test_handler_beyond_hold_limit_loses_its_event_to_a_second_try(nats, folder, spawn):
    """Reports end, the event comes to the other lane while the first handling still runs: twice, never less."""
    script = Script(nats, folder, ack_wait=1.0)
    spawn("scripted", env=script.env, argv=["--hold-limit=1s", "--lanes=2"])
    (slow,) = script.publish("slow:3000")
    script.wait_lines(1)
    done = script.publish(*["done"] * 3)
    script.wait_settled(timeout=30)
    assert {line.seq for line in script.lines()} == {slow, *done}
    assert len(script.lines(seq=slow)) >= 2
    assert script.dead_letters() == []


def test_full_window_of_unacknowledged_events(nats, folder, spawn):
    script = Script(nats, folder)
    script.bus.wait(script.bus.js.delete_consumer(STREAM, UPDATED))
    script.bus.add_consumer(STREAM, UPDATED, ack_policy="explicit", filter_subject="anime.updated", max_deliver=100,
                            max_ack_pending=3)
    process = spawn("scripted", env=script.env, argv=["--lanes=2"])
    sequences = script.publish(*["retry-once", "done", "skip"] * 8)
    script.wait_settled(timeout=30)
    assert {line.seq for line in script.lines()} == set(sequences)
    assert process.is_ready() and script.dead_letters() == []


# Crashes

def supervise(process, until, timeout, what):
    """Restarts the process whenever it has ended, until the condition is true."""
    def look():
        if not process.alive():
            process.start(wait=False)
        return until()
    eventually(look, timeout, what)


def test_crasher_ends_as_a_dead_letter(nats, folder, spawn):
    """Nobody but the worker itself writes it, before the event is handled once more; give-up-at 1 for a short test."""
    script = Script(nats, folder, ack_wait=0.5)
    process = spawn("scripted", env=script.env, argv=["--give-up-at=1"])
    done = script.publish(*["done"] * 20)
    (bad,) = script.publish("crash")
    done += script.publish(*["done"] * 20)
    supervise(process, script.dead_letters, 60, "dead letter")
    supervise(process, script.settled, 20, "all settled")
    (letter,) = script.dead_letters()
    headers = letter.headers
    assert (headers["Echora-Dlq-Class"], headers["Echora-Dlq-Code"]) == ("crash", "crash")
    assert (headers["Echora-Dlq-Seq"], headers["Echora-Dlq-Deliveries"]) == (str(bad), "6")
    assert len(script.lines(source="crash")) == 5
    assert {line.seq for line in script.lines(source="done")} == set(done)
    assert process.alive() and process.metric("echora_messages_processed_total", consumer=UPDATED, outcome="crash") == 1


def test_crasher_while_dead_letters_cannot_be_stored(nats, folder, spawn):
    """Held like any other dead letter: not handled, not lost."""
    script = Script(nats, folder, ack_wait=0.5)
    mend = dlq_missing(script.bus)
    process = spawn("scripted", env=script.env, argv=["--give-up-at=1"])
    script.publish("crash")
    supervise(process, lambda: "dead letter not stored" in process.text(), 60, "held")
    steady(lambda: len(script.lines()) == 5 and process.alive(), 1.5, "not handled again")
    mend()
    eventually(lambda: len(script.dead_letters()) == 1, 10, "dead letter")
    script.wait_settled()


def test_fatal_loop_dead_letters_nothing(script, worker):
    """A supervisor that restarts at once: the event waits, so that no restart spends a delivery of it."""
    process = worker()
    script.publish("fatal")
    assert process.wait(5) == 4
    for _ in range(3):
        process.start()
        steady(process.alive, 1, "serves")
        assert process.stop() == 0
    assert len(script.lines()) == 1 and script.dead_letters() == []
    assert script.info().num_ack_pending == 1


def test_killed_in_the_middle_of_a_batch(nats, folder, spawn):
    """kill -9 with a batch in hand: every event is handled again, none is lost."""
    script = Script(nats, folder, ack_wait=2.0)
    first = spawn("scripted", env=script.env)
    sequences = script.publish(*["done"] * 50)
    script.wait_settled()
    sequences += script.publish("slow:3000", *["done"] * 20)
    script.wait_lines(1, source="slow:3000")
    first.kill()
    script.bus.publish("anime.updated", event("done"))
    second = spawn("scripted", env=script.env, argv=["--give-up-at=9"])
    eventually(lambda: {line.seq for line in script.lines(pid=second.pid)} >= set(sequences[51:]), 15,
               "all handled again")
    assert script.lines(pid=second.pid, source="slow:3000")
    second.kill()


def test_event_that_kills_its_process_takes_nobody_along(nats, folder, spawn):
    script = Script(nats, folder, ack_wait=1.0)
    process = spawn("scripted", env=script.env)
    script.publish(*["done"] * 100)
    script.wait_settled()
    script.publish(*["done"] * 30, "crash", *["done"] * 30)
    for _ in range(3):
        process.wait(15)
        process.start()
    eventually(lambda: len({line.seq for line in script.lines(source="done")}) == 160, 20, "neighbours handled")
    crashes = script.lines(source="crash")
    assert len(crashes) >= 3
    assert all(line.batch == 1 for line in crashes[1:]), "handled alone once it had been delivered before"
    # The first crash may take a fetched batch along once; after that nobody shares its fate.
    assert max(line.deliveries for line in script.lines(source="done")) <= 3
    process.kill()


# Ends

def test_drain_finishes_the_batch_and_gives_the_rest_back(script, worker):
    process = worker("--fetch-size=4")
    script.publish(*["done"] * 40)
    script.wait_settled()
    script.publish("slow:1500", *["slow:10"] * 30)
    script.wait_lines(1, source="slow:1500")
    began = time.monotonic()
    assert process.stop() == 0
    assert lasted_less(began, 5)
    handled = script.lines(source="slow:1500")
    assert len(handled) == 1
    # What it held is not pending any more: another process gets it at once, long before the ack wait.
    second = worker()
    script.wait_settled(timeout=8)
    assert {line.deliveries for line in script.lines(pid=second.pid)} <= {1, 2}
    assert not script.lines(pid=second.pid, source="slow:1500")


def test_drain_with_redeliveries_in_hand(nats, folder, spawn):
    """Three orderly ends in a row while redelivered events wait to be handled alone: each comes to its end later."""
    script = Script(nats, folder, ack_wait=1.0)
    first = spawn("scripted", env=script.env)
    sequences = script.publish(*["done"] * 50)
    script.wait_settled()
    sequences += script.publish(*["slow:300"] * 12)
    script.wait_lines(1, source="slow:300")
    first.kill()
    for _ in range(3):
        process = spawn("scripted", env=script.env)
        script.wait_lines(1, pid=process.pid, timeout=15)
        assert process.stop() == 0
    spawn("scripted", env=script.env)
    script.wait_settled(timeout=30)
    assert {line.seq for line in script.lines()} == set(sequences)
    assert script.dead_letters() == []


@pytest.mark.parametrize("trouble", ["kill", "pause"])
def test_end_while_nats_is_away(nats, folder, spawn, trouble):
    """What nats.c still has to say at the end, it says to memory that is still there."""
    script = Script(nats, folder)
    for _ in range(2):
        process = spawn("scripted", env=script.env, argv=["--lanes=3"])
        getattr(nats.server, trouble)()
        try:
            assert process.stop() == 0, process.tail(120)
        finally:
            nats.server.resume() if trouble == "pause" else nats.server.start()


def test_second_signal_forces(script, worker):
    process = worker()
    script.publish("slow:20000")
    script.wait_lines(1)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.alive()
    process.send_signal(signal.SIGTERM)
    assert process.wait(3) == 7


def test_drain_timeout_forces(script, worker):
    process = worker("--drain-timeout=1s")
    script.publish("slow:20000")
    script.wait_lines(1)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(4) == 7
    assert time.monotonic() - began > 0.8 and lasted_less(began, 2.5)


def test_fatal_verdict_leaves_with_its_code(script, worker):
    process = worker()
    script.publish("fatal")
    assert process.wait(5) == 4  # pg-42P01: a missing table
    assert script.dead_letters() == []
    assert script.info().num_ack_pending == 1  # given back with 30 s delay


def test_missing_consumer_names_the_command(nats, folder, spawn):
    script = Script(nats, folder)
    script.bus.wait(script.bus.js.delete_consumer(STREAM, CHARACTER))
    process = spawn("scripted", env=script.env, wait=False)
    assert process.wait(5) == 4
    assert "echora streams apply" in process.text()


def test_wrong_filter_is_refused(nats, folder, spawn):
    script = Script(nats, folder)
    script.bus.wait(script.bus.js.delete_consumer(STREAM, CHARACTER))
    script.bus.add_consumer(STREAM, CHARACTER, ack_policy="explicit", filter_subject="episode.updated")
    process = spawn("scripted", env=script.env, wait=False)
    assert process.wait(5) == 4
    assert "bad-consumer" in process.text()


def test_deleted_consumer_is_noticed(script, worker):
    process = worker()
    script.bus.wait(script.bus.js.delete_consumer(STREAM, UPDATED))
    assert process.wait(20) == 4
    assert "echora streams apply" in process.text()


def test_deleted_stream_is_noticed(script, worker):
    process = worker()
    script.bus.wait(script.bus.js.delete_stream(STREAM))
    assert process.wait(25) == 4
    assert "echora streams apply" in process.text()


def test_consumer_made_anew_is_served(script, worker):
    process = worker()
    before = script.publish(*["done"] * 5)
    script.wait_settled()
    script.bus.wait(script.bus.js.delete_consumer(STREAM, UPDATED))
    script.add_consumer(UPDATED)
    after = script.publish(*["done"] * 5)
    eventually(lambda: {line.seq for line in script.lines()} == {*before, *after} and script.settled(), 25, "all again")
    assert process.alive()


def test_stream_made_anew_has_dead_letters_of_its_own(script, worker):
    """Same consumer, same sequence: only the second of the stream's creation tells the two failures apart."""
    process = worker()
    script.publish("reject")
    eventually(lambda: len(script.dead_letters()) == 1, what="dead letter")
    script.wait_settled()
    script.bus.wait(script.bus.js.delete_stream(STREAM))
    second = int(time.time())
    eventually(lambda: int(time.time()) > second, 2, "another second")
    script.add_events()
    script.publish("reject")

    def written():
        if not process.alive():  # it saw that there was no stream, and left for its supervisor to start it again
            assert process.wait() == 4
            process.start(wait=False)
        return len(script.dead_letters()) == 2
    eventually(written, 30, "dead letter of the new stream")
    script.wait_settled()
    ids = [d.headers["Nats-Msg-Id"] for d in script.dead_letters()]
    assert len(set(ids)) == 2 and process.alive()


def test_wrong_password(nats, folder, spawn):
    script = Script(nats, folder)
    process = spawn("scripted", env=dict(script.env, ECHORA_NATS_USER="relay"), wait=False)
    assert process.wait(15) == 5


# Servers that come and go

def test_nats_away_at_start_and_later(script, worker, nats):
    nats.server.stop()
    process = worker(wait=False)
    time.sleep(1.0)
    assert process.alive() and not process.is_ready() and process.http("/startupz")[0] == 503
    nats.server.start()
    began = time.monotonic()
    process.wait_ready(5)
    nats.server.kill()
    eventually(lambda: not process.is_ready(), 2, "not ready within 2 s")
    assert process.http("/startupz")[0] == 200  # it was there once
    nats.server.start()
    began = time.monotonic()
    process.wait_ready(5)
    assert lasted_less(began, 5)
    eventually(lambda: script.publish("done"), 5, "published")
    script.wait_lines(1)


def test_nats_killed_with_pulls_open_and_events_in_hand(nats, folder, spawn):
    """Acknowledgements and pulls are lost with the server; nothing else is."""
    script = Script(nats, folder, ack_wait=4.0)
    process = spawn("scripted", env=script.env, argv=["--lanes=2"])
    sequences = script.publish(*["done"] * 60)
    script.wait_settled()
    for _ in range(2):
        sequences += script.publish("slow:1000", *["slow:20"] * 20)
        script.wait_lines(len(set(sequences)) - 18)
        nats.server.kill()
        nats.server.start()
        process.wait_ready(10)
    eventually(lambda: {line.seq for line in script.lines()} == set(sequences), 60, "all handled")
    script.wait_settled(timeout=60)
    assert script.dead_letters() == []


def test_silent_nats_makes_unready(script, worker, nats):
    process = worker()
    nats.server.pause()
    try:
        eventually(lambda: not process.is_ready(), 2.2, "not ready within 2 s")
    finally:
        nats.server.resume()
    process.wait_ready(5)


def test_postgres_death_and_return(script, spawn, db, pg_server):
    process = spawn("scripted", env=dict(script.env, SCRIPTED_POSTGRES="1"))
    pg_server.kill()
    eventually(lambda: not process.is_ready(), 2, "not ready within 2 s")
    script.publish("done")
    steady(lambda: not script.lines(), 1, "nothing fetched")
    pg_server.start()
    process.wait_ready(5)
    script.wait_lines(1)
    pg_server.pause()
    try:
        eventually(lambda: not process.is_ready(), 2.5, "not ready while PostgreSQL is silent")
    finally:
        pg_server.resume()
    process.wait_ready(5)


# Requests

def get_request(*ids):
    return b"".join(field(1, i) for i in ids)


def test_request_in_protobuf_and_json(script, worker, nats):
    worker()
    bus = nats.bus("operator")
    reply = bus.request("catalog.anime.get", get_request("a", "b"))
    assert reply.headers["Content-Type"] == "application/protobuf"
    assert reply.data == field(2, "a") + field(2, "b")
    reply = bus.request("catalog.anime.get", b'{"ids":["a","b"]}', headers={"Content-Type": "application/json"})
    assert reply.headers["Content-Type"] == "application/json"
    assert json.loads(reply.data) == {"missing": ["a", "b"]}
    assert bus.request("catalog.anime.get", b"", headers={"Content-Type": "application/json"}).data == b"{}"


@pytest.mark.parametrize("body, kind, code", [
    (b"\x0a\x05ab", None, "decode"),
    (b'{"idz":[]}', "application/json", "json-unknown-field"),
    (b"{", "application/json", "json-syntax"),
    (get_request("reject"), None, "bad-kind"),
    (b'{"ids":["reject"]}', "application/json", "bad-kind"),
    (get_request("away"), None, "http-connect"),
])
def test_request_errors(script, worker, nats, body, kind, code):
    worker()
    reply = nats.bus("operator").request("catalog.anime.get", body,
                                         headers={"Content-Type": kind} if kind else None)
    assert reply.headers["Nats-Service-Error-Code"] == code
    assert reply.headers["Nats-Service-Error"]
    assert reply.data == b""


def test_oversized_reply_is_an_error(script, worker, nats):
    worker()
    bus = nats.bus("operator")
    assert len(bus.request("catalog.anime.get", get_request(f"big:{8 * 1024 * 1024 - 4096}"), timeout=10).data) \
        > 8_000_000
    reply = bus.request("catalog.anime.get", get_request(f"big:{8 * 1024 * 1024}"), timeout=10)
    assert reply.headers["Nats-Service-Error-Code"] == "reply-too-large"


def test_large_requests_that_wait_are_bounded(script, worker, nats):
    """One slow answer, and behind it more than 64 MiB: what is too much is refused at once, the rest is answered."""
    worker()
    bus = nats.bus("operator")

    async def flood():
        waiting = []
        for body in [get_request("slow:5000")] + [b"\xff" * 7_900_000] * 12:
            waiting.append(asyncio.create_task(bus.nc.request("catalog.anime.get", body, timeout=30)))
            await asyncio.sleep(0.02)
        return [(reply.headers or {}).get("Nats-Service-Error-Code") for reply in await asyncio.gather(*waiting)]
    codes = bus.wait(flood(), 40)
    assert codes[:9] == [None] + ["decode"] * 8 and "overloaded" in codes[9:], codes


def test_request_while_a_dependency_is_away(script, worker, nats):
    process = worker()
    script.take_away()
    process.wait_unready()
    reply = nats.bus("operator").request("catalog.anime.get", get_request("a"))
    assert reply.headers["Nats-Service-Error-Code"] == "dependency-away"
    assert reply.headers["Echora-Error-Class"] == "unavailable"


def test_contracts_validate_answers_without_postgres(streams, spawn, db, pg_server, nats):
    """It needs the contract alone; publishers must not stand still with PostgreSQL."""
    process = spawn("catalogue")
    pg_server.kill()
    process.wait_unready()
    bus = nats.bus("publisher")
    reply = bus.request("contracts.validate", event("done"), headers={"Echora-Subject": "anime.updated"})
    assert "Nats-Service-Error-Code" not in (reply.headers or {})
    reply = nats.bus("operator").request("catalog.anime.get", get_request(str(uuid.uuid4())))
    assert reply.headers["Nats-Service-Error-Code"] == "dependency-away"


def test_requests_are_shared_and_survive_a_slow_batch(script, worker, nats):
    workers = [worker("--lanes=2"), worker()]
    script.publish("slow:3000", "slow:3000", "slow:3000")
    script.wait_lines(2)
    bus = nats.bus("operator")
    began = time.monotonic()
    for i in range(50):
        assert bus.request("catalog.anime.get", get_request(str(i))).data == field(2, str(i))
    assert lasted_less(began, 2)
    # Counted a moment after the answer.
    answered = [0, 0]

    def all_counted():  # a moment after the answer
        answered[:] = [w.metric("echora_requests_total", subject="catalog.anime.get", outcome="answered")
                       for w in workers]
        return sum(answered) == 50
    eventually(all_counted, 5, "fifty answers counted")
    assert min(answered) > 0
    script.wait_settled()


# Cost

def test_lanes_share_the_work(script, worker):
    script.publish(*["slow:20"] * 60)
    worker("--lanes=3", "--fetch-size=4")
    script.wait_settled(timeout=15)
    assert {line.lane for line in script.lines()} == {0, 1, 2}
    assert sorted(line.seq for line in script.lines()) == list(range(1, 61))


def test_ready_quickly_and_cheap_when_idle(script, worker):
    began = time.monotonic()
    process = worker(wait=False)
    eventually(lambda: process.is_ready(), 2, "ready")
    took = time.monotonic() - began
    san = "san" in os.environ.get("ECHORA_BUILD", "")
    if not san:
        assert took < 0.25  # 100 ms for the worker, the rest for Python's process start and polling
        assert process.memory() < 20 * 1024 * 1024
    time.sleep(1)
    before = process.cpu_seconds()
    time.sleep(12)
    used = process.cpu_seconds() - before
    assert used * 5 <= (1.0 if san else 0.1) + 0.05, f"{used} CPU s in 12 s"


def descriptors(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def test_memory_and_descriptors_stay_flat(script, worker):
    """Full speed with every verdict that leaves the process alive; what it holds after a third it holds at the end."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    process = worker("--lanes=2", env={"ECHORA_LOG_LEVEL": "error"})

    async def send(sources):
        for source in sources:
            await script.bus.nc.publish("anime.updated", event(source))
        await script.bus.nc.flush(10)

    def load(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            script.bus.wait(send(rng.choices(["done", "skip", "retry-once", "reject"], [90, 6, 3, 1], k=1000)), 30)
            eventually(lambda: script.info().num_pending < 2000, 60, "keeps up")

    seconds = 60 if LONG else 6
    load(seconds / 3)
    memory, files = process.memory(), descriptors(process)
    load(seconds * 2 / 3)
    script.wait_settled(timeout=60)
    assert abs(descriptors(process) - files) <= 2
    if "san" not in os.environ.get("ECHORA_BUILD", ""):
        assert process.memory() - memory < 6 * 1024 * 1024
    print(f"{events_processed(process, 'done'):.0f} done, {memory >> 10} KiB then, {process.memory() >> 10} KiB now")
