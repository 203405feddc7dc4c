"""A publisher gone wild: every event of it bad, 10,000 a second. Good events beside it are handled, others' without
delay; each bad one is one dead letter; neither memory nor disk is without bound. ops/runbooks/poison-storm.md"""
import random
import statistics
import subprocess
import threading
import time

import pytest
from harness.catalogue import Catalogue, anime, new_id
from harness.process import eventually
from harness.settings import LONG, PATIENCE, TOOLS

from chaos.fleet_under_load import Fleet, say
from chaos.rig import attempt
from chaos.storm import Storm

RATE, SECONDS = 10_000, 20 if LONG else 2
LATE = 5 * PATIENCE  # seconds; an event of another consumer is handled sooner
POISONED, SUBJECT = "catalog-enriched", "anime.enriched"


class Beside(threading.Thread):
    """Good events of another consumer, one after the other; how long each took until it was committed."""

    def __init__(self, streams, db):
        super().__init__(daemon=True)
        self.catalogue, self.db = Catalogue(streams, db), db
        self.known = new_id()
        self.inputs, self.took, self.over = [], [], threading.Event()

    def prepare(self):
        self.publish("enriched", self.known, anime())
        self.catalogue.settle()

    def publish(self, verb, *what, **more):
        message = getattr(self.catalogue, verb)(*what, **more)
        subject = {"enriched": SUBJECT, "updated": "anime.updated"}[verb]
        self.inputs.append((subject, message.SerializeToString(), {}))
        return message

    def one(self):
        message = self.publish("updated", self.known, ["year"], anime(year=1990 + len(self.took) % 30), at=len(self.took))
        began = time.monotonic()
        found = "SELECT 1 FROM catalog.inbox WHERE event_id = %s"
        while not attempt(lambda: self.db.one(found, message.event_id)) and time.monotonic() < began + LATE:
            time.sleep(0.02)
        self.took.append(time.monotonic() - began)

    def run(self):
        while not self.over.wait(0.05):
            self.one()

    def stop(self):
        self.over.set()
        self.join()
        late = [f"{s:.1f}" for s in self.took if s >= LATE]
        assert not late, f"events of another consumer were not handled within {LATE} s: {len(late)} of {len(self.took)}"
        return f"others' events: {len(self.took)}, median {statistics.median(self.took):.3f} s, worst {max(self.took):.3f} s"


@pytest.fixture
def beside(streams, db):
    one = Beside(streams, db)
    yield one
    one.over.set()
    if one.is_alive():
        one.join()


@pytest.fixture
def rig(db, streams, qdrant, spawn, folder, echora_for):
    made = []

    def start(faults=""):
        seed = random.SystemRandom().randrange(1 << 30)
        print(f"seed {seed}")
        made.append(Fleet(db, streams, qdrant, spawn, folder, echora_for, seed, faults, ECHORA_LOG_LEVEL="error"))
        return made[-1]
    yield start
    for one in made:
        one.close()


def storm(fleet, streams, beside, capsys):
    fleet.warm()
    calm = 0, fleet.meter.now()
    beside.prepare()
    beside.start()
    bad = Storm(streams, SUBJECT, RATE, SECONDS)
    before, began = fleet.bus.stream("ANIME_DLQ").state.messages, time.monotonic()
    bad.wait()
    wanted = before + len(bad.sent)
    eventually(lambda: fleet.bus.stream("ANIME_DLQ").state.messages >= wanted, 60 + len(bad.sent) / 200, "all are dead letters")
    rate = len(bad.sent) / (time.monotonic() - began)
    line = beside.stop()
    state = fleet.bus.stream("ANIME_DLQ").state
    eventually(lambda: fleet.bus.settled("ANIME_DLQ", "dlq-index"), 60 + len(bad.sent) / 200, "all letters are indexed")
    events, letters = fleet.ends(calm, beside.inputs, [(SUBJECT, p) for p in bad.sent])
    say(capsys, f"{len(bad.sent)} bad events at {RATE}/s; {rate:.0f} dead letters a second, "
        f"{state.bytes / state.messages:.0f} bytes each", line, f"{events} events, {letters} bad", *fleet.figures(calm))


@pytest.mark.chaos(fault="poison storm: 10,000/s", place="catalogue",
                   checks="oracle, dead letters, memory, descriptors, latency of other consumers")
def test_storm(rig, streams, beside, capsys):
    storm(rig(), streams, beside, capsys)


@pytest.mark.chaos(fault="guard taken away", place="catalogue", checks="the scenario turns red")
@pytest.mark.long  # a storm of its own
def test_memory_that_is_not_freed_is_seen(rig, streams, beside, capsys):
    with pytest.raises(AssertionError, match="memory grew"):
        storm(rig("event-not-freed"), streams, beside, capsys)


QUOTA, STORM, OTHER = 500, 3000, b"\xff of another consumer"


def allow(server, per_subject):
    """As the runbook does."""
    subprocess.run([TOOLS / "nats", "--server", server.url, "--user", "admin", "--password", server.passwords["admin"],
                    "--inbox-prefix", "_INBOX_admin", "stream", "edit", "ANIME_DLQ",
                    f"--max-msgs-per-subject={per_subject}", "-f"], check=True, capture_output=True, timeout=60)


def tells_full(fleet):
    text = fleet.workers["catalogue"].http("/readyz")[1]
    return '"dead-letter-stream"' in text and "maximum messages per subject" in text


def full_for_one(fleet, streams, beside, capsys):
    """The stream takes no more dead letters of the poisoned consumer: its events wait, those of others go on, and so
    do others' dead letters. With more room the rest follows."""
    real = fleet.bus.stream("ANIME_DLQ").config.max_msgs_per_subject
    allow(streams, QUOTA)
    beside.prepare()
    bad = Storm(streams, SUBJECT, RATE, STORM / RATE)
    bad.wait()
    eventually(lambda: fleet.progress.left("ANIME_EVENTS") == 0 or tells_full(fleet), 60, "the stream is full")
    assert tells_full(fleet), f"{fleet.bus.stream('ANIME_DLQ').state.messages} letters instead of {STORM}, nothing waits"
    beside.start()
    fleet.bus.publish("anime.updated", OTHER)
    eventually(lambda: fleet.bus.last("ANIME_DLQ", "anime.dlq.catalog-updated"), LATE, "another's dead letter is stored")
    time.sleep(3)
    line = beside.stop()
    state = fleet.bus.stream("ANIME_DLQ").state
    assert state.messages == QUOTA + 1, f"{state.messages} letters, {QUOTA} are allowed"
    allow(streams, real)
    eventually(lambda: fleet.bus.stream("ANIME_DLQ").state.messages == STORM + 1, 60, "the rest follows")
    events, letters = fleet.ends(None, beside.inputs, [*((SUBJECT, p) for p in bad.sent), ("anime.updated", OTHER)])
    say(capsys, line, f"{events} events, {letters} bad")


@pytest.mark.chaos(fault="poison storm: stream full", place="nats", checks="oracle, dead letters, latency of others")
def test_stream_is_full_for_one_consumer(rig, streams, beside, capsys):
    full_for_one(rig(), streams, beside, capsys)


@pytest.mark.chaos(fault="guard taken away", place="catalogue", checks="the scenario turns red")
@pytest.mark.long  # waits for what does not come
def test_letters_that_block_all_are_seen(rig, streams, beside, capsys):
    """Without the guard, who can't store a dead letter fetches nothing for anybody."""
    with pytest.raises(AssertionError, match="another's dead letter|of another consumer were not handled"):
        full_for_one(rig("letters-block-all"), streams, beside, capsys)


@pytest.mark.chaos(fault="guard taken away", place="catalogue", checks="the scenario turns red")
def test_letters_unconfirmed_are_seen(rig, streams, beside, capsys):
    """Without the guard, what the full stream refused is lost."""
    with pytest.raises(AssertionError, match="letters instead of|are allowed"):
        full_for_one(rig("dead-letter-unconfirmed"), streams, beside, capsys)
