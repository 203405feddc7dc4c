"""Redis for the Command API: its configuration, its users, and as much of its protocol as asking it takes.

Users (access list in a file of its own, passwords as digests): `default` is off; `command`, the Command API, has the
keys of its two kinds and the commands of its scripts; `admin` is for people and may do everything. Nothing is evicted,
for a key that is forgotten early lets a request run twice; every write is in a file within a second.

Redis 7.0 reads that file as the user `default`: without rights it leaves out every transaction, that is all that
scripts have written, and starts all the same. So `default` has every right and can't sign in.
"""
import hashlib
import socket
from pathlib import Path

from ops.fleet import system

# User → what it may do. A script needs the rights of every command in it.
USERS = {
    "command": "resetchannels ~echora:idem:v1:* ~echora:rl:v1:* -@all +ping +eval +evalsha +time +hmget +hset +pexpire"
               " +get +set",
    "admin": "allchannels allkeys +@all",
}
MEMORY = "512mb"
SETTINGS = """\
protected-mode yes
daemonize no
databases 1
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
busy-reply-threshold 1000
tcp-keepalive 15
"""


def users(passwords):
    """The access list; passwords: user → password."""
    digests = {user: hashlib.sha256(passwords[user].encode()).hexdigest() for user in USERS}
    return "".join(["user default off resetpass allkeys allchannels +@all\n",
                    *(f"user {user} on resetpass #{digests[user]} resetkeys {rights}\n" for user, rights in USERS.items())])


def config(port, data, access_list, bind="127.0.0.1", memory=MEMORY):
    """redis.conf; data: its folder, access_list: the file of users()."""
    return f"bind {bind}\nport {port}\ndir {data}\naclfile {access_list}\nmaxmemory {memory}\n{SETTINGS}"


def binary():
    return system.find("redis-server")


class Refused(Exception):
    """An error reply; its first word is `code`."""

    def __init__(self, text):
        super().__init__(text)
        self.code = text.split(" ", 1)[0]


class Client:
    """One connection: call("SET", key, value) returns the reply as int, bytes, None or list, or raises Refused."""

    def __init__(self, port, user=None, password=None, host="127.0.0.1", timeout=5):
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.lines = self.socket.makefile("rb")
        if user:
            self.call("AUTH", user, password)

    def call(self, *words):
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(b"".join([b"*%d\r\n" % len(parts), *(b"$%d\r\n%b\r\n" % (len(p), p) for p in parts)]))
        return self._reply()

    def _reply(self):
        line = self.lines.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise Refused(rest.decode(errors="replace"))
        if kind == b"+":
            return rest
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.lines.read(int(rest) + 2)[:-2]
        return None if rest == b"-1" else [self._reply() for _ in range(int(rest))]

    def close(self):
        self.lines.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ready(port, password):
    """Answers, and has loaded its data."""
    try:
        with Client(port, "admin", password, timeout=1) as client:
            return client.call("PING") == b"PONG"
    except (OSError, Refused):
        return False


def write(folder, port, passwords, data):
    """Both files below folder, readable by the server's account alone; returns the path of redis.conf."""
    conf, access_list = Path(folder) / "redis.conf", Path(folder) / "redis.acl"
    system.write_private(access_list, users(passwords))
    system.write_private(conf, config(port, data, access_list))
    return conf
