"""CPU seconds and memory of processes with all below them, and what the rest of the machine does meanwhile."""
import contextlib
import os
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def stat(pid):
    """The fields behind the name in /proc/PID/stat, or None when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None


def family(pid):
    """The process and everything below it, now."""
    children = {}
    for path in Path("/proc").glob("[0-9]*"):
        fields = stat(path.name)
        if fields:
            children.setdefault(int(fields[1]), []).append(int(path.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo.extend(children.get(found[-1], []))
    return found


def cpu_seconds(pid):
    """User and system time of a process, its children that live, and those that it waited for: PostgreSQL's server
    process has waited for every backend that ended."""
    return sum(sum(map(int, fields[11:15])) for fields in map(stat, family(pid)) if fields) / TICKS


def peak_mib(pid):
    """Most resident memory of the process itself so far; None when it is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return None


def machine_busy():
    """CPU seconds that all cores of this machine have worked, what its host took away included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS


class Meter:
    """CPU seconds of named processes since it was made. `add` names one that starts later."""

    def __init__(self, **pids):
        self.pids, self.before, self.since = {}, {}, time.monotonic()
        for name, pid in pids.items():
            self.add(name, pid, fresh=False)

    def add(self, name, pid, fresh=True):
        self.pids[name] = pid
        self.before[name] = 0 if fresh else cpu_seconds(pid)

    def read(self):
        """{"cpu": {name: seconds}, "peak_mib": {name: MiB}}. PostgreSQL's processes share most of their memory, so that no
        figure of one of them, nor their sum, would tell anything."""
        peaks = {n: peak_mib(p) for n, p in self.pids.items() if n != "PostgreSQL"}
        return {"cpu": {n: round(cpu_seconds(p) - self.before[n], 3) for n, p in self.pids.items()},
                "peak_mib": {n: round(m, 1) for n, m in peaks.items() if m is not None}}


class Neighbours:
    """What else the machine did: the share of all cores' time that went to programs that are not ours, and the load
    average at its highest."""

    def __enter__(self):
        self.wall, self.busy, self.own = time.monotonic(), machine_busy(), cpu_seconds(os.getpid())
        self.load = [os.getloadavg()[0]]
        self.over = threading.Event()
        self.sampler = threading.Thread(target=self._sample, daemon=True)
        self.sampler.start()
        return self

    def _sample(self):
        while not self.over.wait(1):
            self.load.append(os.getloadavg()[0])

    def __exit__(self, *_):
        self.over.set()
        self.sampler.join()
        wall = time.monotonic() - self.wall
        foreign = machine_busy() - self.busy - (cpu_seconds(os.getpid()) - self.own)
        self.share = round(max(0.0, foreign / (wall * os.cpu_count())), 3) if wall > 0 else 0.0

    def figures(self):
        return {"others_share": self.share, "load": round(max(self.load), 2)}
