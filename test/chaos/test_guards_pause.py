"""A worker that does not keep to a pause is noticed."""
import pytest
from harness.pausing import run_paused


@pytest.mark.chaos(fault="pause: by a person, through restarts of worker and server", place="catalogue, nats",
                   checks="nothing of the consumer is handed out, all handled afterwards")
def test_paused(streams, db, spawn, echora):
    run_paused(streams, db, spawn, echora)


@pytest.mark.chaos(fault="guard taken away: a pause is kept", place="catalogue", checks="the scenario turns red")
def test_a_pause_that_is_ignored_is_seen(streams, db, spawn, echora):
    with pytest.raises(AssertionError, match="handed events"):
        run_paused(streams, db, spawn, echora, env={"PLANTED_FAULTS": "pause-ignored"}, wait="4s")
