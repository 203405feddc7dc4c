"""An event is a crasher when its own handling began and never ended, several times; whoever was in hand beside it is not.

Each scenario takes the faults to plant; test/chaos/test_crashers.py shows that without its guard it turns red.
"""
import time

import pytest
from harness import servers
from harness.fixtures import TestNats, nats_version
from harness.process import eventually, steady
from harness.scripted import CHARACTER, STREAM, UPDATED, Script
from harness.settings import PATIENCE

from ops.nats import users

DURABLES = (UPDATED, CHARACTER)
BEGUN = 5  # handlings of a crasher: two without a record, three on record
LAST_RESORT = 50


class Crew:
    """Scripted workers that are started again whenever they have died."""

    def __init__(self, script, spawn, fault="", n=1, argv=(), at_death=lambda: None):
        self.script, self.at_death = script, at_death
        self.processes = [spawn("scripted", env=dict(script.env, PLANTED_FAULTS=fault), argv=argv, wait=False)
                          for _ in range(n)]

    def watch(self, condition, timeout, what):
        def look():
            for process in self.processes:
                if not process.alive():
                    self.at_death()
                    process.start(wait=False)
            return condition()
        eventually(look, timeout, what)

    def settle(self, timeout=60):
        self.watch(lambda: all(self.script.settled(d) for d in DURABLES), timeout, "all settled")


def letters(script):
    """{(consumer, sequence): class}"""
    found = [d.headers for d in script.dead_letters()]
    assert len(found) == len({h["Nats-Msg-Id"] for h in found})
    return {(h["Echora-Dlq-Consumer"], int(h["Echora-Dlq-Seq"])): h["Echora-Dlq-Class"] for h in found}


def crasher(nats, folder, spawn, fault="", death="crash"):
    """Five handlings end in a crash, the sixth is not begun."""
    script = Script(nats, folder, ack_wait=0.4)
    (bad,) = script.publish(death)
    crew = Crew(script, spawn, fault)
    crew.watch(lambda: script.dead_letters() or len(script.lines()) > BEGUN, 60, "an end")
    assert len(script.lines()) == BEGUN, "handled again"
    crew.settle()
    (letter,) = script.dead_letters()
    assert letters(script) == {(UPDATED, bad): "crash"}
    assert (letter.headers["Echora-Dlq-Code"], letter.headers["Echora-Dlq-Deliveries"]) == ("crash", str(BEGUN + 1))
    assert "began 3 times" in letter.headers["Echora-Dlq-Reason"]


def crowd(nats, folder, spawn, fault="", crashers=1, replicas=1, lanes=3, others=40):
    """Crashers among others, in two consumers and all lanes: all others are done with."""
    script = Script(nats, folder, ack_wait=1.0)
    bad, good = set(), set()
    for i in range(crashers + others):
        is_bad, durable = i % 3 == 1 and len(bad) < crashers, DURABLES[i % 2]
        (sequence,) = script.publish("crash" if is_bad else "done", durable=durable)
        (bad if is_bad else good).add((durable, sequence))
    crew = Crew(script, spawn, fault, n=replicas, argv=[f"--lanes={lanes}"])
    crew.settle(timeout=90 + 10 * crashers)
    assert letters(script) == {event: "crash" for event in bad}
    assert {(line.durable, line.seq) for line in script.lines(source="done")} == good


def bystander(nats, folder, spawn, fault="", deliveries=LAST_RESORT + 10):
    """In hand beside crashers so often that no count of deliveries could tell it from them."""
    script = Script(nats, folder, ack_wait=0.4)
    (seen,) = script.publish("done")
    script.spend(deliveries)
    Crew(script, spawn, fault).settle()
    assert letters(script) == {}
    assert [(line.seq, line.deliveries) for line in script.lines()] == [(seen, deliveries + 1)]


def held_when_it_died(nats, folder, spawn, fault=""):
    """Handled, held for its dependency, and in hand when the process is killed: its handling had ended."""
    script = Script(nats, folder, ack_wait=0.4)
    script.publish("unavailable")
    script.spend(2)
    crew = Crew(script, spawn, fault)
    for delivery in range(3, 8):
        crew.watch(lambda d=delivery: script.dead_letters() or script.lines(deliveries=d), 20, f"delivery {delivery}")
        assert letters(script) == {}
        (process,) = crew.processes
        eventually(lambda: process.metric("echora_messages_processed_total", consumer=UPDATED, outcome="held") > 0, 10,
                   "held")
        process.kill()


def only_what_began_is_marked(nats, folder, spawn, fault=""):
    """Two lanes with events that wait for their turn: the record is what the handlers saw."""
    script = Script(nats, folder, ack_wait=2.0)
    for durable in DURABLES:
        script.publish("slow:60000", "slow:60000", durable=durable)
        script.spend(2, durable, events=2, delay=3 * PATIENCE)
    # Pulls of both lanes are open when they come.
    crew = Crew(script, spawn, fault, argv=["--lanes=2", "--drain-timeout=1s"])

    def seen():
        count = {}
        for line in script.lines():
            count[line.durable, line.seq] = count.get((line.durable, line.seq), 0) + 1
        return count
    for kills in range(1, 4):
        crew.watch(lambda n=kills: len(script.lines()) == n, 20, f"handling {kills}")
        steady(lambda: script.marks() == seen(), 0.5, "only what began is on record")
        crew.processes[0].kill()
    assert script.marks() == seen() and letters(script) == {}


def stream_made_anew(nats, folder, spawn, fault=""):
    """The same sequence in another stream is another event."""
    script = Script(nats, folder, ack_wait=0.4)
    (bad,) = script.publish("crash")
    crew = Crew(script, spawn, fault)
    crew.settle()
    assert script.marks() == {(UPDATED, bad): 3}
    crew.processes[0].stop()
    script.bus.wait(script.bus.js.delete_stream(STREAM))
    deleted = int(time.time())
    eventually(lambda: int(time.time()) > deleted, 5, "another second")
    script.add_events(0.4)
    assert script.publish("done") == [bad]
    script.spend(2)
    crew.settle()
    assert len(script.dead_letters()) == 1 and script.lines(source="done", deliveries=3)


@pytest.mark.parametrize("death", ["crash", "segfault", "kill"])
def test_a_crasher_by_any_death(death, nats, folder, spawn):
    crasher(nats, folder, spawn, death=death)


def test_a_crasher_that_the_server_dies_with(nats, folder, spawn):
    """nats-server is down at each of its deaths: what it has on record is there after, and it is one letter."""
    script = Script(nats, folder, ack_wait=0.4)
    bad, good = *script.publish("crash"), *script.publish("done")
    deaths = []

    def restart():
        deaths.append(nats.server.kill())
        nats.server.start()
    Crew(script, spawn, at_death=restart).watch(lambda: script.dead_letters() and script.settled(UPDATED), 90, "settled")
    assert len(deaths) >= BEGUN  # the server may have forgotten a delivery that it had counted
    assert letters(script) == {(UPDATED, bad): "crash"}
    assert {line.seq for line in script.lines(source="done")} == {good}


@pytest.mark.parametrize("crashers", [1, 2, 5])
def test_a_crowd_outlives_its_crashers(crashers, nats, folder, spawn):
    crowd(nats, folder, spawn, crashers=crashers)


def test_a_crowd_of_two_replicas(nats, folder, spawn):
    crowd(nats, folder, spawn, crashers=2, replicas=2, lanes=2)


@pytest.mark.parametrize("scenario", [bystander, held_when_it_died, only_what_began_is_marked, stream_made_anew])
def test_no_other_is_blamed(scenario, nats, folder, spawn):
    scenario(nats, folder, spawn)


def test_an_outage_of_the_broker_is_no_crash(nats, folder, spawn):
    """It dies while an event with a record is tried again and again: held until it is back, then tried on."""
    script = Script(nats, folder, ack_wait=1.0)
    script.publish("unavailable")
    script.spend(2)
    process = spawn("scripted", env=script.env)
    for _ in range(2):
        script.wait_lines(len(script.lines()) + 2, timeout=30)
        nats.server.kill()
        eventually(lambda: process.metric("echora_breaker_open", dependency="nats") == 1, 5, "the outage is seen")
        nats.server.start()
    script.wait_lines(len(script.lines()) + 2, timeout=30)
    assert process.alive() and letters(script) == {}


def missing(script):
    script.bus.wait(script.bus.js.delete_stream("WORKER_SUSPECTS"))


def full(script):
    missing(script)
    script.add_suspects(max_bytes=100, discard="new")


@pytest.mark.parametrize("trouble", [missing, full])
def test_without_evidence_the_last_resort_is_left(trouble, nats, folder, spawn):
    """Served on; what crashes is found late, at delivery 50."""
    script = Script(nats, folder, ack_wait=0.4)
    trouble(script)
    (bad,) = script.publish("crash")
    script.spend(LAST_RESORT - 2)
    (other,) = script.publish("done", durable=CHARACTER)
    script.spend(2, CHARACTER)
    crew = Crew(script, spawn)
    crew.settle()
    assert [line.deliveries for line in script.lines(source="crash")] == [LAST_RESORT - 1]
    assert {line.seq for line in script.lines(source="done")} == {other}
    assert letters(script) == {(UPDATED, bad): "crash"}
    assert "can't be used" in script.dead_letters()[0].headers["Echora-Dlq-Reason"]
    assert "run `echora streams apply`" in crew.processes[0].text()


def test_the_missing_stream_is_named_at_the_start(nats, folder, spawn):
    script = Script(nats, folder)
    missing(script)
    process = spawn("scripted", env=script.env)
    process.wait_log("run `echora streams apply`", 5)
    script.publish("done")
    script.wait_settled()
    assert process.is_ready()


def test_rights_that_are_missing_hold_up_nobody(monkeypatch, folder, spawn):
    """A NATS configuration of before the stream: the first question waits for its timeout, the next events do not."""
    permissions = users.permissions

    def without(user):
        publish, subscribe = permissions(user)
        return [s for s in publish if "suspect." not in s], subscribe
    monkeypatch.setattr(users, "permissions", without)
    server = servers.Nats(folder, which=nats_version(), name="nats-before")
    server.start()
    nats = TestNats(server)
    try:
        script = Script(nats, folder)
        script.publish(*["done"] * 12)
        script.spend(2, events=12)
        process = spawn("scripted", env=script.env, nats=server)
        script.wait_settled(timeout=20)
        assert letters(script) == {} and process.text().count("run `echora streams apply`") == 1
        process.stop()
    finally:
        nats.close()
        server.stop()


def test_the_stream_that_is_there_is_not_complained_about(nats, folder, spawn):
    script = Script(nats, folder)
    process = spawn("scripted", env=script.env)
    script.publish("done")
    script.wait_settled()
    assert "WORKER_SUSPECTS" not in process.text() and script.marks() == {}


def test_first_deliveries_leave_no_record(nats, folder, spawn):
    script = Script(nats, folder, ack_wait=0.4)
    script.publish("done", "retry-once", "done")
    script.publish("done", durable=CHARACTER)
    script.spend(1, CHARACTER)
    Crew(script, spawn).settle()
    assert script.marks() == {}
