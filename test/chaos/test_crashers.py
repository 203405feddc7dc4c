"""Who is blamed for a crash: without its guard, each scenario of test/integration/test_crashers.py turns red."""
import pytest
from harness.scripted import CHARACTER, UPDATED, Script
from harness.settings import LONG
from integration.test_crashers import (Crew, bystander, crasher, crowd, full, held_when_it_died, letters, missing,
                                       only_what_began_is_marked, stream_made_anew)

RECORD_FROM = 3  # delivery


def retried(nats, folder, spawn, fault=""):
    """Eight tries that end with the verdict retry (without their pauses) are eight ends: given up at the ninth."""
    script = Script(nats, folder)
    (bad,) = script.publish("retry")
    Crew(script, spawn, f"pace-ignored,{fault}", argv=["--give-up-at=9"]).settle()
    assert letters(script) == {(UPDATED, bad): "retry-exhausted"}
    assert [line.deliveries for line in script.lines()] == list(range(1, 10))
    assert script.marks() == {(UPDATED, bad): 0}


def tries_left(nats, folder, spawn, fault="", before=RECORD_FROM + 10):
    """What stood beside crashers ten times has its own tries yet: give-up-at 5, two spent unrecorded."""
    script = Script(nats, folder)
    (good,) = script.publish(f"retry-before:{before}")
    script.spend(10)
    (bad,) = script.publish("retry", durable=CHARACTER)
    script.spend(10, CHARACTER)
    Crew(script, spawn, f"pace-ignored,{fault}").settle()
    assert letters(script) == {(CHARACTER, bad): "retry-exhausted"}
    assert [line.deliveries for line in script.lines(seq=good)] == [11, 12, 13]
    assert [line.deliveries for line in script.lines(seq=bad)] == [11, 12, 13]


@pytest.mark.chaos(fault="stream missing or full: the record of crashes", place="nats",
                   checks="one dead letter after five tries")
@pytest.mark.parametrize("trouble", [missing, full])
def test_without_a_record_each_delivery_is_a_try(trouble, nats, folder, spawn):
    script = Script(nats, folder)
    trouble(script)
    (bad,) = script.publish("retry")
    Crew(script, spawn, "pace-ignored").settle()
    assert letters(script) == {(UPDATED, bad): "retry-exhausted"}
    assert [line.deliveries for line in script.lines()] == [1, 2, 3, 4, 5]


@pytest.mark.chaos(fault="event that fails: again and again", place="any worker",
                   checks="class of the dead letter, number of tries, marks")
@pytest.mark.parametrize("scenario", [retried, tries_left])
def test_retries_are_tries_and_no_crashes(scenario, nats, folder, spawn):
    scenario(nats, folder, spawn)


@pytest.mark.chaos(fault="event that kills: many at once, beside good ones", place="any worker",
                   checks="crashers are dead letters of class crash, their neighbours are done")
def test_a_large_crowd(nats, folder, spawn):
    crowd(nats, folder, spawn, crashers=20 if LONG else 3, replicas=3, lanes=2, others=2000 if LONG else 200)


@pytest.mark.chaos(fault="guard taken away: who is blamed for a crash", place="any worker",
                   checks="the scenario turns red")
@pytest.mark.parametrize("scenario, fault", [
    (crasher, "crash-mark-unwritten"),
    (crasher, "crash-evidence-ignored"),
    (retried, "crash-mark-unended"),
    (held_when_it_died, "crash-mark-unended"),
    (bystander, "crash-by-deliveries"),
    (tries_left, "deliveries-are-tries"),
    (only_what_began_is_marked, "crash-mark-early"),
    (stream_made_anew, "crash-stream-unchecked"),
])
def test_without_its_guard_it_is_red(scenario, fault, nats, folder, spawn):
    with pytest.raises(AssertionError):
        scenario(nats, folder, spawn, fault)
