"""The runtime's guards against loss: each scenario holds, and turns red when its guard is taken away."""
import time

import pytest
from harness.process import eventually
from harness.scripted import Script


def watched(condition, seconds):
    """Whether it becomes true in time; the scenarios then assert on what they see."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def unstorable_dead_letter(nats, folder, spawn, fault=""):
    """The dead-letter stream is missing: the event must stay with its consumer until the letter is stored."""
    script = Script(nats, folder)
    script.bus.wait(script.bus.js.delete_stream("ANIME_DLQ"))
    process = spawn("scripted", env=dict(script.env, PLANTED_FAULTS=fault))
    script.publish("reject")
    watched(lambda: not process.is_ready(), 3)
    assert script.info().num_ack_pending == 1, "the event is nobody's any more"
    script.bus.add_stream("ANIME_DLQ", ["anime.dlq.>"], allow_direct=True)
    eventually(script.dead_letters, 12, "dead letter")
    script.wait_settled()


def trouble_of_one_event(nats, folder, spawn, fault=""):
    """Its dependency serves all others: given back, redelivered, a dead letter; others are handled between its tries."""
    script = Script(nats, folder)
    process = spawn("scripted", env=dict(script.env, PLANTED_FAULTS=fault),
                    argv=["--give-up-at=2", "--fetch-size=1"])
    (bad,) = script.publish("unavailable")

    def tries(delivery):
        return [i for i, line in enumerate(script.lines()) if (line.seq, line.deliveries) == (bad, delivery)]

    def ended():
        script.publish("done")
        return script.dead_letters() or len(tries(1)) > 7 or len(tries(2)) > 4
    eventually(ended, 60, "an end")
    first, second = tries(1), tries(2)
    assert len(first) <= 7, "held together with a dependency that serves"
    between = [line for line in script.lines()[second[0]:second[-1]] if line.source == "done"]
    assert len(between) > 3, "one fetched before it came, then nothing is handled beside it"
    assert [d.headers["Echora-Dlq-Class"] for d in script.dead_letters()] == ["retry-exhausted"]
    script.wait_settled()
    assert process.is_ready()


@pytest.mark.chaos(fault="stream missing or full: of dead letters; and an event that always fails", place="any worker",
                   checks="one dead letter, others are handled")
@pytest.mark.parametrize("scenario", [unstorable_dead_letter, trouble_of_one_event])
def test_nothing_is_lost(scenario, nats, folder, spawn):
    scenario(nats, folder, spawn)


@pytest.mark.chaos(fault="guard taken away: each against loss", place="any worker", checks="the scenario turns red")
@pytest.mark.parametrize("scenario, fault", [
    (unstorable_dead_letter, "dead-letter-unconfirmed"),
    (trouble_of_one_event, "own-trouble-held"),
    (trouble_of_one_event, "held-event-blocks"),
])
def test_without_its_guard_it_is_red(scenario, fault, nats, folder, spawn):
    with pytest.raises(AssertionError):
        scenario(nats, folder, spawn, fault)
