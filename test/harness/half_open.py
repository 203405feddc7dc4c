"""Connections that are begun and never come to an end, many at once, in a process of their own.

usage: half_open.py PORT SOCKET TOKEN_FILE KIND=N...
KIND: `silent` sends nothing, `heads` a head byte by byte, `bodies` a body byte by byte with the token, `strangers` the
same with a token that is none, all through nginx at PORT; `direct` connects to the worker's own SOCKET and sends
nothing. What the other side ends is begun anew a moment later. Prints a line when each has been begun once.
"""
import collections
import random
import resource
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

PAUSE = 2  # seconds
HEAD = b"Host: api.example\r\nContent-Type: application/json\r\nIdempotency-Key: slow\r\nContent-Length: 2000\r\n"


def words(kind, token):
    """What is sent at once, and what is sent byte by byte behind it."""
    post = b"POST /workflow/finalize-run HTTP/1.1\r\n" + HEAD + b"Authorization: Bearer "
    return {"silent": (b"", b""), "direct": (b"", b""), "heads": (b"GET /dlq HTTP/1.1\r\nA: ", b"b" * 1000),
            "bodies": (post + token + b"\r\n\r\n{", b" " * 1999),
            "strangers": (post + b"x\r\n\r\n{", b" " * 1999)}[kind]


class Held:
    """One of them. `next` is called every PAUSE: it begins anew, or sends a byte more."""

    def __init__(self, kind, port, socket_path, token):
        self.address = socket_path if kind == "direct" else ("127.0.0.1", port)
        self.at_once, self.rest = words(kind, token)
        self.socket, self.sent = None, 0

    def next(self, selector):
        try:
            if self.socket is None:
                self.begin(selector)
            elif self.sent < len(self.rest):
                self.socket.send(self.rest[self.sent:self.sent + 1])
                self.sent += 1
        except OSError:  # refused, reset, or no room: it comes again
            self.end(selector)

    def begin(self, selector):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        selector.register(self.socket, selectors.EVENT_READ, self)
        self.socket.settimeout(1)
        self.socket.connect(self.address)
        self.socket.setblocking(False)
        self.socket.sendall(self.at_once)
        self.sent = 0

    def read(self, selector):
        try:
            over = not self.socket.recv(65536)
        except OSError:
            over = True
        if over:
            self.end(selector)

    def end(self, selector):
        if self.socket:
            selector.unregister(self.socket)
            self.socket.close()
            self.socket = None


def main(port, socket_path, token_file, *counts):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    token, selector = Path(token_file).read_bytes(), selectors.DefaultSelector()
    all_of_them = [Held(kind, int(port), socket_path, token)
                   for kind, n in (c.split("=") for c in counts) for _ in range(int(n))]
    random.Random(0).shuffle(all_of_them)
    began, left = time.monotonic(), len(all_of_them)
    turns = collections.deque((began + PAUSE * i / left, one) for i, one in enumerate(all_of_them))
    while left or turns:  # each has its turn, evenly spread, always in the same order
        due, one = turns[0]
        if due <= time.monotonic():
            turns.popleft()
            one.next(selector)
            turns.append((due + PAUSE, one))
            left -= 1
            if left == 0:
                print("begun", flush=True)
        for key, _ in selector.select(max(0, due - time.monotonic())):
            key.data.read(selector)


class HalfOpen:
    """with HalfOpen(port, socket, token_file, silent=500): all of them are begun inside."""

    def __init__(self, port, socket, token_file, **counts):
        self.argv = [sys.executable, __file__, str(port), str(socket), str(token_file),
                     *(f"{kind}={n}" for kind, n in counts.items())]

    def __enter__(self):
        self.child = subprocess.Popen(self.argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self.child.stdout.readline() == b"begun\n"
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
