"""What outages, storms and the soak have in common: a publisher at a rate, how far the chain is, and what its processes
take meanwhile."""
import base64
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from harness.catalogue import DURABLES
from harness.history import INDEX_DURABLES
from harness.process import eventually
from harness.settings import ROOT

CHAIN = {"ANIME_EVENTS": tuple(DURABLES.values()), "ANIME_SYNC": INDEX_DURABLES}


class Load:
    """test/chaos/load.py as a child; publishes as `operator`, who may delete as well."""

    def __init__(self, nats, folder, seed, anime=40):
        self.folder = Path(folder)
        self.log = open(self.folder / "load.log", "w", encoding="utf-8")
        self.child = subprocess.Popen(
            [sys.executable, ROOT / "test/chaos/load.py", nats.url, "operator", nats.secret_files["operator"], folder,
             str(seed), str(anime)], stdin=subprocess.PIPE, stdout=self.log, stderr=self.log, text=True)

    def order(self, *words):
        self.child.stdin.write(" ".join(map(str, words)) + "\n")
        self.child.stdin.flush()

    def sent(self):
        """{"due", "stored", "took"}"""
        assert self.child.poll() in (None, 0), (self.folder / "load.log").read_text()
        note = self.folder / "sent"
        return json.loads(note.read_text()) if note.exists() else {"due": 0, "stored": 0, "took": 0}

    def stop(self, timeout=120):
        """Everything that was due is stored when this returns."""
        self.order("stop")
        eventually(lambda: self.child.poll() is not None, timeout, "all published")
        assert self.child.returncode == 0, (self.folder / "load.log").read_text()

    def kill(self):
        self.child.kill()
        self.child.wait()
        self.log.close()

    def inputs(self):
        """What Oracle.check takes: ([(subject, payload, headers)], [(payload, code)])."""
        inputs, dead = [], []
        with open(self.folder / "inputs", encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                payload = base64.b64decode(row["payload"])
                inputs.append((row["subject"], payload, row["headers"]))
                if "code" in row:
                    dead.append((payload, row["code"]))
        return inputs, dead


class Progress:
    """How much the chain has done; asked over a connection of its own."""

    def __init__(self, bus, db):
        self.bus, self.db = bus, db

    def left(self, stream):
        found = [self.bus.consumer(stream, d) for d in CHAIN[stream]]
        return sum(i.num_pending + i.num_ack_pending for i in found)

    def done(self, stream):
        """Messages that their consumers have settled."""
        return self.bus.stream(stream).state.messages - self.left(stream)

    def unrelayed(self):
        return (self.db.one("SELECT count(*) FROM catalog.outbox WHERE stream = 'ANIME_SYNC'")
                - self.bus.stream("ANIME_SYNC").state.messages)

    def at_rest(self):
        return (self.bus.settled("ANIME_EVENTS", *CHAIN["ANIME_EVENTS"]) and self.unrelayed() == 0
                and self.bus.settled("ANIME_SYNC", *CHAIN["ANIME_SYNC"]))

    def rest(self, timeout=120):
        eventually(lambda: attempt(self.at_rest), timeout, "everything published is indexed")


def attempt(act, otherwise=None):
    """What it returns; `otherwise` while a server is away."""
    try:
        return act()
    except Exception:
        return otherwise


def usage(pid):
    """(resident KiB, open file descriptors) of a process, None when it is not there."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:"))
        return resident, len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, StopIteration):
        return None


class Meter:
    """Looks at processes every `interval` seconds, in a thread. samples: {name: [(seconds, KiB, descriptors)]}."""

    def __init__(self, processes, interval=0.25):
        self.processes, self.interval, self.began = processes, interval, time.monotonic()
        self.samples = {name: [] for name in processes}
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def now(self):
        return time.monotonic() - self.began

    def look(self):
        for name, process in self.processes.items():
            if process.alive() and (found := usage(process.pid)):
                self.samples[name].append((self.now(), *found))

    def run(self):
        while not self.over.wait(self.interval):
            self.look()

    def stop(self):
        self.over.set()
        self.thread.join()

    def between(self, name, begin, end):
        return [s for s in self.samples[name] if begin <= s[0] <= end]


MEMORY, SPARE_KIB, DESCRIPTORS = 1.25, 8 << 10, 4


def growth(name, before, after):
    """Lines about what a process takes more of than it did: samples of two spans, the middle one of each counts.
    Bounds: a quarter and 8 MiB of resident memory, 4 descriptors."""
    assert before and after, f"{name}: no samples"
    was, now = ([sorted(s[i] for s in span)[len(span) // 2] for i in (1, 2)] for span in (before, after))
    if now[0] > was[0] * MEMORY + SPARE_KIB:
        yield f"{name}: memory grew from {was[0]} to {now[0]} KiB"
    if now[1] > was[1] + DESCRIPTORS:
        yield f"{name}: descriptors grew from {was[1]} to {now[1]}"
