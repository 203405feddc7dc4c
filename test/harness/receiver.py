"""A strict receiver of webhooks, which can also be as bad as a receiver gets.

It parses each request by hand, refuses what is no clean HTTP/1.1 POST, and verifies both signatures by its own code.
What a call is answered says `answer`: a status, (status, headers, body), or a function of the socket that does
what it likes and after which the connection is closed.
"""
import base64
import contextlib
import hashlib
import hmac
import json
import os
import socket
import threading
import time

PHRASES = {200: "OK", 204: "No Content"}


def new_secret():
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


def signature(secret, id, timestamp, body):
    """Standard Webhooks: v1,<base64 HMAC-SHA256 of id.timestamp.body>"""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, f"{id}.{timestamp}.".encode() + body, hashlib.sha256).digest()).decode()


class Call:
    def __init__(self, path, headers, body, secrets):
        self.path, self.headers, self.body, self.at = path, headers, body, time.time()
        self.id = headers.get("webhook-id")
        self.faults = list(self.look(secrets))

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def data(self):
        return self.json["data"]

    def look(self, secrets):
        """What is wrong with it."""
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "x-signature-256"):
            if name not in self.headers:
                yield f"no {name}"
                return
        stamp = self.headers["webhook-timestamp"]
        if not stamp.isdigit() or abs(time.time() - int(stamp)) > 300:
            yield "timestamp"
        offered = self.headers["webhook-signature"].split(" ")
        if not any(hmac.compare_digest(signature(s, self.id, stamp, self.body), o) for s in secrets for o in offered):
            yield "signature"
        plain = [f"sha256={hmac.new(s.encode(), self.body, hashlib.sha256).hexdigest()}" for s in secrets]
        if self.headers["x-signature-256"] not in plain:
            yield "x-signature-256"
        if self.headers.get("content-type") != "application/json":
            yield "content type"
        if len(self.body) > 20480:
            yield "body too large"
        if "expect" in self.headers or "transfer-encoding" in self.headers:
            yield "expect or transfer-encoding"
        try:
            document = json.loads(self.body)
            if list(document) != ["type", "timestamp", "id", "data"] or document["id"] != self.id:
                yield "keys of the body"
        except (ValueError, KeyError, TypeError):
            yield "no JSON"


class Receiver:
    def __init__(self, secrets=(), tls=None, host="127.0.0.1"):
        self.secrets, self.tls, self.host = list(secrets) or [new_secret()], tls, host
        self.answer = lambda call: 204
        self.calls, self.faults, self.connections = [], [], 0
        self.lock, self.open = threading.Lock(), set()
        self.listener = None
        self.start()

    def start(self, port=0):
        self.listener = socket.create_server((self.host, port), backlog=128)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{'localhost' if self.tls else self.host}:{self.port}"

    def stop(self):
        """Gone: connections are refused. `start(port)` brings it back."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            sockets, self.open = self.open, set()
        for s in sockets:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            s.close()

    def accept(self, listener):
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        with self.lock:
            self.connections += 1
            self.open.add(s)
        try:
            if self.tls:
                s = self.tls.wrap_socket(s, server_side=True)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while self.one(s):
                pass
        except OSError:
            pass
        finally:
            s.close()

    def one(self, s):
        """One request and its answer; whether the connection goes on."""
        head = b""
        while b"\r\n\r\n" not in head:
            part = s.recv(65536)
            if not part:
                return False
            head += part
        head, _, body = head.partition(b"\r\n\r\n")
        first, *lines = head.decode("ascii").split("\r\n")
        method, path, version = first.split(" ")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            if name.lower() in headers:
                self.faults.append(f"{name} twice")
            headers[name.lower()] = value
        while len(body) < int(headers["content-length"]):
            body += s.recv(65536)
        call = Call(path, headers, body, self.secrets)
        if (method, version) != ("POST", "HTTP/1.1") or len(body) != int(headers["content-length"]):
            self.faults.append(f"{first}: no clean POST")
        with self.lock:
            self.calls.append(call)
            self.faults += [f"{path}: {fault}" for fault in call.faults]
        answer = self.answer(call)
        if callable(answer):
            answer(s)
            return False
        status, more, text = answer if isinstance(answer, tuple) else (answer, {}, b"")
        lines = [f"HTTP/1.1 {status} {PHRASES.get(status, 'Whatever')}"]
        if status not in (204, 304):
            lines.append(f"Content-Length: {len(text)}")
        lines += [f"{name}: {value}" for name, value in more.items()]
        s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (text if status not in (204, 304) else b""))
        return True

    # What has come --------------------------------------------------------------------------------

    def of(self, path):
        with self.lock:
            return [c for c in self.calls if c.path == path]

    def ids(self, path=None):
        with self.lock:
            return [c.id for c in self.calls if path in (None, c.path)]
