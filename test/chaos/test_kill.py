"""kill -9 of everything, at random moments and at named points, while events flow. Behind it the oracle looks at
PostgreSQL, ANIME_SYNC, ANIME_DLQ and Qdrant: as if nobody had died."""
import random
import signal

import pytest
from harness.catalogue import DURABLES
from harness.process import eventually, steady
from harness.settings import BUILD, LONG

from chaos.chain import AHEAD, POINTS, SYNC_DURABLES, Chain, Killer

ROUNDS, KILLS = (10, 52) if LONG else (1, 32)


@pytest.fixture
def chain(db, streams, qdrant, spawn, folder):
    started = []

    def start(seed, **settings):
        started.append(Chain(db, streams, qdrant, spawn, folder, seed, **settings))
        return started[-1]
    yield start
    for one in started:
        one.publisher.kill()


def say(capsys, text):
    with capsys.disabled():
        print(f"\n{text}", flush=True)


@pytest.mark.chaos(fault="kill -9: everything, at random moments and named points",
                   place="catalogue, relay, qdrant-sync, postgres, nats, qdrant",
                   checks="oracle")
@pytest.mark.parametrize("turn", range(ROUNDS))
def test_kill(chain, capsys, turn):
    """The oracle is asked once per round: in the short form after 32 kills, in the long one after each 52."""
    seed = random.SystemRandom().randrange(1 << 32)
    say(capsys, f"seed {seed}")
    one = chain(seed)
    killer = Killer(one, seed)
    killer.run(KILLS)
    events = one.check()
    say(capsys, f"{killer}; {events} events")
    assert killer.total() >= KILLS and all(killer.counted.values())


@pytest.mark.chaos(fault="guard taken away: acknowledged after the commit", place="catalogue",
                   checks="the scenario turns red")
def test_kill_sees_what_is_acknowledged_too_early(chain):
    """The same with one guard taken away: what was in hand at a death is lost, and the oracle says so."""
    one = chain(1, PLANTED_FAULTS="ack-before-handle", PLANTED_KILL="before-commit:3")
    eventually(lambda: not one.workers["catalogue"].alive(), 20, "death")
    with pytest.raises(AssertionError) as seen:
        one.check()
    assert "not within" not in str(seen.value), seen.value


@pytest.mark.chaos(fault="away: at the start", place="nats", checks="the worker waits and becomes ready")
def test_started_while_nats_is_away(streams, db, qdrant, spawn):
    """Nothing has been heard of the server yet, not even whether it takes headers: no reason to end."""
    streams.server.kill()
    workers = [spawn(kind, wait=False) for kind in POINTS]
    for worker in workers:
        worker.wait_log("dependency does not answer")
    steady(lambda: all(worker.alive() for worker in workers), 3, "all wait for it")
    streams.server.start()
    for worker in workers:
        worker.wait_ready()


@pytest.mark.chaos(fault="kill -9: between dead letter and end of the event", place="catalogue",
                   checks="one dead letter")
def test_killed_between_dead_letter_and_term(chain):
    """The dead letter is stored, its event is not terminated: it comes again, and there is one dead letter."""
    one = chain(1, events=1)
    one.rest()
    worker = one.workers["catalogue"]
    worker.kill()
    worker.env["PLANTED_KILL"] = "before-term"
    worker.start()
    one.bus.publish("anime.enriched", b"\xff is no event")
    eventually(lambda: not worker.alive(), 10, "death")
    assert one.bus.stream("ANIME_DLQ").state.messages == 1
    one.rest()
    assert one.bus.stream("ANIME_DLQ").state.messages == 1
    assert worker.alive() and worker.metric("echora_dlq_records_total", consumer="catalog-enriched") == 1


@pytest.mark.chaos(fault="stands still: beyond the ack wait, then goes on", place="catalogue, qdrant-sync",
                   checks="oracle")
@pytest.mark.parametrize("kind,stream,durables", [("catalogue", "ANIME_EVENTS", DURABLES.values()),
                                                  ("qdrant", "ANIME_SYNC", SYNC_DURABLES)])
def test_stopped_beyond_its_ack_wait(chain, db, capsys, kind, stream, durables):
    """A worker stands still with events in hand until another has handled them, and is woken: what it does then is
    old news."""
    seed = random.SystemRandom().randrange(1 << 32)
    one = chain(seed)
    second = one.spawn(kind, env=one.env)
    stops = 0

    def in_hand():
        return sum(one.bus.consumer(stream, d).num_ack_pending for d in durables)

    def end_idle_transactions():
        """What a stopped writer has locked is free when PostgreSQL ends its transaction (three statement timeouts).
        Here that is sooner."""
        db.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
              "AND state = 'idle in transaction' AND state_change < now() - interval '1 s'")
    for turn in range(20 if LONG else 2):
        sleeper = (one.workers[kind], second)[turn % 2]
        # More and more of them: a few may be handled between two looks.
        eventually(lambda: one.allow(one.sent() + AHEAD) or in_hand(), 20, "events in hand")
        sleeper.pause()
        stops += in_hand() > 0
        eventually(lambda: one.sent() == one.limit, 20)
        eventually(lambda: end_idle_transactions() or one.bus.settled(stream, *durables), 60, "handled by the other")
        sleeper.resume()
    say(capsys, f"seed {seed}: {kind} stopped {stops} times with events in hand; {one.check()} events")
    assert stops


@pytest.mark.chaos(fault="kill -9: in a migration", place="cli", checks="the next run goes on, schema as ever")
@pytest.mark.parametrize("point", ["inside-migration", "after-migration"])
def test_migration_is_killed(pg_server, echora_for, point):
    """A migration that died is as if it had not begun, or is done: the next run goes on from there."""
    whole = pg_server.database()
    shape = ("SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns "
             "WHERE table_schema IN ('catalog', 'ops') ORDER BY 1, 2, 3")
    n = whole.one("SELECT count(*) FROM ops.migration")
    for nth in range(1, n + 1):
        db = pg_server.database(migrated=False)
        tool = echora_for(database=db, role="echora_owner")
        died = tool("migrate", ok=False, env={"PLANTED_KILL": f"{point}:{nth}"})
        assert died.code == -signal.SIGKILL, died
        done = db.one("SELECT count(*) FROM ops.migration")
        assert done == (nth if point == "after-migration" else nth - 1)
        assert tool("migrate", ok=False).code == 0 and tool("migrate", "--check", ok=False).code == 0
        assert db.all(shape) == whole.all(shape)
        db.drop()
    whole.drop()


@pytest.mark.chaos(fault="kill -9: between commit and reply of a request", place="catalogue",
                   checks="asked again it is answered, written once")
def test_killed_before_it_replies(chain):
    """A deletion that was committed and never answered: asked again, it is answered and nothing is written twice."""
    one = chain(1, events=AHEAD)
    one.rest()
    ident = one.db.one("SELECT id::text FROM catalog.anime ORDER BY id LIMIT 1")
    one.workers["qdrant"].kill()  # it asks, too, and would meet the point first
    worker = one.workers["catalogue"]
    worker.kill()
    worker.env["PLANTED_KILL"] = "before-reply"
    worker.start()
    body = b'{"animeId": "%s", "asOf": "2025-01-01T00:00:00Z"}' % ident.encode()
    json_form = {"Content-Type": "application/json"}
    with pytest.raises(Exception, match="(?i)timeout|responders"):
        one.bus.request("catalog.anime.delete", body, timeout=3, headers=json_form)
    assert worker.wait() == -signal.SIGKILL
    state = ("SELECT deleted_at IS NOT NULL, revision, (SELECT count(*) FROM catalog.outbox) "
             "FROM catalog.anime WHERE id = %s")
    before = one.db.all(state, ident)
    assert before[0][0]
    del worker.env["PLANTED_KILL"]
    worker.start()
    reply = one.bus.request("catalog.anime.delete", body, headers=json_form)
    assert "Nats-Service-Error-Code" not in (reply.headers or {}), reply.headers
    assert one.db.all(state, ident) == before


@pytest.mark.chaos(fault="none: the ordinary build", place="any worker",
                   checks="no planted fault and no kill point in it")
def test_ordinary_build_holds_no_fault_code():
    """What is installed knows neither planted faults nor kill points: no symbol, no text."""
    ordinary = BUILD.parent / "build"
    for name in ("workers/catalogue/echora-catalogue", "outbox/echora-relay", "workers/qdrant/echora-qdrant-sync",
                 "workers/dead_letters/echora-dead-letters",
                 "ops/echora"):
        assert b"PLANTED_" in (BUILD / name).read_bytes(), f"{name}: not the build of faults"
        program = (ordinary / name).read_bytes()
        for trace in (b"PLANTED_", b"fault_planted", b"fault_kill_point", b"killed at "):
            assert trace not in program, f"{name} holds {trace}"
