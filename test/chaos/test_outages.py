"""A server away for long, or again and again, while publishers go on publishing: nothing lost, no dead letter, no
growth, said since when, and drained at full speed afterwards. The short form differs in how long it lasts alone."""
import random
import re
import time

import pytest
from harness.settings import LONG

from chaos.fleet_under_load import BURST, NEEDS, STAGE, Fleet, say, speed, too_slow
from chaos.rig import growth

AWAY = 600 if LONG else 5
FLAPPING, PERIOD = (600, 20) if LONG else (6, 3)
CHECKS = "oracle, dead letters, memory, descriptors, readyz, status, speed of the drain"


@pytest.fixture
def fleet(db, streams, qdrant, spawn, folder, echora_for):
    made = []

    def start(**more):
        seed = random.SystemRandom().randrange(1 << 30)
        print(f"seed {seed}")
        made.append(Fleet(db, streams, qdrant, spawn, folder, echora_for, seed, **more))
        return made[-1]
    yield start
    for one in made:
        one.close()


def back(fleet, place, before, begin):
    """The server is there again: how the backlog is drained. Returns a line about it."""
    stream = STAGE[place]
    start = time.monotonic()
    if stream == "ANIME_SYNC" or place == "postgres":
        burst = fleet.progress.left(stream)
    else:
        sent = fleet.load.sent()
        burst = sent["due"] - sent["stored"]
    assert burst, "nothing waited"
    after, samples = fleet.drained(stream, begin, burst)
    first = next(t for t, done in samples if done > begin)
    wrong = list(too_slow(burst, before, first, samples[-1][0])) if LONG else []  # seconds tell nothing of speed
    assert not wrong, wrong
    return (f"{place}: {burst} waited; first after {first:.1f} s, all after {time.monotonic() - start:.1f} s, "
            f"{after:.0f}/s ({after / before:.2f} of {before:.0f}/s before)")


def away(fleet, place, seconds, capsys):
    """One server is killed, and started again after so long."""
    stream = STAGE[place]
    before = fleet.warm(stream)
    calm = 0, fleet.meter.now()
    server, began, since = fleet.servers[place], time.monotonic(), time.time()
    server.kill()
    fleet.load.order("more", BURST)
    fleet.says(place, since)
    while (left := began + seconds - time.monotonic()) > 0:
        time.sleep(min(left, 60))
        fleet.says(place, since)
    begin = fleet.progress.done(stream) if place != "nats" else None
    server.start(timeout=60)
    if place == "nats":
        begin = fleet.progress.done(stream)
    line = back(fleet, place, before, begin)
    events, bad = fleet.ends(calm)
    say(capsys, line, f"{events} events, {bad} bad", *fleet.figures(calm))


@pytest.mark.chaos(fault="away: for 10 minutes", place="postgres, nats, qdrant", checks=CHECKS)
@pytest.mark.parametrize("place", ["postgres", "qdrant", pytest.param("nats", marks=pytest.mark.long)])
def test_away(fleet, capsys, place):
    away(fleet(), place, AWAY, capsys)


@pytest.mark.chaos(fault="away: and back every 20 s for 10 minutes", place="postgres, nats, qdrant",
                   checks="oracle, dead letters, memory, descriptors")
@pytest.mark.long
@pytest.mark.parametrize("place", NEEDS)
def test_flapping(fleet, capsys, place):
    one = fleet()
    one.warm()
    calm = 0, one.meter.now()
    end, turns = time.monotonic() + FLAPPING, 0
    while time.monotonic() < end:
        one.servers[place].kill()
        time.sleep(PERIOD / 2)
        one.servers[place].start(timeout=60)
        time.sleep(PERIOD / 2)
        turns += 1
    events, bad = one.ends(calm)
    say(capsys, f"{place} went away {turns} times; {events} events, {bad} bad", *one.figures(calm))


# The same with a guard taken away


@pytest.mark.chaos(fault="guard taken away", place="any worker", checks="the scenario turns red")
@pytest.mark.parametrize("place, fault, match", [
    ("postgres", "outage-counts", "dead letters instead of"),
    *(pytest.param(*more, marks=pytest.mark.long) for more in (
        ("qdrant", "outage-counts", "dead letters instead of"),
        ("postgres", "outage-unseen", "readyz of catalogue"),
        ("postgres", "connection-not-closed", "descriptors grew")))])
def test_without_the_guard_it_is_seen(fleet, capsys, place, fault, match):
    with pytest.raises(AssertionError) as seen:
        away(fleet(faults=fault, ECHORA_GIVE_UP_AT="1"), place, 5, capsys)
    assert re.search(match, str(seen.value)), seen.value


@pytest.mark.chaos(fault="guard taken away", place="any worker", checks="the scenario turns red")
def test_bounds_can_be_missed():
    """What growth and slowness would look like."""
    calm = [(0, 20000, 12)] * 3
    assert not [*growth("w", calm, [(1, 33000, 16)] * 3)]
    assert [*growth("w", calm, [(1, 33500, 17)] * 3)] == ["w: memory grew from 20000 to 33500 KiB",
                                                          "w: descriptors grew from 12 to 17"]
    assert speed([(n / 100, n * 10) for n in range(400)], 0, 3000) == pytest.approx(1000)
    assert not [*too_slow(30000, 1000, 2, 60)]
    assert [*too_slow(30000, 1000, 2, 200)] == ["30000 events took 198.0 s, at 1000 a second before"]
    assert [*too_slow(30000, 1000, 100, 130)] == ["nothing was done for 100.0 s after the return"]
