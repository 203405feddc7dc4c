"""Which nats-server to run, and the passwords of its users."""
import json
import urllib.request
from pathlib import Path

from ops.nats import users

from . import system


def server_binary(which, tools):
    """Path of nats-server: `current` (built from ops/tools), `debian`, or `best` (current, else Debian's)."""
    current = system.find("nats-server", tools) if Path(tools, "nats-server").exists() else None
    debian = next((p for p in ("/usr/sbin/nats-server", "/usr/bin/nats-server") if Path(p).exists()), None)
    return {"current": current, "debian": debian, "best": current or debian}[which]


def passwords(folder):
    """User → password, from files nats-<user> in the folder, generated when missing."""
    return {user: system.secret(folder, f"nats-{user}") for user in users.USERS}


def healthy(monitor_port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{monitor_port}/healthz", timeout=1) as reply:
            return json.load(reply).get("status") == "ok"
    except (OSError, ValueError):
        return False
