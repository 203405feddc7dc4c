"""Bad events at a rate that no client library is needed for: PUB lines on a socket, in a thread."""
import json
import socket
import threading
import time


class Storm:
    """`rate` events a second that are no messages, for so many seconds, on one subject. sent: their payloads."""

    def __init__(self, nats, subject, rate, seconds, user="operator"):
        self.subject, self.rate, self.seconds, self.sent = subject, rate, seconds, []
        self.socket = socket.create_connection(("127.0.0.1", nats.port), 30)
        login = {"user": user, "pass": nats.passwords[user], "verbose": False, "pedantic": False, "protocol": 1}
        self.socket.sendall(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
        self.heard = b""
        self.hear(b"PONG")
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def hear(self, word):
        while word not in self.heard:
            part = self.socket.recv(4096)
            assert part and b"-ERR" not in part, part
            self.heard += part
        self.heard = b""

    def run(self):
        began, total = time.monotonic(), int(self.rate * self.seconds)
        while len(self.sent) < total:
            due = min(total, int((time.monotonic() - began) * self.rate))
            new = [b"\xff\xff no event %d" % n for n in range(len(self.sent), due)]
            self.sent += new
            self.socket.sendall(b"".join(b"PUB %s %d\r\n%s\r\n" % (self.subject.encode(), len(p), p) for p in new))
            time.sleep(0.01)

    def wait(self):
        """All of them have been taken by the server."""
        self.thread.join()
        self.socket.sendall(b"PING\r\n")
        self.hear(b"PONG")
        self.socket.close()
