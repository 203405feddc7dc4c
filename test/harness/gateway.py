"""The Command API as its callers meet it: nginx, the worker behind it, tokens, and a scripted responder on the bus.

    api = CommandApi(spawn, redis, folder); api.start()
    api.post("/workflow/check-tag", {"source": "manami"})      through nginx
    api.scgi(uri="/dlq")                                       against the socket
    with Responder(bus) as responder: responder.answers["command.check-tag"] = reply(200, {...})
"""
import asyncio
import contextlib
import http.client
import json
import re
import shutil
import socket
import time
import uuid

from ops.fleet import system
from ops.nginx import config as nginx_config

from . import promises, tokens
from .process import Process, eventually
from .settings import PATIENCE, ROOT

READ, EXECUTE, APPROVE = "workflow.read", "workflow.execute", "workflow.approve"
ALL = f"{READ} {EXECUTE} {APPROVE}"
CLIENTS = {"clients": [
    {"id": "n8n", "scopes": [READ, EXECUTE, APPROVE], "limits": {"read": 100000, "execute": 100000, "approve": 100000}},
    {"id": "slow", "scopes": [READ, EXECUTE], "limits": {"read": 3}},
]}


class Answer:
    """Status, headers (lower-case names) and body of one answer."""

    def __init__(self, status, headers, body):
        self.status, self.body = status, body
        self.headers = {}
        for name, value in headers:
            assert name.lower() not in self.headers, f"{name} comes twice"
            self.headers[name.lower()] = value

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """Of a problem, whose form is checked by the way; None of a good answer."""
        if self.headers.get("content-type") != "application/problem+json":
            assert self.status < 400, self
            return None
        told = self.json
        assert told["status"] == self.status and told["type"] == f"urn:echora:problem:{told['code']}", self
        if "idempotent-replayed" not in self.headers:  # that one is word for word the first one's
            assert told["instance"] == f"urn:uuid:{self.headers['x-request-id']}", self
        assert told["retryable"] == ("retry-after" in self.headers), self
        assert told["title"] and told["detail"] and isinstance(told["violations"], list), self
        return told["code"]

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:500]!r}>"


def parsed(raw):
    """The first answer in bytes that came over HTTP or, with Status:, over SCGI."""
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    if lines[0].startswith("HTTP/"):
        status = int(lines.pop(0).split()[1])
    else:
        status = int(lines.pop(0).removeprefix("Status:").split()[0])
    headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
    length = dict((n.lower(), v) for n, v in headers).get("content-length")
    return Answer(status, headers, body[:int(length)] if length else body)


def netstring(pairs):
    content = b"".join(n.encode("latin-1") + b"\0" + v.encode("latin-1") + b"\0" for n, v in pairs)
    return b"%d:%b," % (len(content), content)


class CommandApi:
    def __init__(self, spawn, redis, folder, env=None):
        self.spawn, self.redis, self.folder, self.env = spawn, redis, folder, dict(env or {})
        self.key, self.clients = tokens.Ec(), CLIENTS
        self.socket = str(folder / "api.sock")
        self.port = system.free_port()
        self.nginx = None
        self.worker = None

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        system.own(path)
        return path

    def start(self, nginx=True, wait=True, **more):
        """wait=False: returns while it may not listen yet."""
        self.file("jwks.json", tokens.jwks(self.key.jwk(kid="k1")))
        self.file("clients.json", json.dumps(self.clients))
        env = {"ECHORA_SOCKET": self.socket, "ECHORA_SOCKET_MODE": "0666", "ECHORA_ISSUER": tokens.ISSUER,
               "ECHORA_JWKS": self.folder / "jwks.json", "ECHORA_CLIENTS": self.folder / "clients.json",
               "ECHORA_REDIS_URL": self.redis.url, "ECHORA_REDIS_USER": "command",
               "ECHORA_REDIS_PASSWORD_FILE": self.redis.secret_files["command"], "ECHORA_LOG_FORMAT": "json",
               **self.env}
        if not wait:
            more["wait"] = False
        self.worker = self.spawn("command-api", env=env, **more)
        if wait:
            self.connected()
        if nginx:
            self.start_nginx()
        return self

    def nginx_conf(self, folder, **more):
        return nginx_config.config(folder, self.socket, f"127.0.0.1:{self.port}", documents=folder, **more)

    def start_nginx(self, change=str, **more):
        """change: what a test makes of the configuration's text."""
        folder = self.folder / "nginx"
        folder.mkdir(exist_ok=True)
        system.own(folder)
        for document in ("contracts/openapi.json", "ops/nginx/docs.html"):
            shutil.copy(ROOT / document, folder)
        conf = self.file("nginx.conf", change(self.nginx_conf(folder, **more)))
        self.nginx = Process("nginx", [system.find("nginx"), "-c", conf, "-e", "stderr"], self.folder,
                             ready=lambda: system.port_open(self.port))
        self.nginx.start()

    def connected(self):
        """Waits until the worker's socket is there: it is ready a moment earlier."""
        def there():
            with contextlib.suppress(OSError), self.connect():
                return True
        eventually(there, 10, "the socket")

    def stop(self):
        if self.nginx:
            self.nginx.stop()

    def token(self, scope=ALL, **claims):
        now = int(time.time())
        return tokens.token(self.key, claims=tokens.payload(now, scope=scope, **claims))

    # Through nginx ---------------------------------------------------------------------------------

    def call(self, method, path, body=None, scope=ALL, key=None, headers=None, token=None):
        """key: "" leaves Idempotency-Key out; None makes a fresh one for each POST."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60 * PATIENCE)
        sent = {"Authorization": f"Bearer {token or self.token(scope)}"} if token != "" else {}
        if method == "POST" and key != "":
            sent["Idempotency-Key"] = key or str(uuid.uuid4())
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if method == "POST":
            data = data or b""
            sent["Content-Type"] = "application/json"
        connection.request(method, path, body=data, headers={**sent, **(headers or {})})
        got = connection.getresponse()
        answer = Answer(got.status, got.getheaders(), got.read())
        connection.close()
        assert answer.headers["cache-control"] == "no-store" and uuid.UUID(answer.headers["x-request-id"])
        assert answer.headers["x-content-type-options"] == "nosniff"
        if method != "HEAD" and path.partition("?")[0] not in ("/docs", "/openapi.json"):
            promises.hold(answer, method, path, body="/workflow/" not in path)
        return answer

    def post(self, path, body=None, **more):
        return self.call("POST", path, body, **more)

    def get(self, path, **more):
        return self.call("GET", path, **more)

    def post_at_once(self, path, body, key):
        """A POST whose head and body are one piece."""
        data = json.dumps(body).encode()
        head = (f"POST {path} HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\nIdempotency-Key: {key}\r\nAuthorization: Bearer {self.token()}\r\n\r\n")
        return parsed(self.raw(head.encode() + data, wait=60))

    def raw(self, data, wait=5):
        """What comes back for these bytes, until the server closes or is silent."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=wait * PATIENCE) as s:
            s.sendall(data)
            return drained(s)

    # Against the socket ----------------------------------------------------------------------------

    def connect(self, wait=5):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(wait * PATIENCE)
        s.connect(self.socket)
        return s

    def request(self, method="GET", uri="/dlq", body=b"", headers=(), token=None, own=()):
        """The bytes of a request as the gateway sends it; headers: pairs of HTTP_… names and values."""
        pairs = [("CONTENT_LENGTH", str(len(body))), ("SCGI", "1"), ("REQUEST_METHOD", method), ("REQUEST_URI", uri),
                 ("CONTENT_TYPE", "application/json" if body else ""), ("REMOTE_ADDR", "127.0.0.1"), *own]
        if token != "":
            pairs.append(("HTTP_AUTHORIZATION", f"Bearer {token or self.token()}"))
        return netstring([*pairs, *headers]) + body

    def scgi(self, data=None, **more):
        with self.connect() as s:
            s.sendall(self.request(**more) if data is None else data)
            s.shutdown(socket.SHUT_WR)
            raw = drained(s)
        return parsed(raw) if raw else None


def drained(s):
    out = b""
    try:
        while part := s.recv(65536):
            out += part
    except (TimeoutError, ConnectionResetError):
        pass
    return out


def first_answer(s):
    """The bytes of one answer; the connection may stay open behind it."""
    out = b""
    try:
        while part := s.recv(65536):
            out += part
            head, end, body = out.partition(b"\r\n\r\n")
            length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
            if end and length and len(body) >= int(length[1]):
                break
    except (TimeoutError, ConnectionResetError):
        pass
    return out


def audit(streams, wanted=0, **want):
    """The records on audit.command with these members; waits for `wanted` of them, since a caller may have the answer a
    moment before the stream has the record."""
    def records():
        found = [json.loads(m.data) for m in streams.bus().messages("AUDIT") if m.subject == "audit.command"]
        return [r for r in found if all(r.get(k) == v for k, v in want.items())]
    if wanted:
        eventually(lambda: len(records()) >= wanted, 10, "the records")
    return records()


def reply(status, body, **headers):
    """A responder's answer in the command protocol."""
    return {"Echora-Status": str(status), **headers}, json.dumps(body).encode()


def refusal(status, code, reject="reject", **more):
    body = {"code": code, "detail": f"the responder says {code}", "retryable": False, "violations": [], **more}
    return reply(status, body, **{"Nats-Service-Error-Code": code, "Nats-Service-Error": "in words",
                                  "Echora-Error-Class": reject})


class Responder:
    """A scripted one: `answers[subject]` is (headers, bytes), a function of the message, or None (silence). It
    remembers what it was asked. It stands for workers that are not there yet, and tells nothing about them."""

    def __init__(self, bus, *subjects):
        self.bus, self.answers, self.asked = bus, {}, []
        self.subscriptions = [self.listen(subject) for subject in subjects]

    def listen(self, subject):
        async def take(message):
            self.asked.append(message)
            answer = self.answers.get(message.subject)
            if callable(answer):
                answer = answer(message)
                if asyncio.iscoroutine(answer):
                    answer = await answer
            if answer is not None:
                await self.bus.nc.publish(message.reply, answer[1], headers=answer[0])

        async def go():
            subscription = await self.bus.nc.subscribe(subject, queue="command", cb=take)
            await self.bus.nc.flush(5)
            return subscription
        return self.bus.wait(go())

    def close(self):
        async def go():
            for subscription in self.subscriptions:
                await subscription.unsubscribe()
        self.bus.wait(go())

    def bodies(self, subject):
        return [json.loads(m.data) for m in self.asked if m.subject == subject]


__all__ = ["CommandApi", "Responder", "Answer", "eventually", "netstring", "parsed", "refusal", "reply"]
