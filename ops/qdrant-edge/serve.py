#!/usr/bin/env python3
"""Qdrant's own engine (Qdrant Edge) behind the part of Qdrant's REST API that Echora uses.

For development and tests on one machine: filters, guards, BM25 and scores are the real engine's;
HTTP, collections and aliases are ours. Strict where a server is lenient: unknown members, unknown
query parameters and calls outside the subset are refused. It says what it is in its version.
"""

import argparse
import hmac
import os
import re
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version as package_version
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson

import store as ops
from errors import HttpError, bad_format
from faults import Faults

ENGINE = package_version("qdrant-edge-py")
ABOUT = {"title": "qdrant edge front (Echora)", "version": f"1.17.1-edge{ENGINE}", "commit": ""}
MAX_BODY = 32 << 20
KEEP_ALIVE_SECONDS = 5
OPEN_PATHS = ("/", "/healthz", "/livez", "/readyz")
WRITE_PARAMS = {"wait": ("true", "false"), "ordering": ("weak", "medium", "strong"), "timeout": None}
READ_PARAMS = {"consistency": None, "timeout": None}
TIMEOUT = {"timeout": None}


class Reply(Exception):
    """A ready answer that is not JSON."""

    def __init__(self, status, text, content_type="text/plain; charset=utf-8"):
        super().__init__(text)
        self.status, self.text, self.content_type = status, text, content_type


class Request:
    def __init__(self, front, method, target, body):
        self.front, self.method, self.raw = front, method, body
        parts = urlsplit(target)
        self.path = parts.path
        self.pairs = parse_qsl(parts.query, keep_blank_values=True)
        self.params = {}
        self.rule = None

    def check_params(self, allowed):
        for name, value in self.pairs:
            if name not in allowed:
                raise HttpError(400, f"Wrong input: unknown query parameter `{name}`")
            choices = allowed[name]
            if choices is not None and value not in choices:
                raise HttpError(400, f"Wrong input: `{name}` must be one of {', '.join(choices)}")
            if name == "timeout" and not (value.isdigit() and int(value) >= 1):
                raise HttpError(400, "Wrong input: `timeout` must be a whole number of seconds, 1 or more")
            if name in self.params:
                raise HttpError(400, f"Wrong input: query parameter `{name}` given twice")
            self.params[name] = value

    def json(self):
        if not self.raw:
            raise bad_format("", "the body is empty")
        try:
            return orjson.loads(self.raw)
        except orjson.JSONDecodeError as e:
            raise bad_format("", str(e)) from None


def write(build, many=False):
    """A handler that reads the body into one or more operations and applies them, all under the lock: the engine keeps
    the interpreter to itself while it works, so two writers that read their bodies meanwhile only cost each other time."""
    def handle(r, name):
        c = r.front.store.find(name)
        rule = r.rule.action if r.rule else ""
        results = []
        with c.lock:
            built = build(c, r.json())
            built = built if many else [built]
            for operation in built:
                if rule != "acknowledged-lost":
                    c.update(operation)
                c.operation += 1
                results.append({"operation_id": c.operation, "status": status_of(r, rule)})
        return results if many else results[0]
    return handle


def status_of(r, rule):
    if rule == "wait-timeout":
        return "wait_timeout"
    done = r.params.get("wait") == "true" and not rule.startswith("acknowledged")
    return "completed" if done else "acknowledged"


def read(answer):
    def handle(r, name):
        c = r.front.store.find(name)
        body = r.json()
        try:
            return answer(c, body)
        except HttpError:
            raise
        except Exception as e:
            raise ops.engine_error(e) from None
    return handle


def index_created(r, name):
    c = r.front.store.find(name)
    r.front.store.create_index(c, r.json())
    c.operation += 1
    return {"operation_id": c.operation, "status": status_of(r, "")}


def index_deleted(r, name, field):
    c = r.front.store.find(name)
    r.front.store.delete_index(c, field)
    c.operation += 1
    return {"operation_id": c.operation, "status": status_of(r, "")}


def one_point(r, name, pid):
    c = r.front.store.find(name)
    found = ops.retrieve(c, {"ids": [int(pid) if pid.isdigit() else pid], "with_payload": True, "with_vector": True})
    if not found:
        raise HttpError(404, f"Not found: Point with id {pid} does not exists!")
    return found[0]


def aliases(r, name=None):
    s = r.front.store
    target = None if name is None else s.aliases.get(name, name)
    if target is not None:
        s.find(target)
    return {"aliases": [{"alias_name": a, "collection_name": c} for a, c in sorted(s.aliases.items())
                        if target in (None, c)]}


def text(status, body, content_type="text/plain; charset=utf-8"):
    def handle(r):
        raise Reply(status, body, content_type)
    return handle


def about(r):
    raise Reply(200, orjson.dumps(ABOUT).decode(), "application/json")


def metrics(r):
    s = r.front.store
    lines = ["# TYPE app_info gauge", f'app_info{{name="qdrant-edge-front",version="{ABOUT["version"]}"}} 1',
             "# TYPE collections_total gauge", f"collections_total {len(s.collections)}",
             "# TYPE collection_points gauge"]
    for name in sorted(s.collections):
        points = s.collections[name].shard.count(ops.q.CountRequest())
        lines.append(f'collection_points{{id="{name}"}} {points}')
    lines.append("# TYPE rest_responses_total counter")
    with r.front.lock:
        for (method, endpoint, status), n in sorted(r.front.responses.items()):
            lines.append(f'rest_responses_total{{method="{method}",endpoint="{endpoint}",status="{status}"}} {n}')
    raise Reply(200, "\n".join(lines) + "\n", "text/plain; version=0.0.4")


S = "/collections/{}"
ROUTES = [
    ("GET", "/", {}, about),
    ("GET", "/healthz", {}, text(200, "healthz check passed")),
    ("GET", "/livez", {}, text(200, "healthz check passed")),
    ("GET", "/readyz", {}, text(200, "all shards are ready")),
    ("GET", "/metrics", {"anonymize": ("true", "false"), "timeout": None}, metrics),
    ("GET", "/collections", {}, lambda r: {"collections": [{"name": n} for n in sorted(r.front.store.collections)]}),
    ("GET", "/aliases", {}, aliases),
    ("POST", "/collections/aliases", TIMEOUT, lambda r: r.front.store.change_aliases(r.json())),
    ("GET", S, {}, lambda r, n: r.front.store.info(n)),
    ("PUT", S, TIMEOUT, lambda r, n: r.front.store.create(n, r.json())),
    ("DELETE", S, TIMEOUT, lambda r, n: r.front.store.delete(n)),
    ("GET", S + "/exists", {}, lambda r, n: {"exists": r.front.store.aliases.get(n, n) in r.front.store.collections}),
    ("GET", S + "/aliases", {}, aliases),
    ("PUT", S + "/index", WRITE_PARAMS, index_created),
    ("DELETE", S + "/index/{}", WRITE_PARAMS, index_deleted),
    ("GET", S + "/points/{}", {"consistency": None}, one_point),
    ("POST", S + "/points", READ_PARAMS, read(ops.retrieve)),
    ("PUT", S + "/points", WRITE_PARAMS, write(ops.upsert)),
    ("POST", S + "/points/delete", WRITE_PARAMS, write(ops.delete_points)),
    ("POST", S + "/points/payload", WRITE_PARAMS, write(ops.set_payload)),
    ("PUT", S + "/points/payload", WRITE_PARAMS, write(ops.overwrite_payload)),
    ("POST", S + "/points/payload/delete", WRITE_PARAMS, write(ops.delete_payload)),
    ("POST", S + "/points/payload/clear", WRITE_PARAMS, write(ops.clear_payload)),
    ("POST", S + "/points/batch", WRITE_PARAMS, write(ops.batch, many=True)),
    ("POST", S + "/points/scroll", READ_PARAMS, read(ops.scroll)),
    ("POST", S + "/points/count", READ_PARAMS, read(ops.count)),
    ("POST", S + "/facet", READ_PARAMS, read(ops.facet)),
    ("POST", S + "/points/query", READ_PARAMS, read(ops.query)),
    ("POST", S + "/points/query/batch", READ_PARAMS, read(ops.query_batch)),
]
COMPILED = [(m, re.compile("^" + p.replace("{}", "([^/]+)") + "$"), p, q, h) for m, p, q, h in ROUTES]


def route(method, path):
    others = set()
    for m, pattern, name, params, handler in COMPILED:
        got = pattern.match(path)
        if got:
            if m == method:
                return name, params, handler, [unquote(g) for g in got.groups()]
            others.add(m)
    if others:
        raise Reply(405, f"Not supported by this front: {method} on this path (only {', '.join(sorted(others))})")
    raise Reply(404, "Not supported by this front, or no such path")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "qdrant-edge-front"
    timeout = KEEP_ALIVE_SECONDS
    wbufsize = 1 << 16  # one write per answer: no delayed-ACK pauses
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle_expect_100(self):
        got = super().handle_expect_100()
        self.wfile.flush()
        return got

    def answer(self, status, body, content_type, extra=()):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in extra:
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def body(self):
        if "Transfer-Encoding" in self.headers:
            self.close_connection = True
            raise Reply(411, "Content-Length is needed")
        size = int(self.headers.get("Content-Length") or 0)
        if size > MAX_BODY:
            self.close_connection = True
            raise HttpError(400, "Payload reached size limit.")
        raw = self.rfile.read(size)
        if len(raw) < size:
            self.close_connection = True
            raise HttpError(400, "the body ended early")
        kind = (self.headers.get("Content-Type") or "").split(";")[0].strip().lower()
        if raw and kind != "application/json":
            raise HttpError(400, f"Content type error: expected application/json, got `{kind}`")
        return raw

    def check_key(self, path):
        front = self.server.front
        if not front.key or path in OPEN_PATHS:
            return
        got = self.headers.get("api-key") or ""
        bearer = self.headers.get("Authorization") or ""
        if not got and bearer.startswith("Bearer "):
            got = bearer[7:]
        if not got:
            raise Reply(401, "Must provide an API key or an Authorization bearer token")
        if not hmac.compare_digest(got.encode(), front.key):
            raise Reply(401, "Invalid API key or JWT")

    def drop(self):
        """Resets the connection: the peer never learns the outcome."""
        self.close_connection = True
        linger_zero = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()

    def serve(self):
        front, start, endpoint = self.server.front, time.perf_counter(), "none"
        try:
            raw = self.body()
            r = Request(front, self.command, self.path, raw)
            self.check_key(r.path)
            if r.path == "/_front/faults" and front.faults is not None:
                return self.control(r)
            endpoint, params, handler, names = route(self.command, r.path)
            r.check_params(params)
            rule = r.rule = front.faults.pick(self.command, r.path, raw) if front.faults else None
            if rule is not None and self.misbehave(rule, start):
                return None
            result = handler(r, *names)
            if rule is not None and rule.action == "drop-after":
                return self.drop()
            status, kind = 200, "application/json"
            out = {"result": result, "status": "ok", "time": time.perf_counter() - start}
            body = orjson.dumps(out, option=orjson.OPT_NON_STR_KEYS)
        except Reply as e:
            status, kind, body = e.status, e.content_type, e.text.encode()
        except HttpError as e:
            status, kind, body = e.status, "application/json", error_body(e.text, start)
        except Exception as e:  # whatever the engine or this front did not foresee
            print(f"internal error: {self.command} {self.path}: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
            status, kind = 500, "application/json"
            body = error_body(f"Service internal error: {type(e).__name__}: {e}", start)
        front.count(self.command, endpoint, status)
        return self.answer(status, body, kind)

    def misbehave(self, rule, start):
        if rule.delay_ms:
            time.sleep(rule.delay_ms / 1000)
        if rule.action == "drop-before":
            self.drop()
        elif rule.action == "status":
            extra = [] if rule.retry_after is None else [("Retry-After", str(rule.retry_after))]
            self.answer(rule.status, error_body("planned fault", start), "application/json", extra)
        elif rule.action == "garbage":
            self.answer(200, b'{"result": [not json', "application/json")
        else:
            return False
        return True

    def control(self, r):
        faults = self.server.front.faults
        if r.method == "PUT":
            faults.replace(r.json())
        elif r.method == "DELETE":
            faults.replace({"rules": []})
        elif r.method != "GET":
            raise Reply(405, "GET, PUT or DELETE")
        return self.answer(200, orjson.dumps(faults.shown()), "application/json")

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = do_HEAD = serve


def error_body(message, start):
    return orjson.dumps({"status": {"error": message}, "time": time.perf_counter() - start})


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass  # a peer that went away is its own business


class Front:
    def __init__(self, store, key, faults):
        self.store, self.key, self.faults = store, key, faults
        self.responses, self.lock = {}, threading.Lock()

    def count(self, method, endpoint, status):
        with self.lock:
            at = (method, endpoint, status)
            self.responses[at] = self.responses.get(at, 0) + 1


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--data", required=True, help="folder that keeps the points")
    p.add_argument("--listen", default="127.0.0.1:6333", metavar="HOST:PORT", help="port 0 = any free one (default %(default)s)")
    p.add_argument("--port-file", help="write the port that was bound into this file, once serving")
    p.add_argument("--api-key-file", help="ask every caller for the key in this file")
    p.add_argument("--faults", action="store_true", help="serve /_front/faults, for tests only")
    a = p.parse_args()
    key = b""
    if a.api_key_file:
        with open(a.api_key_file, "rb") as f:
            key = f.read().strip()
        if not key:
            sys.exit("the api key file is empty")
    try:
        store = ops.Store(a.data)
    except BlockingIOError:
        sys.exit("another process serves this folder")
    host, _, port = a.listen.rpartition(":")
    server = Server((host or "127.0.0.1", int(port)), Handler)
    server.front = Front(store, key, Faults() if a.faults else None)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    signal.signal(signal.SIGINT, lambda *_: threading.Thread(target=server.shutdown).start())
    if a.port_file:
        with open(a.port_file + ".new", "w") as f:
            f.write(f"{server.server_address[1]}\n")
        os.replace(a.port_file + ".new", a.port_file)
    print(f"{ABOUT['title']} {ABOUT['version']} on {server.server_address[0]}:{server.server_address[1]}",
          file=sys.stderr, flush=True)
    server.serve_forever(poll_interval=0.5)
    server.server_close()
    store.close()


if __name__ == "__main__":
    main()
