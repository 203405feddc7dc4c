"""Each guard of the catalogue writer, taken away, is missed: the suites that pass without fault fail with it."""
import pytest
from chaos.test_histories import Arena, run_histories
from chaos.test_races import existence, hot, meet
from harness import wire
from harness.catalogue import DURABLES, anime, event, new_id
from harness.history import Recorder
from harness.process import eventually
from oracle import Oracle

SEED = 7


@pytest.fixture
def arena(pg_server, nats, qdrant, spawn, echora_for):
    return Arena(pg_server, nats, qdrant, spawn, echora_for)


def histories(arena, env):
    run_histories(arena, SEED, 20, env=env, seconds=0)


def meeting(arena, env):
    meet(arena, 40, env)


def revivals(arena, env):
    existence(arena, 10, 20, SEED, env)


def few_hot(arena, env):
    hot(arena, entities=3, updates=1000, writers=4, seed=SEED, env=env)


def waiting(arena, env):
    """Updates that come just while their anime is made by another writer."""
    actions = []
    for _ in range(400):
        ident = new_id()
        actions += [("anime.updated", event("AnimeUpdatedEvent", 5, anime_id=ident, changed_fields=["year"],
                                            anime=wire.classes()["Anime"](year=2001))),
                    ("anime.enriched", event("AnimeEnrichedEvent", 1, anime_id=ident, anime=anime()))]
    recorder, db = arena.run([actions], writers=4, env=env)
    arena.check(recorder, db)
    db.drop()


def flips(arena, env):
    """The members of an anime that is no longer safe for work, in the index."""
    ident, c, e = new_id(), wire.classes()["Character"], wire.classes()["Episode"]
    first = event("AnimeEnrichedEvent", 0, anime_id=ident, anime=anime(), characters=[c(name="A")],
                  episodes=[e(episode_number=1, title="One")])
    second = event("AnimeUpdatedEvent", 1, anime_id=ident, changed_fields=["nsfw"],
                   anime=wire.classes()["Anime"](nsfw=True))
    recorder, db = arena.run([[("anime.enriched", first)], [("anime.updated", second)]], 1, index=True, env=env)
    arena.check(recorder, db, index=True)
    db.drop()


def two_kinds(arena, env):
    """An anime's id as the id of a character elsewhere: the index has one point for an id."""
    ident, c = new_id(), wire.classes()["Character"]
    first = event("AnimeEnrichedEvent", 0, anime_id=ident, anime=anime())
    second = event("AnimeEnrichedEvent", 1, anime_id=new_id(), anime=anime(), characters=[c(id=ident, name="A")])
    _, db = arena.run([[("anime.enriched", first)], [("anime.enriched", second)]], 1, env=env)
    owners = db.one("SELECT (SELECT count(*) FROM catalog.anime WHERE id = %s) "
                    "+ (SELECT count(*) FROM catalog.character WHERE id = %s)", ident, ident)
    assert owners == 1
    db.drop()


SCENARIOS = {
    histories: ("inbox-dropped", "clock-reversed", "pending-forgotten", "outbox-omitted", "alias-forgotten"),
    meeting: ("loser-not-redone",),
    revivals: ("existence-clock-ignored",),
    few_hot: ("rows-unlocked",),
    waiting: ("creation-unlocked",),
    flips: ("members-not-followed",),
    two_kinds: ("kinds-unchecked",),
}


@pytest.mark.chaos(fault="wrong answer or order: the scenarios of the guards", place="catalogue",
                   checks="rows equal what the oracle computes")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_with_every_guard(arena, scenario):
    scenario(arena, None)


@pytest.mark.chaos(fault="guard taken away: each of the writer's", place="catalogue", checks="the scenario turns red")
@pytest.mark.parametrize("scenario, fault", [(s, f) for s, faults in SCENARIOS.items() for f in faults],
                         ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_a_guard_taken_away_is_missed(arena, scenario, fault):
    with pytest.raises(AssertionError, match="difference|differ|assert"):
        for _ in range(6):  # where writers must meet, they may miss each other once
            scenario(arena, {"PLANTED_FAULTS": fault})


def killed(streams, db, spawn, faults):
    """Writers die one after the other before their commit; the last one takes over."""
    spawn("relay")
    recorder = Recorder(streams, db)
    for number in range(3):
        victim = spawn("catalogue", env={"PLANTED_KILL": "before-commit", "PLANTED_FAULTS": faults})
        recorder.enriched(new_id(), anime(), at=number)
        eventually(lambda gone=victim: not gone.alive(), 20, "the writer died")
    spawn("catalogue")
    recorder.rest(index=False)
    Oracle(db, recorder.bus).check(recorder.inputs)


@pytest.fixture
def short_waits(streams):
    """What a dead process held comes again after a second, not after thirty."""
    bus = streams.bus("admin")
    config = bus.consumer("ANIME_EVENTS", DURABLES["anime.enriched"]).config
    config.ack_wait = 1
    bus.wait(bus.js.add_consumer("ANIME_EVENTS", config))


@pytest.mark.chaos(fault="kill -9: before the commit, writer after writer", place="catalogue", checks="oracle")
def test_a_killed_writer_loses_nothing(streams, db, spawn, short_waits):
    killed(streams, db, spawn, "")


@pytest.mark.chaos(fault="guard taken away: order of commit, outbox and acknowledgement", place="catalogue",
                   checks="the scenario turns red")
@pytest.mark.parametrize("fault", ["ack-before-handle", "outbox-apart"])
def test_a_killed_writer_without_its_guard_loses_something(streams, db, spawn, short_waits, fault):
    with pytest.raises(AssertionError, match="differences"):
        killed(streams, db, spawn, fault)
