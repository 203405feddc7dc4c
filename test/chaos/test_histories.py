"""Many generated histories: shuffled, doubled and handled by four writers at once, each ends as the oracle says and
as the same history does in event-time order through one writer. A history that fails is made smaller by itself.
"""
import contextlib
import random
import time

import pytest
from harness.histories import History
from harness.history import Recorder
from harness.process import eventually
from harness.settings import LONG
from oracle import Oracle, Wrong, differences

HISTORIES = 1000 if LONG else 300  # of one run
ROUNDS = 5 if LONG else 1
SEED = random.randrange(10**9)


class Arena:
    """A fresh database, empty streams and index, and so many writers: one run after another."""

    def __init__(self, pg_server, nats, qdrant, spawn, echora_for):
        self.pg_server, self.nats, self.qdrant, self.spawn = pg_server, nats, qdrant, spawn
        self.apply_streams = echora_for(nats=nats)

    def run(self, steps, writers, index=False, env=None, meet=()):
        """Each step is sent at once and comes to rest before the next; (recorder, database), all workers gone.
        In the steps whose numbers `meet` has, nobody may write before two writers are ready to."""
        db = self.pg_server.database()
        self.nats.bus().delete_streams()
        self.apply_streams("streams", "apply", user="admin")
        self.qdrant.wipe()
        workers = [self.spawn("catalogue", database=db, env=env, wait=False) for _ in range(writers)]
        workers += [self.spawn(kind, database=db, qdrant=self.qdrant, wait=False)
                    for kind in ("relay", *["qdrant"] * index)]
        for worker in workers:
            worker.wait_ready()
        recorder = Recorder(self.nats, db)
        for number, step in enumerate(steps):
            with held(db) if number in meet else contextlib.nullcontext():
                recorder.send_all(step)
            recorder.rest(index, timeout=240)
        for worker in workers:
            worker.stop()
        return recorder, db

    def check(self, recorder, db, index=False):
        return Oracle(db, recorder.bus, self.qdrant if index else None, most=10**6).check(recorder.inputs)


@contextlib.contextmanager
def held(db):
    """Keeps rows from being written until two writers, which have looked already, wait: for us, or one for the other."""
    with db.connect(autocommit=False) as connection:
        connection.execute("LOCK TABLE catalog.anime IN SHARE MODE")
        yield
        eventually(lambda: db.one("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted AND (relation = "
                                  "'catalog.anime'::regclass OR locktype IN ('transactionid', 'tuple'))") >= 2, 20,
                   "two writers about to write")


@pytest.fixture
def arena(pg_server, nats, qdrant, spawn, echora_for):
    return Arena(pg_server, nats, qdrant, spawn, echora_for)


def shuffled(histories, rnd):
    """Everything in any order, half of it a second time."""
    actions = [a for h in histories for a in h.actions]
    actions += [a for a in actions if len(a) == 2 and rnd.random() < 0.5]
    rnd.shuffle(actions)
    return [actions]


def in_order(histories):
    """Step by step: the n-th action of every history."""
    return [[h.actions[n] for h in histories if n < len(h.actions)]
            for n in range(max(len(h.actions) for h in histories))]


def compare(arena, histories, rnd, index=False, env=None):
    """Raises Wrong when four writers end otherwise than the oracle, or than one writer, says."""
    recorder, db = arena.run(shuffled(histories, rnd), writers=4, index=index, env=env)
    many = arena.check(recorder, db, index)
    db.drop()
    recorder, db = arena.run(in_order(histories), writers=1, index=index and LONG, env=env)
    one = arena.check(recorder, db, index and LONG)
    db.drop()
    wrong = list(differences(one.rows, many.rows))
    if wrong:
        raise Wrong("\n".join(["four writers differ from one", *wrong]))


def shrink(arena, histories, wrong, rnd, env=None, seconds=120):
    """The first history that the message names, with as few of its actions as still fail; tried in forty copies at
    once, because a race does not lose every time."""
    end = time.monotonic() + seconds
    bad = next((h for h in histories if any(name in wrong for name in h.names())), None)
    if bad is None:
        return None

    def fails(left_out):
        copies = [History(bad.seed, salt, left_out=left_out) for salt in range(1, 41)]
        if not all(h.actions and (h.makes_anime() or not any(a[0] == "restore" for a in h.actions)) for h in copies):
            return False
        try:
            recorder, db = arena.run(shuffled(copies, rnd), writers=4, env=env)
            arena.check(recorder, db)
        except AssertionError:
            return True
        db.drop()
        return False
    left_out, n = frozenset(bad.left_out), len(bad.actions)
    for size in (6, 3, 1):
        for start in range(0, n, size):
            more = left_out | set(range(start, start + size))
            if time.monotonic() < end and more != left_out and fails(more):
                left_out = more
    return History(bad.seed, left_out=left_out)


def run_histories(arena, seed, n, index=False, env=None, seconds=120):
    rnd = random.Random(seed)
    histories = [History(f"{seed}.{i}") for i in range(n)]
    try:
        compare(arena, histories, rnd, index, env)
    except Wrong as wrong:
        small = shrink(arena, histories, str(wrong), rnd, env, seconds)
        raise Wrong(f"seed {seed}: {str(wrong)[:4000]}\n\nshrunk to {small}") from wrong


@pytest.mark.chaos(fault="wrong answer or order: histories shuffled, doubled, four writers",
                   place="catalogue, relay, qdrant-sync",
                   checks="oracle")
@pytest.mark.parametrize("round", range(ROUNDS))
def test_any_order_and_four_writers_end_alike(arena, round):
    print(f"seed {SEED + round}")
    run_histories(arena, SEED + round, HISTORIES, index=True)
