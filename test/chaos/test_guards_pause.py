"""A worker that does not keep to a pause is noticed."""
import pytest
from harness.pausing import run_paused


def test_paused(streams, db, spawn, echora):
    run_paused(streams, db, spawn, echora)


def test_a_pause_that_is_ignored_is_seen(streams, db, spawn, echora):
    with pytest.raises(AssertionError, match="handed events"):
        run_paused(streams, db, spawn, echora, env={"PLANTED_FAULTS": "pause-ignored"}, wait="4s")
