"""What a figure was measured on and with."""
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from harness.settings import ROOT, TOOLS
from ops.fleet import nats as fleet_nats
from ops.fleet import postgres, system


def say(*argv):
    """The first line that a command says, "" when it can't be run."""
    try:
        done = subprocess.run(list(map(str, argv)), capture_output=True,
                              text=True, timeout=30, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else ""


def processor():
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return names[0] if names else platform.machine()


def memory_gib():
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def file_system(folder):
    return say("stat", "-f", "-c", "%T", folder) or "unknown"


def fsync_us(folder):
    """Microseconds that one fdatasync of the folder's disk takes, by PostgreSQL's own tool; None when it can't tell."""
    tool = postgres.binaries() / "pg_test_fsync"
    if not tool.exists():
        return None
    file = Path(folder) / "pg_test_fsync.out"
    try:
        done = subprocess.run([str(tool), "-s", "1", "-f", str(file)], capture_output=True, text=True, timeout=120,
                              stdin=subprocess.DEVNULL)
        found = re.search(r"fdatasync\s+([\d.]+) ops/sec", done.stdout)
        return round(1e6 / float(found[1]), 1) if found else None
    except (OSError, subprocess.TimeoutExpired):
        return None
    finally:
        file.unlink(missing_ok=True)


def describe(folder):
    return {"processor": processor(), "cores": os.cpu_count(), "memory_gib": memory_gib(),
            "kernel": platform.release(), "system": say("sh", "-c", ". /etc/os-release; echo $PRETTY_NAME"),
            "file_system": file_system(folder), "niceness": os.nice(0)}


def versions(which_nats):
    """Of everything that takes part and tells its version; peers add theirs."""
    server = fleet_nats.server_binary(which_nats, TOOLS)
    found = {"echora": say("git", "-C", ROOT, "describe", "--always", "--dirty"),
             "compiler": say("gcc", "--version"), "nats-server": say(server, "--version") if server else "",
             "nats": say(TOOLS / "nats", "--version"), "postgres": say(postgres.binaries() / "postgres", "--version"),
             "libpq": say("pkg-config", "--modversion", "libpq"),
             "libnats": say("pkg-config", "--modversion", "libnats"),
             "redis": say("redis-server", "--version"), "nginx": say(system.find("nginx") or "nginx", "-v"),
             "python": platform.python_version(), "go": say("go", "version") if shutil.which("go") else "",
             "java": say("java", "--version")}
    return {name: text for name, text in found.items() if text}
