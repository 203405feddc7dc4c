"""A bad network between each worker and each of its servers, by a proxy on loopback: slow, reset, refused, silent, in
pieces, half open. Publishers go on publishing; one connection after another, each in every way. The short form differs
in how long each lasts alone."""
import random
import time

import pytest
from harness.process import eventually
from harness.settings import LONG

from chaos.fleet_under_load import KINDS, Fleet, say

SPELL = 12 if LONG else 0.3  # seconds; 48 of them
READY = 30  # seconds after the last fault, which leaves half-open connections behind
PATHS = {"nats": KINDS, "postgres": ("catalogue", "relay", "dead-letters"), "qdrant": ("qdrant",)}


def addresses(kind, proxies, db):
    """The environment that leads a worker through its proxies."""
    env = {"ECHORA_NATS_URL": f"nats://127.0.0.1:{proxies[kind, 'nats'].port}"}
    if (kind, "postgres") in proxies:
        role = db.url(f"echora_{kind.replace('-', '')}").partition("@")[0]
        env["ECHORA_PG_URL"] = f"{role}@127.0.0.1:{proxies[kind, 'postgres'].port}/{db.name}"
    if (kind, "qdrant") in proxies:
        env["ECHORA_QDRANT_URL"] = proxies[kind, "qdrant"].url
    return env


def slow(link, seconds):
    link.latency = 0.1
    time.sleep(seconds)


def resets(link, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        link.cut()
        time.sleep(min(seconds / 2, 1))


def refused(link, seconds):
    link.refuse()
    link.cut()
    time.sleep(seconds)
    link.accept()


def silent(link, seconds):
    """Connections stay open and no byte moves."""
    link.stall()
    time.sleep(seconds)


def in_pieces(link, seconds):
    """A few bytes at a time, and connections that end in the middle of something, in either direction."""
    link.pieces = 11
    link.cut_after(4000, seed=seconds)
    link.cut()
    time.sleep(seconds)


def half_open(link, seconds):
    """What is sent next arrives, and this connection never says anything again, whatever becomes of the others."""
    link.plan("half-open")
    time.sleep(seconds)


WAYS = (half_open, slow, resets, refused, silent, in_pieces)


@pytest.fixture
def network(db, streams, qdrant, proxy, spawn, folder, echora_for):
    """The fleet, and the proxies by worker and server."""
    servers = {"nats": streams, "postgres": db.server, "qdrant": qdrant}
    proxies = {(kind, place): proxy(servers[place]) for place, kinds in PATHS.items() for kind in kinds}
    env = {kind: addresses(kind, proxies, db) for kind in KINDS}
    made = []

    def start(**more):
        seed = random.SystemRandom().randrange(1 << 30)
        print(f"seed {seed}")
        made.append(Fleet(db, streams, qdrant, spawn, folder, echora_for, seed, env=env, **more))
        return made[-1], proxies
    yield start
    for one in made:
        one.close()


def bad_network(fleet, proxies, capsys):
    fleet.warm()
    calm = 0, fleet.meter.now()
    lines = []
    for (kind, place), link in proxies.items():
        for way in WAYS:
            way(link, SPELL)
            link.heal()
            if way is half_open:
                eventually(fleet.workers[kind].is_ready, READY, f"{kind} is ready after {place} fell silent")
        healed = time.monotonic()
        eventually(fleet.workers[kind].is_ready, READY, f"{kind} is ready after what {place} did")
        lines.append(f"{kind} to {place}: ready {time.monotonic() - healed:.1f} s after the last fault")
    events, bad = fleet.ends(calm)
    say(capsys, f"{len(proxies)} connections in {len(WAYS)} ways; {events} events, {bad} bad", *lines, *fleet.figures(calm))


@pytest.mark.chaos(fault="connection cut: latency, resets, refusal, silence, partial writes, half-open connections",
                   place="catalogue, relay, qdrant-sync", checks="oracle, dead letters, memory, descriptors")
@pytest.mark.long
def test_bad_network(network, capsys):
    bad_network(*network(), capsys)


@pytest.mark.chaos(fault="guard taken away", place="any worker", checks="the scenario turns red")
def test_trouble_that_counts_is_seen(network, capsys):
    """Without the guard that an outage is nobody's fault, the first connection's cuts make dead letters."""
    fleet, proxies = network(faults="outage-counts", ECHORA_GIVE_UP_AT="1")
    with pytest.raises(AssertionError, match="dead letters instead of"):
        bad_network(fleet, {("catalogue", "postgres"): proxies["catalogue", "postgres"]}, capsys)


@pytest.mark.chaos(fault="guard taken away", place="any worker", checks="the scenario turns red")
@pytest.mark.long  # waits out the bound
def test_silent_connection_that_is_kept_is_seen(network, capsys):
    fleet, proxies = network(faults="silent-connection-kept")
    with pytest.raises(AssertionError, match="catalogue is ready after nats fell silent"):
        bad_network(fleet, {("catalogue", "nats"): proxies["catalogue", "nats"]}, capsys)


def library_hangs(spawn, faults=""):
    """What nats.c did once after a half-open connection, made certain: a call that never comes back, on the thread that
    looks after all dependencies. The process ends by itself, so that a supervisor can start another one."""
    relay = spawn("relay", env={"PLANTED_FAULTS": "library-hangs" + faults}, wait=False)
    eventually(lambda: not relay.alive(), 90, "the process ends")
    assert relay.child.returncode == 7
    relay.wait_log("a client library hangs")


@pytest.mark.chaos(fault="silent: a client library hangs", place="any worker", checks="the process ends with code 7")
@pytest.mark.long  # waits for a minute
def test_library_hangs(streams, db, spawn):
    library_hangs(spawn)


@pytest.mark.chaos(fault="guard taken away", place="any worker", checks="the scenario turns red")
@pytest.mark.long
def test_hang_that_is_endured_is_seen(streams, db, spawn):
    with pytest.raises(AssertionError, match="the process ends"):
        library_hangs(spawn, ",hang-endured")
