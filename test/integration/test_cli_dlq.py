"""echora dlq: the requests of the dead-letter worker for people at a terminal."""
import pytest

from harness.catalogue import Catalogue, anime, event, new_id
from harness.dead_letters import DeadLetters
from harness.process import eventually


@pytest.fixture
def dlq(streams):
    return DeadLetters(streams)


def test_a_night_with_dead_letters(dlq, db, streams, spawn, echora):
    """Look, look closer, plan, replay, look again, throw away."""
    spawn("dead-letters")
    spawn("catalogue")
    catalogue = Catalogue(streams, db)
    anime_id = new_id()
    catalogue.enriched(anime_id, anime())
    for i in range(1, 6):
        good = event("AnimeUpdatedEvent", i, anime_id=anime_id, changed_fields=["year"], anime=anime(year=2000 + i))
        dlq.write(i, code="pg-23503", payload=good.SerializeToString(), reason="a broken constraint", entity=anime_id)
    catalogue.updated("no-uuid", ["year"], anime(year=1999))
    catalogue.settle()
    dlq.indexed()

    status = echora("dlq", "status", user="viewer").out
    assert "6 in ANIME_DLQ: 6 open, 0 parked" in status
    groups = echora("dlq", "list", "--groups", user="viewer").out.splitlines()
    assert len(groups) == 3 and groups[1].split()[0] == "1" and "bad-uuid" in groups[1]
    assert groups[2].split()[0] == "5" and "pg-23503" in groups[2] and "a broken constraint" in groups[2]
    lines = echora("dlq", "list", "--code", "pg-23503", "--limit", "2").out.splitlines()
    assert [x.split()[0] for x in lines[1:3]] == ["5", "4"] and lines[3] == "more: --cursor 4"
    assert len(echora("dlq", "list", "--entity", anime_id, "--from", "2", "--to", "3", "--json").json["letters"]) == 2
    assert echora("dlq", "list", "--class", "crash").out == "no dead letters\n"
    assert "letters" not in echora("dlq", "list", "--code", "pg-23503", "--since", "1h", "--json").json

    shown = echora("dlq", "show", "1", "--json", user="viewer").json
    assert shown["payload"]["animeId"] == anime_id and shown["letter"]["code"] == "pg-23503"
    assert echora("dlq", "show", shown["letter"]["id"], "--json").json == shown

    dry = echora("dlq", "replay", "--code", "pg-23503", "--dry-run").out
    assert "5 letters, planned: 5 waiting" in dry
    plan = dry.splitlines()[-1].rsplit(" ", 1)[1]
    assert dry.splitlines()[-1] == f"run it: echora dlq replay {plan}"
    done = echora("dlq", "replay", plan, "--actor", "maria")
    assert f"{plan} replay of 5 letters, done: 5 done" in done.out
    assert db.one("SELECT year FROM catalog.anime") == 2005
    assert {r.get("actor") for r in dlq.audit(plan) if r["action"] == "run"} == {"maria"}

    again = echora("dlq", "replay", "--all", "--json", ok=False)
    assert again.code == 1 and again.json["failed"] == "1" and again.json["state"] == "done"
    dlq.indexed()
    gone = echora("dlq", "discard", "--all").out
    assert "discard of 1 letters, done: 1 discarded" in gone
    assert "7 in ANIME_DLQ: 0 open, 0 parked, 6 replayed, 1 discarded" in echora("dlq", "status").out
    assert "[discarded]" in echora("dlq", "list", "--state", "all").out


def test_the_folder_of_the_fleet_is_no_state_of_letters(dlq, db, spawn, echora):
    """ECHORA_STATE names where ops/up keeps its things; a shell that has it lists letters all the same."""
    spawn("dead-letters")
    assert "no dead letters" in echora("dlq", "list", env={"ECHORA_STATE": "/somewhere"}).out


def test_a_plan_is_stopped_and_goes_on(dlq, db, spawn, echora):
    spawn("dead-letters")
    for n in range(1, 31):
        dlq.write(n, consumer="nobody")
    dlq.indexed()
    plan = echora("dlq", "replay", "--all", "--rate", "2", "--watch=false", "--json").json["id"]
    assert "stopped because stopped by me" in echora("dlq", "replay", "--stop", plan, "--actor", "me").out
    left = echora("dlq", "replay", plan, "--rate", "1000", "--wait", "1s", ok=False)
    assert left.code == 1 and "30 sent, no outcome yet" in left.out and f"stop: echora dlq replay --stop {plan}" in left.err
    assert len(dlq.replayed()) == 30
    assert plan in echora("dlq", "status", plan).out


@pytest.mark.parametrize("argv", [
    ["replay"], ["discard"], ["replay", "--stop"], ["replay", new_id(), "--code", "x"], ["replay", "--all", "--code", "x"],
    ["list", "--class", "sad"], ["list", "--since", "yesterday"], ["show"]])
def test_usage(echora, argv):
    result = echora("dlq", *argv, ok=False)
    assert result.code == 2 and "echora dlq" in result.err


def test_a_wrong_second_word_is_named(echora):
    wrong = echora("dlq", "lsit", ok=False)
    assert wrong.code == 2 and wrong.err.startswith('echora: no verb "dlq lsit"; there are\n  echora dlq list ')
    assert "no verb" not in echora("dlq", ok=False).err
    assert wrong.err.endswith("Arguments, options and an example of each: echora dlq status --help\n")
    for first in (("--json",), ("--nats-url", "nats://127.0.0.1:1", "--timeout=1s")):  # as good as behind the verb
        assert echora(*first, "dlq", "lsit", ok=False).err == wrong.err
        assert echora(*first, "dlq", "show", ok=False).code == 2
    assert echora("--nats-url", "nats://127.0.0.1:1", "--timeout=1s", "streams", "check", ok=False).code == 3
    assert "usage: echora VERB" in echora("--json", "--help").out
    example = echora("dlq", "list", "--help").out.split("Example:\n")[1].split("\n\n")[0]
    assert example == "  echora dlq list --groups\n  echora dlq list --code bad-uuid --since 24h"


def test_clear_errors(dlq, db, spawn, streams, echora):
    away = echora("dlq", "list", ok=False)
    assert away.code == 3 and ": start echora-dead-letters [nats-no-responders]" in away.err
    spawn("dead-letters")
    for argv, code in ((["show", "77"], "no-letter"), (["replay", new_id()], "no-plan"), (["status", "x"], "bad-uuid")):
        result = echora("dlq", *argv, ok=False)
        assert result.code == 1 and f"[{code}]" in result.err
    refused = echora("dlq", "replay", "--all", user="viewer", ok=False)
    assert refused.code == 1 and "nats-permission" in refused.err


def test_without_postgresql_it_says_so(dlq, db, pg_server, spawn, echora_for, streams):
    echora = echora_for(nats=streams)
    worker = spawn("dead-letters")
    dlq.write(1)
    dlq.indexed()
    pg_server.stop(number=2)
    try:
        worker.wait_unready()
        listed = echora("dlq", "list")
        assert "catalog-updated" in listed.out and "PostgreSQL is away" in listed.err
        assert echora("dlq", "status").out == "1 in ANIME_DLQ\n"
        away = echora("dlq", "replay", "--all", ok=False)
        assert away.code == 3
    finally:
        pg_server.start()
    eventually(worker.is_ready, 20, "ready again")
