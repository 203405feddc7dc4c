"""Connections that are begun and never come to an end, many at once, in a process of their own.

usage: half_open.py PORT SOCKET TOKEN_FILE KIND=N...
KIND: `silent` sends nothing, `heads` a head byte by byte, `bodies` a body byte by byte with the token, `strangers` the
same with a token that is none, all through nginx at PORT; `direct` connects to the worker's own SOCKET and sends
nothing. What the other side ends is begun anew a second later. Prints a line when each has been begun once.
"""
import asyncio
import subprocess
import sys
from pathlib import Path

PAUSE = 1
HEAD = b"Host: api.example\r\nContent-Type: application/json\r\nIdempotency-Key: slow\r\nContent-Length: 2000\r\n"


def words(kind, token):
    """What is sent at once, and what is sent byte by byte behind it."""
    post = b"POST /workflow/finalize-run HTTP/1.1\r\n" + HEAD + b"Authorization: Bearer "
    return {"silent": (b"", b""), "direct": (b"", b""), "heads": (b"GET /dlq HTTP/1.1\r\nA: ", b"b" * 1000),
            "bodies": (post + token + b"\r\n\r\n{", b" " * 1999),
            "strangers": (post + b"x\r\n\r\n{", b" " * 1999)}[kind]


async def trickle(writer, rest):
    for n in range(len(rest)):
        await asyncio.sleep(PAUSE)
        writer.write(rest[n:n + 1])
        await writer.drain()


async def connect(kind, port, socket):
    if kind == "direct":
        return await asyncio.open_unix_connection(socket)
    return await asyncio.open_connection("127.0.0.1", port)


async def hold(kind, port, socket, token, begun):
    at_once, rest = words(kind, token)
    while True:
        try:
            reader, writer = await connect(kind, port, socket)
            begun.release()
            writer.write(at_once)
            slow = asyncio.ensure_future(trickle(writer, rest))
            while await reader.read(4096):
                pass
            slow.cancel()
            writer.close()
        except OSError:  # refused or reset: it comes again
            begun.release()
        await asyncio.sleep(PAUSE)


async def main(port, socket, token_file, *counts):
    token = Path(token_file).read_bytes()
    begun = asyncio.Semaphore(0)
    held = [asyncio.ensure_future(hold(kind, int(port), socket, token, begun))
            for kind, n in (c.split("=") for c in counts) for _ in range(int(n))]
    for _ in held:
        await begun.acquire()
    print("begun", flush=True)
    await asyncio.gather(*held)


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
    asyncio.run(main(*sys.argv[1:]))
