"""A fast receiver of webhooks: one process without a framework, just enough HTTP; counts calls and distinct
webhook-ids."""
import asyncio
import multiprocessing
import re

from ops.fleet import system

ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"
ID = re.compile(rb"\r\nwebhook-id: *([^\r]*)", re.I)
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


class Connection(asyncio.Protocol):
    """Finds the end of each request by its Content-Length."""

    def __init__(self, calls, distinct, seen):
        self.calls, self.distinct, self.seen, self.data = calls, distinct, seen, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.data += data
        while (end := self.data.find(b"\r\n\r\n")) >= 0:
            head = self.data[:end]
            size = LENGTH.search(head)
            whole = end + 4 + (int(size[1]) if size else 0)
            if len(self.data) < whole:
                return
            self.data = self.data[whole:]
            found = ID.search(head)
            self.seen.add(found[1] if found else b"")
            self.calls.value += 1
            self.distinct.value = len(self.seen)
            self.transport.write(ANSWER)


def serve(port, calls, distinct):
    async def go():
        seen = set()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(calls, distinct, seen), "127.0.0.1", port)
        await server.serve_forever()
    asyncio.run(go())


class Receiver:
    def __init__(self):
        self.port = system.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.calls, self.distinct = (multiprocessing.Value("q", 0, lock=False) for _ in range(2))
        self.process = multiprocessing.Process(target=serve, args=(self.port, self.calls, self.distinct), daemon=True)
        self.process.start()
        system.wait_until(lambda: system.port_open(self.port), 20, "receiver")

    def stop(self):
        self.process.terminate()
        self.process.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
