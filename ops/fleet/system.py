"""Accounts, ports, secrets and small process chores.

Servers never run as root: PostgreSQL refuses it and the others have no need of it. When we are root,
servers run as the account ECHORA_RUN_AS, else `echora` when there is one, else `nobody`.
"""
import collections
import os
import pwd
import random
import secrets
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def account():
    """The (name, uid, gid) that servers run under; ourselves when we are not root."""
    if os.geteuid() != 0:
        entry = pwd.getpwuid(os.geteuid())
        return entry.pw_name, entry.pw_uid, entry.pw_gid
    for name in (os.environ.get("ECHORA_RUN_AS"), "echora", "nobody"):
        if not name:
            continue
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry.pw_name, entry.pw_uid, entry.pw_gid
    raise SystemExit("no unprivileged account: create `echora`, or name one in ECHORA_RUN_AS")


def drop():
    """Keyword arguments for subprocess that make the child run under account()."""
    if os.geteuid() != 0:
        return {}
    _, uid, gid = account()
    return {"user": uid, "group": gid, "extra_groups": []}


def own(path):
    """Gives a file or folder to account(); nothing to do when we are not root."""
    if os.geteuid() == 0:
        _, uid, gid = account()
        os.chown(path, uid, gid)


def own_tree(path):
    own(path)
    for base, folders, files in os.walk(path):
        for name in folders + files:
            own(os.path.join(base, name))


def reachable(path):
    """Can account() enter and read below this folder? True when we are that account ourselves."""
    if os.geteuid() != 0:
        return True
    path = Path(path).resolve()
    _, uid, gid = account()
    for folder in [path, *path.parents]:
        if not folder.exists():
            continue
        info = folder.stat()
        mode = info.st_mode
        need = (stat.S_IXUSR if info.st_uid == uid else
                stat.S_IXGRP if info.st_gid == gid else stat.S_IXOTH)
        if not mode & need:
            return False
    return True


# Of the ports found last: a server that was killed comes back to its own.
reserved = collections.deque(maxlen=512)


def free_port(preferred=0):
    """A free TCP port of the loopback address: the preferred one when nobody listens there, else one below those
    that the kernel gives to outgoing connections, so that none of them takes it before its server starts. An
    abstract socket named after the port keeps every other search here from finding it meanwhile."""
    for port in [preferred or random.randint(20000, 32000), *(random.randint(20000, 32000) for _ in range(100))]:
        claim = socket.socket(socket.AF_UNIX)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                claim.bind(f"\0echora-port-{port}")
                s.bind(("127.0.0.1", port))
            except OSError:
                claim.close()
                continue
        reserved.append(claim)
        return port
    raise SystemExit("no free port on 127.0.0.1")


def port_open(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def wait_until(condition, timeout, what):
    """Polls until condition() is true; returns its value. Raises TimeoutError naming `what`."""
    end = time.monotonic() + timeout
    pause = 0.01
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.25)


def write_private(path, text, for_servers=True):
    """Writes a 0600 file (atomically), owned by the servers' account unless told otherwise."""
    path = Path(path)
    temporary = path.with_name(path.name + ".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as f:
        f.write(text)
    if for_servers:
        own(temporary)
    os.replace(temporary, path)


def secret(folder, name):
    """The content of folder/name, generated when it is not there yet."""
    path = Path(folder) / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(24) + "\n")
    return path.read_text().strip()


def find(program, *folders):
    """Path of a program in one of the folders or on the PATH (with sbin), else None."""
    for folder in folders:
        candidate = Path(folder) / program
        if os.access(candidate, os.X_OK):
            return str(candidate)
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def run(argv, **options):
    """subprocess.run that raises with the command's own words when it fails."""
    options.setdefault("text", True)
    result = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            stdin=options.pop("stdin", None if "input" in options else subprocess.DEVNULL),
                            **options)
    if result.returncode != 0:
        raise RuntimeError(f"{os.path.basename(argv[0])} failed ({result.returncode}): "
                           f"{result.stdout.strip()[-2000:]}")
    return result.stdout
