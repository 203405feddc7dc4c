"""Who is blamed for a crash: without its guard, each scenario of test/integration/test_crashers.py turns red."""
import pytest
from harness.scripted import UPDATED, Script
from integration.test_crashers import (Crew, bystander, crasher, held_when_it_died, letters, only_what_began_is_marked,
                                       stream_made_anew)


def retried(nats, folder, spawn, fault=""):
    """Eight tries that end with the verdict retry (without their pauses) are eight ends: given up at the ninth."""
    script = Script(nats, folder)
    (bad,) = script.publish("retry")
    Crew(script, spawn, f"pace-ignored,{fault}", argv=["--give-up-at=9"]).settle()
    assert letters(script) == {(UPDATED, bad): "retry-exhausted"}
    assert [line.deliveries for line in script.lines()] == list(range(1, 10))
    assert script.marks() == {(UPDATED, bad): 0}


def test_retries_are_no_crashes(nats, folder, spawn):
    retried(nats, folder, spawn)


@pytest.mark.parametrize("scenario, fault", [
    (crasher, "crash-mark-unwritten"),
    (crasher, "crash-evidence-ignored"),
    (retried, "crash-mark-unended"),
    (held_when_it_died, "crash-mark-unended"),
    (bystander, "crash-by-deliveries"),
    (only_what_began_is_marked, "crash-mark-early"),
    (stream_made_anew, "crash-stream-unchecked"),
])
def test_without_its_guard_it_is_red(scenario, fault, nats, folder, spawn):
    with pytest.raises(AssertionError):
        scenario(nats, folder, spawn, fault)
