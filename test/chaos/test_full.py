"""Full: disks, streams, connections, descriptors, memory. Nothing is lost, nothing becomes a dead letter, people can
see it, and what waited drains when there is room again.

Each scenario is a resource that is made full under a whole fleet, and what shows it. At the end the oracle computes
from the events alone what every store must hold. Real full disks are small tmpfs mounts; where the system allows no
mount, not even in a user namespace of its own, the server's own limit or the server's own error stands in for them.
"""
import contextlib
import ctypes
import json
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from harness import servers, wire
from harness.catalogue import anime, new_id
from harness.history import Recorder
from harness.process import eventually, steady
from harness.settings import LONG
from oracle import Oracle

from ops.fleet import system

EVENTS = 300 if LONG else 60
WORDS = random.Random(1)


def text():
    """6 kB that no compression makes small: every row needs a page of its own."""
    return "%x" % WORDS.getrandbits(4 * 6000)


class Patient(Recorder):
    """Keeps what was refused and publishes it again, under its own id: what a careful publisher does."""

    def __init__(self, streams, db):
        super().__init__(streams, db)
        self.refused = []

    def publish(self, subject, message, **headers):
        try:
            return super().publish(subject, message, **headers)
        except Exception as e:
            self.refused.append((subject, message.SerializeToString(), {"Nats-Msg-Id": f"m{self.sent}", **headers}, e))

    def repeat(self):
        while self.refused:
            subject, payload, headers, _ = self.refused[0]
            self.bus.publish(subject, payload, headers=headers)
            self.refused.pop(0)
        return True


class Fleet:
    """The whole chain and its publisher. `watch()` starts again what has ended, as a
    supervisor does."""

    def __init__(self, spawn, streams, db, qdrant, faults="", **more):
        self.db, self.streams = db, streams
        env = {"PLANTED_FAULTS": faults, **more}
        self.recorder = Patient(streams, db)
        self.bus = self.recorder.bus
        self.workers = {kind: spawn(kind, nats=streams, database=db, qdrant=qdrant, env=env)
                        for kind in ("catalogue", "relay", "qdrant")}
        self.oracle = Oracle(db, self.bus, qdrant)
        self.at, self.known = 0, []

    def event(self):
        """A new anime, then an update of a known one, in turns; a new time each, so that every event counts."""
        self.at += 1
        if self.at % 2 or not self.known:
            self.known.append(new_id())
            self.recorder.enriched(self.known[-1], anime(title=f"T{self.at}", synopsis=text()), at=self.at)
        else:
            changed = wire.classes()["Anime"](year=1950 + self.at % 70, background=text())
            self.recorder.updated(self.known[self.at % len(self.known)], ["year", "background"], changed, at=self.at)

    def events(self, n=EVENTS):
        for _ in range(n):
            self.event()

    def watch(self):
        for worker in self.workers.values():
            if not worker.alive():
                worker.start(wait=False)

    def ready(self):
        self.watch()
        return all(worker.is_ready() for worker in self.workers.values())

    def letters(self):
        return self.recorder.dead_letters()

    def shows(self, kind, reason):
        """Not ready, and the reason is in readyz."""
        self.watch()
        status, self.seen = self.workers[kind].http("/readyz")
        return status == 503 and re.search(reason, self.seen)

    def status(self, echora_for, reason):
        """What `echora status` says: the reason stands beside a worker that is not ready."""
        names = ",".join(f"{kind}=127.0.0.1:{worker.port}" for kind, worker in self.workers.items())
        result = echora_for(nats=self.streams, database=self.db)("status", "--json", "--workers", names, ok=False)
        self.seen = json.loads(result.out)["workers"]
        return any(re.search(reason, w["reason"]) and not w["ready"] for w in self.seen)

    def drained(self, letters=()):
        def rest():
            self.watch()
            self.recorder.repeat()
            self.recorder.rest(timeout=1)
            return True
        eventually(lambda: attempt(rest), 120, "at rest")
        eventually(self.ready, 30, "ready again")
        assert self.letters() == [("catalog-enriched", code) for _, code in letters]
        self.oracle.check(self.recorder.inputs, letters)


def attempt(act):
    """What it returns, False when it fails now."""
    try:
        return act()
    except Exception:
        return False


def survives(fleet, full, kind, reason, echora_for, events=EVENTS):
    """The scenario: at rest, full, seen, no dead letter; room again, drained, right."""
    fleet.events(10)
    fleet.recorder.rest()
    with full:
        fleet.events(events)
        try:
            eventually(lambda: fleet.letters() or fleet.shows(kind, reason), 20, f"readyz of {kind}: {reason}")
            eventually(lambda: fleet.letters() or fleet.status(echora_for, reason), 20, f"echora status: {reason}")
        except AssertionError as e:
            raise AssertionError(f"{e}; last seen: {fleet.seen}") from None
        assert fleet.letters() == []
    fleet.drained()


@pytest.fixture
def fleet(spawn, streams, db, qdrant):
    return Fleet(spawn, streams, db, qdrant)


# PostgreSQL


@contextlib.contextmanager
def refusing(db, table, state, message, when=""):
    """Inserts into the table fail as PostgreSQL itself does when that resource is full."""
    db.do(f"CREATE FUNCTION public.full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
          f"RAISE EXCEPTION '{message}' USING ERRCODE = '{state}'; END $$")
    db.do(f"CREATE TRIGGER is_full BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW {when} "
          f"EXECUTE FUNCTION public.full()")
    yield
    db.do(f"DROP TRIGGER is_full ON {table}")


ERRORS = {"disk": ("53100", "could not extend file: No space left on device"),
          "memory": ("53200", "out of memory"), "limit": ("53400", "configuration limit exceeded")}


@pytest.mark.chaos(fault="full: PostgreSQL's disk, memory or a limit, by its error", place="postgres",
                   checks="oracle, dead letters, readyz and status say so, backlog drained")
@pytest.mark.parametrize("what", ERRORS if LONG else ["disk"])
def test_postgres_says_that_it_is_full(fleet, db, echora_for, what):
    state, message = ERRORS[what]
    survives(fleet, refusing(db, "catalog.anime", state, message), "catalogue", message, echora_for)


@pytest.mark.chaos(fault="guard taken away: a full database is no fault of the event", place="catalogue",
                   checks="the scenario turns red")
@pytest.mark.parametrize("fault", ["stuck-unseen", "pg-full-rejects"])
def test_without_the_guard_it_is_unseen_or_lost(spawn, streams, db, qdrant, echora_for, fault):
    fleet = Fleet(spawn, streams, db, qdrant, fault)
    with pytest.raises(AssertionError):
        # Anime alone: a fleet whose writer loses events does not come to rest, which is no evidence.
        fleet.events(4)
        fleet.recorder.rest()
        with refusing(db, "catalog.anime", *ERRORS["disk"]):
            fleet.events(4)
            catalogue = fleet.workers["catalogue"]
            catalogue.wait_log("pg-53100")
            steady(lambda: not fleet.letters(), 3, "no dead letter")
            # A breaker that opens and closes is ready every now and then; one that knows is not.
            steady(lambda: fleet.shows("catalogue", "No space left"), 3, "seen")


def partly_full(spawn, streams, db, qdrant, faults=""):
    """One event finds no room while others do, for longer than any patience: it is not to blame."""
    fleet = Fleet(spawn, streams, db, qdrant, faults, ECHORA_GIVE_UP_AT="1")
    with refusing(db, "catalog.anime", *ERRORS["disk"], when="WHEN (NEW.title = 'T1')"):
        fleet.events(2)
        fleet.workers["catalogue"].wait_log("pg-53100")
        end = time.monotonic() + 14
        while time.monotonic() < end and not fleet.letters():
            fleet.recorder.enriched(new_id(), anime(title="Other"), at=1000 + fleet.at)
            time.sleep(0.2)
        assert fleet.letters() == []
    fleet.drained()


@pytest.mark.chaos(fault="full: for one event, while others find room", place="postgres", checks="oracle, dead letters")
@pytest.mark.long
def test_an_event_that_finds_no_room_is_not_to_blame(spawn, streams, db, qdrant):
    partly_full(spawn, streams, db, qdrant)


@pytest.mark.chaos(fault="guard taken away: an event that finds no room is not to blame", place="catalogue",
                   checks="the scenario turns red")
def test_without_the_guard_it_is_blamed(spawn, streams, db, qdrant):
    with pytest.raises(AssertionError, match="pg-53100"):
        partly_full(spawn, streams, db, qdrant, "full-is-own-trouble")


@pytest.mark.chaos(fault="full: connections of PostgreSQL", place="postgres, catalogue, relay",
                   checks="oracle, dead letters, readyz and status say so, backlog drained")
@pytest.mark.parametrize("kind, role", [("catalogue", "echora_catalogue"), ("relay", "echora_relay")])
def test_no_connection_left(fleet, db, echora_for, kind, role):
    """The role may connect no more, and what it had is gone."""
    @contextlib.contextmanager
    def no_connection():
        db.do(f"ALTER ROLE {role} CONNECTION LIMIT 0")
        try:
            db.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", role)
            yield
        finally:
            db.do(f"ALTER ROLE {role} CONNECTION LIMIT -1")
    survives(fleet, no_connection(), kind, "too many connections", echora_for)


# Disks


def mounted(folder, megabytes):
    """A small file system of its own at `folder`, or False when the system allows no mount."""
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"size={megabytes}m,mode=0777".encode()
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, options) == 0:
        return True
    return False


def unmount(folder):
    ctypes.CDLL(None).umount2(str(folder).encode(), 2)  # detach: whatever still stands in it


def fill(folder):
    """One file that takes all the room there is."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            with contextlib.suppress(OSError):
                while True:
                    f.write(b"\0" * size)
    assert shutil.disk_usage(folder).free == 0
    return filler


@pytest.mark.chaos(fault="full: PostgreSQL's disk", place="postgres",
                   checks="oracle, dead letters, readyz and status say so, backlog drained")
def test_postgres_disk(fleet, db, echora_for, folder):
    """The disk of the anime table: a tablespace on a file system without room."""
    disk = folder / "disk"
    if not mounted(disk, 16):
        survives(fleet, refusing(db, "catalog.anime", *ERRORS["disk"]), "catalogue", "No space left", echora_for)
        return
    space = f"small_{db.name}"
    try:
        place = disk / "pg"
        place.mkdir()
        system.own(place)
        db.do(f"CREATE TABLESPACE {space} LOCATION '{place}'")
        db.do(f"ALTER TABLE catalog.anime SET TABLESPACE {space}")

        @contextlib.contextmanager
        def no_room():
            filler = fill(disk)
            yield
            filler.unlink()
        survives(fleet, no_room(), "catalogue", "could not .*No space left", echora_for)
    finally:
        for worker in fleet.workers.values():
            worker.stop()
        db.do("ALTER TABLE catalog.anime SET TABLESPACE pg_default")
        db.do(f"DROP TABLESPACE {space}")
        unmount(disk)


# NATS


@contextlib.contextmanager
def limited(bus, stream, room=None, **limits):
    """The stream takes no more than that, or no more than `room` messages beyond what it has, for a while. (A limit
    below what it has makes an older server delete, and it counts bytes wrongly now and then.)"""
    info = bus.stream(stream)
    config = info.config
    if room is not None:
        limits["max_msgs"] = info.state.messages + room
    before = {name: getattr(config, name) for name in limits}
    for name, value in limits.items():
        setattr(config, name, value)
    bus.wait(bus.js.update_stream(config))
    yield
    for name, value in before.items():
        setattr(config, name, value)
    bus.wait(bus.js.update_stream(config))


@pytest.mark.chaos(fault="stream missing or full: ANIME_SYNC", place="relay, nats",
                   checks="oracle, dead letters, readyz and status say so, backlog drained")
def test_sync_stream_full(fleet, echora_for):
    full = limited(fleet.bus, "ANIME_SYNC", room=3)
    survives(fleet, full, "relay", "ANIME_SYNC: nats-10077: maximum messages exceeded", echora_for)


@pytest.mark.chaos(fault="stream missing or full: ANIME_EVENTS", place="nats",
                   checks="oracle, publishers are told, status names the stream")
def test_event_stream_full(fleet, db, echora_for):
    """Publishers are told; what is in the stream goes on; status shows which stream it is."""
    fleet.events(10)
    fleet.recorder.rest()
    with limited(fleet.bus, "ANIME_EVENTS", room=5):
        fleet.events(10)
        assert fleet.recorder.refused and {e.err_code for *_, e in fleet.recorder.refused} == {10077}
        status = json.loads(echora_for(nats=fleet.streams, database=db)("status", "--json", ok=False).out)
        assert {s["name"] for s in status["streams"] if s["full_percent"] > 60} == {"ANIME_EVENTS"}
        fleet.recorder.settle()
        assert fleet.ready()
    fleet.drained()


@pytest.mark.chaos(fault="stream missing or full: ANIME_DLQ", place="nats, catalogue",
                   checks="events stay with their consumer, one dead letter each")
def test_dead_letter_stream_full(fleet, echora_for):
    """Events whose dead letter finds no room stay with their consumer, for longer than ten retries take."""
    bad = [b"\xff\xff" + bytes([n]) for n in range(4)]
    with limited(fleet.bus, "ANIME_DLQ", max_msgs=1):
        for payload in bad:
            fleet.recorder.publish("anime.enriched", payload)
        fleet.events(10)
        reason = "ANIME_DLQ.*maximum messages exceeded"
        eventually(lambda: fleet.shows("catalogue", reason), 20, "seen in readyz")
        eventually(lambda: fleet.status(echora_for, reason), 20, "seen in status")
        assert len(fleet.letters()) == 1
    fleet.drained([(payload, "decode") for payload in bad])


@pytest.fixture
def own_nats(folder, echora_for):
    """A nats-server of this test alone, with the product's streams; `small`: its disk is one of 48 MiB."""
    from harness.fixtures import TestNats, nats_version
    store = folder / "own-store"
    small = mounted(store, 48)
    server = servers.Nats(folder, nats_version(), name="own")
    server.small = small
    server.start()
    handle = TestNats(server)
    echora_for(nats=handle)("streams", "apply", user="admin")
    yield handle
    handle.close()
    server.stop()
    if small:
        unmount(store)


@contextlib.contextmanager
def reconfigured(server, line):
    """One more line in the server's configuration, read by SIGHUP, for a while."""
    conf = server.folder / f"{server.name}.conf"
    before = conf.read_text()
    conf.write_text(before + line + "\n")
    server.send_signal(signal.SIGHUP)
    server.wait_log("Reloaded")
    yield
    conf.write_text(before)
    server.send_signal(signal.SIGHUP)


@pytest.mark.chaos(fault="full: connections of nats-server", place="nats",
                   checks="oracle, dead letters, not ready meanwhile")
def test_no_nats_connection_left(own_nats, spawn, db, qdrant, echora_for):
    """A writer that has to connect again while the server takes no more."""
    fleet = Fleet(spawn, own_nats, db, qdrant)
    fleet.events(10)
    fleet.recorder.rest()
    writer, server = fleet.workers["catalogue"], own_nats.server
    writer.kill()
    eventually(lambda: not any("catalogue" in (c.get("name") or "") for c in server.get("/connz")["connections"]), 5,
               "its connections are gone")
    with reconfigured(server, f"max_connections: {server.get('/varz')['connections']}"):
        fleet.events(10)
        fleet.watch()
        steady(lambda: fleet.watch() or not writer.is_ready(), 2, "not ready")
    fleet.drained()


@pytest.mark.chaos(fault="full: JetStream's disk", place="nats", checks="oracle, dead letters, publishers are told")
def test_jetstream_disk(own_nats, spawn, db, qdrant, echora_for):
    """No room for JetStream: the server says so, or gives JetStream up until it is started again."""
    fleet = Fleet(spawn, own_nats, db, qdrant)
    fleet.events(10)
    fleet.recorder.rest()
    if not own_nats.small:
        with limited(fleet.bus, "ANIME_EVENTS", room=0):
            fleet.events(3)
        fleet.drained()
        return
    filler = fill(own_nats.store)
    for _ in range(40):
        fleet.event()
        if fleet.recorder.refused:
            break
    assert fleet.recorder.refused
    filler.unlink()
    own_nats.server.restart(hard=True)  # 2.9.10 that found no room does not heed SIGTERM any more
    fleet.drained()


# The process itself


@contextlib.contextmanager
def limit_of(process, name, value):
    """The soft limit of a running process, set by its own account: root may not, without a capability."""
    def run(*argv):
        return subprocess.run(["prlimit", f"--pid={process.pid}", *argv], check=True, capture_output=True, text=True,
                              **system.drop()).stdout
    before = run(f"--{name}", "--output=SOFT", "--noheadings", "--raw").strip()
    run(f"--{name}={value}:")
    yield
    if process.alive():
        run(f"--{name}={before}:")


@pytest.mark.chaos(fault="full: file descriptors", place="catalogue, relay",
                   checks="oracle, dead letters, status, backlog drained")
@pytest.mark.parametrize("kind", ["catalogue", "relay"] if LONG else ["catalogue"])
def test_no_descriptor_left_in_a_worker(fleet, db, echora_for, kind):
    """It loses its connections to PostgreSQL and can open no socket: it can't even tell, which status says."""
    fleet.events(10)
    fleet.recorder.rest()
    worker = fleet.workers[kind]
    with limit_of(worker, "nofile", 3):
        db.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename ~ '^echora_'")
        worker.wait_log("Too many open files")  # before an event meets the lost connection and is the one to tell
        fleet.events(20)
        eventually(lambda: fleet.watch() or not worker.is_ready(), 10, "not ready")
    fleet.drained()


@pytest.mark.chaos(fault="full: file descriptors", place="nats", checks="oracle, dead letters, backlog drained")
@pytest.mark.long
def test_no_descriptor_left_in_nats(own_nats, spawn, db, qdrant):
    fleet = Fleet(spawn, own_nats, db, qdrant)
    fleet.events(10)
    fleet.recorder.rest()
    with limit_of(own_nats.server, "nofile", 3):
        writer = fleet.workers["catalogue"]
        writer.kill()
        fleet.events(3)
        eventually(lambda: fleet.watch() or not writer.is_ready(), 10)
        steady(lambda: fleet.watch() or not writer.is_ready(), 2, "not ready")
    fleet.drained()


@pytest.mark.chaos(fault="no memory: the process may grow no more", place="catalogue",
                   checks="oracle, dead letters, events kept until it may")
@pytest.mark.long
def test_no_memory_left_in_a_writer(fleet):
    """Large events in a process that may grow no more: refused one by one, kept, handled when it may."""
    fleet.events(10)
    fleet.recorder.rest()
    writer = fleet.workers["catalogue"]
    with limit_of(writer, "data", writer.memory("VmData") + (1 << 20)):
        for n in range(3):
            fleet.at += 1
            fleet.recorder.enriched(new_id(), anime(synopsis="y" * (3 << 20)), at=fleet.at)
        fleet.events(10)
        eventually(lambda: not writer.alive() or re.search("no-memory|out of memory", writer.text()), 20, "seen")
        steady(lambda: fleet.watch() or not fleet.letters(), 1, "no dead letter")
    fleet.drained()
