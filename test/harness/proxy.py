"""A TCP proxy on loopback between a worker and its server, which treats connections as bad networks do.

It passes bytes on untouched until a rule acts. Rules look at what the client sends: one fits a connection that
has sent `after` (anything by default) and now sends `match`. What they do, with the request that fits:

  cut          it does not reach the server, both ends are reset
  lose-answer  it reaches the server; the answer up to `until` does not come back, then the client gets `answer`
               in its place (nothing by default) and the connection is closed
  half-open    it reaches the server, and nothing ever comes back
  hold         it waits here until release(), even when its client is long gone

Besides, for all connections: latency, pieces (partial writes), cut_after (bytes in either direction),
stall/resume, cut, and refuse/accept of new ones. One thread per direction of a connection; plain and slow is fine.
"""
import contextlib
import random
import re
import socket
import struct
import threading
import time

from .process import eventually

RESET = struct.pack("ii", 1, 0)


class Rule:
    def __init__(self, action, match=b"", after=b"", until=b"", answer=b"", times=1, skip=0):
        assert action in ("cut", "lose-answer", "half-open", "hold"), action
        self.action, self.match, self.after = action, match, after
        self.until, self.answer, self.times, self.skip = until, answer, times, skip
        self.hits = 0  # requests that it acted on
        self.answers = 0  # answers to them that came here, for whomever
        self.held = b""
        self.released = threading.Event()

    def wait(self, hits=1, timeout=20):
        eventually(lambda: self.hits >= hits, timeout, f"{self.action} of {self.match!r}")

    def wait_answer(self, answers=1, timeout=20):
        """Until the server has answered a request that it acted on."""
        eventually(lambda: self.answers >= answers, timeout, f"answer to {self.match!r}")

    def wait_http(self, timeout=20):
        """Until a whole HTTP request is held."""
        def whole():
            head, end, body = self.held.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
            return end and len(body) >= (int(length[1]) if length else 0)
        eventually(whole, timeout, f"{self.match!r} held")

    def release(self):
        """Lets go of what is held."""
        self.times = 0
        self.released.set()


class Link:
    """One connection through the proxy."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.losing = None    # the rule that keeps answers back
        self.released = None  # the rule whose request went on after all
        self.sent = b""       # the end of what the client sent, for matches over the edge of two reads
        self.armed = set()    # rules whose `after` was sent
        self.closed = self.holding = False
        self.server_left = False  # while a request was held
        self.limit = proxy.draw_limits()
        self.connect()
        self.start(self.pump_up)

    def connect(self):
        self.server_left = False
        self.server = socket.create_connection(("127.0.0.1", self.proxy.target), 5)
        self.server.settimeout(None)
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.start(self.pump_down)

    def start(self, pump):
        threading.Thread(target=self.guarded, args=(pump,), daemon=True).start()

    def guarded(self, pump):
        try:
            pump()
        except OSError:
            self.close()

    def close(self, reset=False):
        self.closed = True
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                # Either wakes the thread that reads here; only the second tells the peer.
                end.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)
            if reset:
                with contextlib.suppress(OSError):
                    end.close()

    def forward(self, data, to, way):
        """False when the connection ended at its limit of bytes."""
        proxy = self.proxy
        proxy.running.wait()
        if proxy.latency:
            time.sleep(proxy.latency)
        over = self.limit is not None and self.limit[way] is not None and len(data) >= self.limit[way]
        if over:
            data = data[:self.limit[way]]
        elif self.limit is not None and self.limit[way] is not None:
            self.limit[way] -= len(data)
        step = proxy.pieces or len(data) or 1
        for at in range(0, len(data), step):
            to.sendall(data[at:at + step])
        if over:
            proxy.cuts += 1
            self.close(reset=proxy.random.random() < 0.5)
        return not over

    def fitting(self, data):
        """The rule that acts on what the client sends now."""
        seen = self.sent + data
        self.sent = seen[-256:]
        with self.proxy.lock:
            for rule in self.proxy.rules:
                if rule.after and rule not in self.armed:
                    at = seen.find(rule.after)
                    if at < 0:
                        continue
                    self.armed.add(rule)
                    begin = at
                else:
                    begin = max(len(seen) - len(data) - len(rule.match) + 1, 0)
                if rule.match not in seen[begin:] or rule.hits >= rule.times:
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.hits += 1
                return rule
        return None

    def pump_up(self):
        while data := self.client.recv(65536):
            rule = None if self.losing else self.fitting(data)
            if rule and rule.action == "cut":
                self.close(reset=True)
                return
            if rule and rule.action in ("lose-answer", "half-open"):
                self.losing = rule
            if rule and rule.action == "hold":
                data = self.hold(rule, data)
            if not self.forward(data, self.server, "up"):
                return
        if not self.closed:
            self.server.shutdown(socket.SHUT_WR)

    def hold(self, rule, data):
        """Takes what comes until the release, as a client that dies may take back what nobody has read."""
        rule.held = data
        self.holding = True
        self.client.settimeout(0.02)
        while not rule.released.is_set():
            try:
                more = self.client.recv(65536)
            except TimeoutError:
                continue
            except OSError:
                more = b""
            if not more:
                rule.released.wait()
            rule.held += more
        self.client.settimeout(None)
        self.released, self.holding = rule, False
        if self.server_left:
            self.connect()
        return rule.held

    def pump_down(self):
        answer, gone = b"", False
        while data := self.server.recv(65536):
            if self.losing:
                answer += data
                if self.losing.action == "half-open" or self.losing.until not in answer:
                    continue
                if self.losing.answer:
                    self.client.sendall(self.losing.answer)
                self.close(reset=not self.losing.answer)
                self.losing.answers += 1
                return
            try:
                if not gone and not self.forward(data, self.client, "down"):
                    return
            except OSError:
                gone = True  # the server may still read what was held for it
            if self.released:
                self.released.answers += 1
                self.released = None
        if self.holding:
            self.server_left = True
        elif not self.closed:
            self.client.shutdown(socket.SHUT_WR)


class Proxy:
    """Listens on `port`, connects to `target`; both on loopback."""

    def __init__(self, target):
        self.target = target
        self.rules, self.links = [], []
        self.lock = threading.Lock()
        self.running = threading.Event()
        self.latency = self.pieces = 0
        self.cuts = 0  # connections that ended at their limit of bytes
        self.most = None
        self.random = random.Random(0)
        self.listener = None
        self.port = 0
        self.resume()
        self.accept()

    def plan(self, action, match=b"", **more):
        """Adds a rule and returns it; earlier ones go first."""
        rule = Rule(action, match, **more)
        with self.lock:
            self.rules.append(rule)
        return rule

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def cut_after(self, most, seed=0):
        """Each new connection ends after 1 to `most` bytes, in a direction drawn as well; half of them by a reset."""
        self.random = random.Random(seed)
        self.most = most

    def draw_limits(self):
        if self.most is None:
            return None
        limit = {"up": None, "down": None}
        limit[self.random.choice(("up", "down"))] = self.random.randint(1, self.most)
        return limit

    def heal(self):
        """From now on nothing happens to anybody, but for what is held or lost already."""
        with self.lock:
            self.rules = []
        self.latency = self.pieces = 0
        self.most = None
        for link in self.links:
            link.limit = None
        self.resume()

    def cut(self, reset=True):
        """Ends every connection."""
        for link in self.links:
            link.close(reset)

    def stall(self):
        """No byte moves until resume(); connections stay open."""
        self.running.clear()

    def resume(self):
        self.running.set()

    def accept(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        self.listener.listen(64)
        threading.Thread(target=self.serve, args=(self.listener,), daemon=True).start()

    def refuse(self):
        """New connections are refused until accept()."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def serve(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                self.links.append(Link(self, client))
            except OSError:  # the server is away
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()

    def close(self):
        """What is held never arrives."""
        self.refuse()
        rules = self.rules
        self.heal()
        self.cut()
        for rule in rules:
            rule.release()
