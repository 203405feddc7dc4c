"""The Command API without what keeps its document true, and with words of calls in its log: the scenarios of
test/e2e/test_command_api_promises.py and test_command_api_marks.py, for some calls alone, turn red."""
import pytest

from harness import leaks, schemathesis_run
from harness.api_world import World, start

CALL = "check-tag"
# Fault → what schemathesis says of it.
BROKEN = {"status-unpromised": "418 is promised nowhere", "header-left-out": "promised and missing",
          "members-unchecked": "Schema-violating request accepted|API accepted schema-violating request"}
# What tells → the place of a word that is told.
TELLING = {"call-told": "query: ", "token-told": "token: ", "error log of nginx": "query: "}


@pytest.fixture
def world(api, streams, spawn):
    one = World(api, streams, None, spawn, workers=())
    yield one
    one.close()


def promises_are_kept(world, folder):
    start(world.api)
    run = schemathesis_run.run(world.api, folder, world.api.token(), only=[CALL], max_examples=10,
                               phases="coverage,fuzzing")
    schemathesis_run.demand(run)
    assert run.statuses[CALL][200] and run.statuses[CALL][422]


def nothing_is_told(world, folders, change=str):
    start(world.api, change)
    leaks.scenario(world, folders, only=("finalize-run", "run-entries"))


@pytest.mark.chaos(fault="none", place="command-api", checks="schemathesis, all checks; words of calls in no log")
def test_guards(world, folder, session_folder):
    promises_are_kept(world, folder)
    world.api.stop()
    world.api.worker.stop()
    nothing_is_told(world, (folder, session_folder))


@pytest.mark.chaos(fault="guard taken away: statuses, headers, members as the document has them", place="command-api",
                   checks="schemathesis turns red")
@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_promise_is_seen(world, folder, fault):
    world.api.env["PLANTED_FAULTS"] = fault
    with pytest.raises(AssertionError, match=BROKEN[fault]):
        promises_are_kept(world, folder)


@pytest.mark.chaos(fault="logs that tell query, body and key; the token; nginx's request lines", place="command-api",
                   checks="the search for words of calls turns red")
@pytest.mark.parametrize("fault", TELLING)
def test_a_told_word_is_found(world, folder, session_folder, fault):
    change = str
    if fault == "error log of nginx":
        def change(text):
            return text.replace("error_log stderr crit", "error_log stderr info")
    else:
        world.api.env["PLANTED_FAULTS"] = fault
    with pytest.raises(AssertionError, match=f"told: .*{TELLING[fault]}"):
        nothing_is_told(world, (folder, session_folder), change)
