"""Answers on the bus that come late, twice, in any order or not at all; test/drivers/bus_driver.c asks."""
import json
import subprocess

import pytest
from bench.kit.stage import OpenNats
from harness.bus import Bus
from harness.fixtures import nats_version
from harness.process import eventually
from harness.settings import BUILD, PATIENCE

pytestmark = pytest.mark.one_nats

TIMEOUT_MS = 400 * PATIENCE
GOOD = json.dumps({"stream": "TEST", "seq": 7}).encode()
FULL = json.dumps({"error": {"code": 503, "err_code": 10077, "description": "maximum messages exceeded"}}).encode()
RING = 1024


@pytest.fixture
def bus(folder):
    server = OpenNats(folder, nats_version())
    server.start()
    one = Bus(server)
    one.server = server
    yield one
    one.close()
    server.kill()


class Driver:
    def __init__(self, bus):
        self.process = subprocess.Popen([str(BUILD / "test/drivers/bus_driver"), bus.server.url, str(TIMEOUT_MS)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("\n")

    def failures(self, *words):
        """{note: code} of what failed since the last time."""
        word, *rest = self(*words).split()
        assert word == "ok", rest
        return dict(pair.split("=") for pair in rest)


@pytest.fixture
def driver(bus):
    one = Driver(bus)
    yield one
    one.process.stdin.close()
    assert one.process.wait(20 * PATIENCE) == 0


def test_a_question_gets_its_own_answer(bus, driver):
    asked = bus.subscribe("test.question")
    assert driver("ask", "test.question", "lost") == "failed nats-timeout"
    late = bus.take(asked)
    for text in ("one", "two"):
        driver.process.stdin.write(f"ask test.question {text}\n")
        driver.process.stdin.flush()
        message = bus.take(asked)
        bus.send(late.reply, b"late")
        bus.send(message.reply, text.encode())
        bus.send(message.reply, b"again")  # waits in the box when the next one is asked
        assert driver.process.stdout.readline() == f"ok {text}\n"
        late = message
    # A box whose question was answered is used again.
    assert message.reply.rpartition(".")[2] == "2"


def test_nobody_there_is_told_at_once_and_then_somebody_is(bus, driver):
    assert driver("ask", "test.question", "x") == "failed nats-no-responders"
    asked = bus.subscribe("test.question")
    driver.process.stdin.write("ask test.question x\n")
    driver.process.stdin.flush()
    bus.send(bus.take(asked).reply, b"here")
    assert driver.process.stdout.readline() == "ok here\n"


def test_words_of_the_broker_in_any_order(bus, driver):
    taken = bus.subscribe("test.record")
    notes = "abcdef"
    for note in notes:
        assert driver.failures("publish", "test.record", "x", note) == {}
    replies = {note: bus.take(taken).reply for note in notes}
    for note in "ecb":
        bus.send(replies[note], FULL)
    bus.send(replies["e"], GOOD)  # too late: it has failed
    bus.send(replies["f"], GOOD)
    bus.send(replies["a"], b"junk")
    told = {}
    eventually(lambda: told.update(driver.failures("look")) or len(told) == 5, 10, "all failures")
    assert told == {**dict.fromkeys("bce", "nats-10077"), "a": "nats-no-stream", "d": "nats-timeout"}
    assert driver.failures("free") == {}


def test_each_without_a_stream_is_told_once(driver):
    told = {}
    for note in "abc":
        told.update(driver.failures("publish", "test.record", "x", note))
    told.update(driver.failures("free"))
    assert told == dict.fromkeys("abc", "nats-no-responders")


def test_silence_holds_up_what_comes_beyond(bus, driver):
    bus.subscribe("test.record")
    told = {}
    for i in range(RING):
        told.update(driver.failures("publish", "test.record", "x", f"n{i}"))
    if not told:  # the first are not over yet: for one more there is room when the oldest is
        told.update(driver.failures("publish", "test.record", "x", "last"))
        assert told["n0"] == "nats-timeout"
    told.update(driver.failures("free"))
    assert {f"n{i}": "nats-timeout" for i in range(RING)}.items() <= told.items()


def test_the_connection_is_lost(bus, driver):
    taken = bus.subscribe("test.record")
    assert driver.failures("publish", "test.record", "x", "a") == {}
    bus.take(taken)
    bus.server.kill()
    told = {}

    def published(note):
        """Each answer tells what has failed since the last one."""
        word, *rest = driver("publish", "test.record", "x", note).split()
        if word == "ok":
            told.update(pair.split("=") for pair in rest)
        return word == "ok"
    eventually(lambda: not published("b"), 10, "no connection")
    bus.server.start()
    eventually(lambda: published("c"), 20, "a connection")
    told.update(driver.failures("free"))
    assert told["a"] == "nats-timeout"
