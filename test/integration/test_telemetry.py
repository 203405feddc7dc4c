"""Traces by OTLP/HTTP, logs and metrics of the running chain, judged by readers of our own."""
import http.server
import json
import re
import socket
import threading
import time
import uuid

import pytest
from harness.process import eventually, lasted_less
from harness.settings import BUILD


class Collector:
    """Takes ExportTraceServiceRequest in OTLP's JSON and refuses what the rules forbid."""

    SPAN_KEYS = {"traceId", "spanId", "parentSpanId", "traceState", "name", "kind", "startTimeUnixNano",
                 "endTimeUnixNano", "attributes", "status"}

    def __init__(self):
        self.spans, self.faults, self.answers = [], [], []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = collector.answers.pop(0) if collector.answers else (200, {})
                if status == 200:
                    collector.take(self.path, self.headers["Content-Type"], body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "2"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, path, content_type, body):
        try:
            assert path == "/v1/traces" and content_type == "application/json"
            request = json.loads(body)
            assert set(request) == {"resourceSpans"}
            for resource in request["resourceSpans"]:
                about = {a["key"]: a["value"]["stringValue"] for a in resource["resource"]["attributes"]}
                assert about["service.name"].startswith("echora-") and about["service.version"]
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        self.check(span)
                        self.spans.append({**span, "service": about["service.name"]})
        except Exception as fault:  # told by the test, not by the thread
            self.faults.append(f"{fault!r}: {body[:500]}")

    def check(self, span):
        assert set(span) <= self.SPAN_KEYS, set(span) - self.SPAN_KEYS
        assert re.fullmatch(r"[0-9a-f]{32}", span["traceId"]) and set(span["traceId"]) != {"0"}
        assert re.fullmatch(r"[0-9a-f]{16}", span["spanId"]) and set(span["spanId"]) != {"0"}
        assert re.fullmatch(r"[0-9a-f]{16}", span.get("parentSpanId", "1" * 16))
        assert type(span["kind"]) is int and 1 <= span["kind"] <= 5 and span["name"]
        start, end = span["startTimeUnixNano"], span["endTimeUnixNano"]
        assert isinstance(start, str) and isinstance(end, str) and 0 < int(start) <= int(end)
        assert abs(time.time() - int(start) / 1e9) < 3600
        assert set(span["status"]) <= {"code", "message"} and span["status"].get("code", 0) in (0, 2)
        for attribute in span["attributes"]:
            assert set(attribute) == {"key", "value"} and set(attribute["value"]) == {"stringValue"}

    def of(self, trace_id):
        return [s for s in list(self.spans) if s["traceId"] == trace_id]


@pytest.fixture
def collector():
    collector = Collector()
    yield collector
    collector.server.shutdown()
    assert not collector.faults, collector.faults


def event(n, **anime):
    return json.dumps({"animeId": str(uuid.UUID(int=(0x0190 << 112) + (7 << 76) + (8 << 60) + n)),
                       "anime": {"title": f"Mushishi {n}", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_FINISHED",
                                 **anime}})


def test_one_trace_from_the_publisher_to_the_point(db, streams, qdrant, spawn, echora, collector):
    workers = {kind: spawn(kind, env={"ECHORA_OTLP_ENDPOINT": collector.url})
               for kind in ("catalogue", "relay", "qdrant")}
    sent = echora("publish", "anime.enriched", "--json", input=event(1)).json
    trace = sent["trace_id"]
    assert stations(echora("follow", sent["event_id"], "--json", "--wait", "15s")) == {trace}
    for worker in workers.values():
        worker.stop()  # flushes
    spans = collector.of(trace)
    by_id = {s["spanId"]: s for s in spans}
    services = {s["service"] for s in spans}
    assert {"echora-catalogue", "echora-qdrant"} <= services
    assert all(s["status"].get("code", 0) == 0 for s in spans), spans
    # The message in between carries the writer's span.
    message = streams.bus().message("ANIME_SYNC", 1)
    version, carried, parent, flags = message.headers["traceparent"].split("-")
    assert (version, carried, flags) == ("00", trace, "01")
    assert by_id[parent]["service"] == "echora-catalogue", "the relay passes the writer's span on"
    synced = [s for s in spans if s["service"] == "echora-qdrant" and s["kind"] == 5]
    assert synced and all(s["parentSpanId"] == parent for s in synced)
    # The same id stands in the logs of those who worked on it.
    for kind in ("catalogue", "qdrant"):
        logged = [line for line in workers[kind].logs() if line.get("trace_id") == trace]
        assert any(line["msg"] == "event settled" and line["span_id"] in by_id for line in logged), kind


def stations(result):
    return {s["trace_id"] for s in result.json["stations"] if s.get("trace_id")}


def test_a_refused_event_is_a_failed_span_without_its_values(db, streams, spawn, echora, collector):
    worker = spawn("catalogue", env={"ECHORA_OTLP_ENDPOINT": collector.url})
    bus = streams.bus("admin")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    bus.publish("anime.enriched", b"\xff\xff secret synopsis", headers={
        "Nats-Msg-Id": "bad", "traceparent": f"00-{trace}-00f067aa0ba902b7-01", "tracestate": "rojo=1,bad state"})
    eventually(lambda: len(bus.messages("ANIME_DLQ")) == 1, 15, "the dead letter")
    worker.stop()
    spans = collector.of(trace)
    assert len(spans) == 1 and spans[0]["parentSpanId"] == "00f067aa0ba902b7"
    assert "traceState" not in spans[0], "a state that breaks the rules is dropped"
    assert spans[0]["status"]["code"] == 2
    error = {a["key"]: a["value"]["stringValue"] for a in spans[0]["attributes"]}["error.type"]
    assert error == bus.messages("ANIME_DLQ")[0].headers["Echora-Dlq-Code"]
    assert "secret" not in json.dumps(spans) and "secret" not in worker.text()


def test_a_busy_collector_is_asked_again(db, streams, spawn, echora, collector):
    collector.answers = [(503, {"Retry-After": "1"}), (429, {})]
    worker = spawn("catalogue", env={"ECHORA_OTLP_ENDPOINT": collector.url})
    sent = echora("publish", "anime.enriched", "--json", input=event(2)).json
    eventually(lambda: collector.of(sent["trace_id"]), 15, "the spans after two refusals")
    eventually(lambda: worker.metric("echora_trace_spans_sent_total") >= 1, 5, "counted as sent")
    assert worker.metric("echora_trace_spans_dropped_total") == 0


def test_a_dead_collector_costs_spans_and_nothing_else(db, streams, spawn, echora):
    with socket.socket() as silent:  # takes connections, never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        worker = spawn("catalogue", env={"ECHORA_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"})
        result = echora("publish", "anime.enriched", "--json",
                        input="\n".join(event(n) for n in range(10, 60)))
        assert result.code == 0
        eventually(lambda: db.one("SELECT count(*) FROM catalog.anime") == 50, 20, "all written")
        assert worker.is_ready()
        began = time.monotonic()
        worker.stop()
        assert lasted_less(began, 6)


# The grammar of the text format 0.0.4, as far as we use it.
NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (NaN|[+-]Inf|[-+0-9.e]+)")


def test_metrics_are_well_formed_and_bounded(db, streams, spawn, echora):
    worker = spawn("catalogue")
    echora("publish", "anime.enriched", "--json", input=event(3))
    eventually(lambda: db.one("SELECT count(*) FROM catalog.anime") == 1, 15, "written")
    status, text = worker.http("/metrics")
    assert status == 200 and text.endswith("\n")
    kinds, helps, seen, family = {}, set(), set(), None
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helps.add(line.split()[2])
        elif line.startswith("# TYPE "):
            _, _, family, kind = line.split()
            assert family not in kinds, f"{family} comes twice"
            kinds[family] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, line
            name = match.group(1)
            base = re.sub(r"_(bucket|sum|count)$", "", name) if kinds[family] == "histogram" else name
            assert base == family, f"{line} stands under {family}"
            assert (name, match.group(2)) not in seen, f"twice: {line}"
            seen.add((name, match.group(2)))
            if kinds[family] == "counter":
                assert name.endswith("_total") and float(match.group(3)) >= 0, line
    assert helps == set(kinds)
    assert all(k.startswith(("echora_", "process_")) for k in kinds)
    assert len(seen) < 2000
    for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
                 "process_start_time_seconds", "echora_build_info"):
        assert name in kinds
    # Sanitizers keep books of their own.
    assert "san" in BUILD.name or worker.metric("process_resident_memory_bytes") < 20e6
