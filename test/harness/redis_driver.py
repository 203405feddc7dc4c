"""test/drivers/redis_driver as a Python object: the Command API's calls on Redis, from processes of their own."""
import contextlib
import os
import subprocess

from .settings import BUILD


class Failed(Exception):
    def __init__(self, kind, code, text):
        super().__init__(f"{kind} {code}: {text}")
        self.kind, self.code, self.text = kind, code, text


class Driver:
    """driver("begin", client, path, key, body) → ["new", owner, "1"]; raises Failed with class and code."""

    def __init__(self, redis, user="command", password=None, url=None, timeout_ms=2000, connections=8, faults=""):
        argv = [BUILD / "test/drivers/redis_driver", url or redis.url, user,
                redis.passwords.get(user, "") if password is None else password, timeout_ms, connections]
        self.process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, "PLANTED_FAULTS": faults})

    def send(self, *words):
        self.process.stdin.write("\t".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()

    def receive(self):
        line = self.process.stdout.readline()
        assert line, "the driver died"
        word, *rest = line.rstrip("\n").split("\t")
        if word != "ok":
            raise Failed(word, *rest)
        return rest

    def __call__(self, *words):
        self.send(*words)
        return self.receive()

    def close(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        assert self.process.wait(15) == 0
