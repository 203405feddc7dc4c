"""Relays that are killed, stopped, doubled and lied to. What test/integration/test_relay.py shows already is not
repeated: late committers one by one, purges, a row of another event, another cluster, rows at the size limit."""
import random
import uuid

import pytest
from harness import outbox
from harness.catalogue import Catalogue, anime, new_id
from harness.process import eventually, steady
from harness.settings import LONG

from chaos import relay_scenarios as scenarios

SIZE_LIMIT = 8388608 - 65536 - 1024


@pytest.fixture
def rig(db, streams, spawn):
    return scenarios.Rig(db, streams, spawn)


@pytest.mark.chaos(fault="slow: transactions that commit late", place="relay, postgres",
                   checks="each row one message, in order")
@pytest.mark.parametrize("turn", range(40 if LONG else 3))
def test_late_committers(rig, turn):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    scenarios.late_committers(rig, seed, steps=300 if LONG else 80)


@pytest.mark.chaos(fault="kill -9: at named points", place="relay", checks="each row one message, in order")
@pytest.mark.parametrize("point", ["batch-opened", "page-published", "page-published:3", "batch-published"])
def test_killed_at_a_named_point(rig, point):
    assert scenarios.killed_at(rig, point) == 4001


@pytest.mark.chaos(fault="kill -9: between publishing a small batch and noting it", place="relay",
                   checks="each row one message, in order")
@pytest.mark.parametrize("rows", [1, 3])
def test_killed_when_told(rig, rows):
    assert scenarios.killed_when_told(rig, rows) == 5 + 2 * rows + 1


@pytest.mark.chaos(fault="restored or made anew: xids that a crash or a failover gives again", place="relay",
                   checks="each row one message, in order")
def test_told_bounds_end_behind_their_rows(rig):
    assert scenarios.told_ends_behind_its_rows(rig) == 10


@pytest.mark.chaos(fault="kill -9: before and behind the note of how far a lane has looked", place="relay",
                   checks="each row one message, in order")
@pytest.mark.parametrize("busy,rare", [("ANIME_SYNC", "ANIME_EVENTS"), ("ANIME_EVENTS", "ANIME_SYNC")])
@pytest.mark.parametrize("before", [0, 4])
@pytest.mark.parametrize("kill", ["", "rows-passed", "rows-passed:2"])
def test_rare_stream(rig, busy, rare, before, kill):
    assert scenarios.rare_stream(rig, busy, rare, kill, before) == 12000 + before + 2 + 1 + 1


@pytest.mark.chaos(fault="slow: a start beside many kept rows", place="relay", checks="it looks at few of them")
def test_start_beside_kept_rows(rig):
    scenarios.start_beside_kept_rows(rig)


@pytest.mark.chaos(fault="restored or made anew: the database, from one statement to the next", place="postgres",
                   checks="no row is passed by")
def test_another_server(rig):
    assert scenarios.another_server(rig) == 2


@pytest.mark.chaos(fault="late: a note of how far a lane has looked", place="relay",
                   checks="each row one message, in order")
def test_note_of_another_batch(rig):
    assert scenarios.note_of_another_batch(rig) == 21


@pytest.mark.chaos(fault="restored or made anew: a database without batches", place="postgres",
                   checks="each row one message, in order")
def test_note_of_another_database(rig):
    assert scenarios.note_of_another_database(rig) == 6


@pytest.mark.chaos(fault="two at once: relays with a backlog", place="relay", checks="each row one message, in order")
def test_two_relays_with_a_backlog(rig):
    scenarios.two_drain(rig)


@pytest.mark.chaos(fault="stands still: a relay that leads, then goes on", place="relay",
                   checks="each row one message, in order")
def test_zombie(rig):
    scenarios.zombie(rig)


@pytest.mark.chaos(fault="restored or made anew: a stream", place="nats", checks="the relay refuses")
def test_recreated_stream_of_a_single_batch(rig, echora):
    scenarios.recreated_stream(rig, echora)


@pytest.mark.chaos(fault="slow: publishing, while slots turn", place="relay, postgres",
                   checks="no row is dropped unpublished")
def test_rotation_keeps_what_is_not_published(rig):
    scenarios.rotation(rig)


@pytest.mark.chaos(fault="restored or made anew: the database", place="postgres",
                   checks="the relay refuses, nothing is published")
def test_restored_copy_of_the_database_is_refused(rig, pg_server):
    """A copy of the database from a while ago, as a restore makes it, meets the stream of today."""
    relay = rig.relay()
    with rig.writer() as writer:
        outbox.fill(writer, 50)
        eventually(lambda: outbox.stored(rig.bus) == 50)
    relay.stop()
    pg_server.sql(f"CREATE DATABASE {rig.db.name}_copy TEMPLATE {rig.db.name};")
    relay.start()
    with rig.writer() as writer:
        outbox.fill(writer, 50)
        eventually(lambda: outbox.stored(rig.bus) == 100)
    relay.stop()
    relay.env["ECHORA_PG_URL"] += "_copy"
    try:
        relay.start(wait=False)
        scenarios.refused(rig, relay, "epoch-database", 100)
    finally:
        pg_server.sql(f"DROP DATABASE {rig.db.name}_copy WITH (FORCE);")
    # The newer database is still there: its relay goes on by itself.
    relay.env["ECHORA_PG_URL"] = relay.env["ECHORA_PG_URL"].removesuffix("_copy")
    relay.start()
    assert rig.finish() == 101


@pytest.mark.chaos(fault="hostile input: a row as long as may be", place="relay",
                   checks="published, one byte more is refused")
def test_headers_at_the_size_limit(rig):
    """A row whose headers and payload are both as long as a row may have them; one byte more is refused."""
    rig.relay()
    line = "\nEchora-Filler: "
    headers = outbox.HEADERS + line + "x" * (8192 - len(outbox.HEADERS) - len(line))
    payload = random.Random(1).randbytes(SIZE_LIMIT - 8192)
    with rig.writer() as writer:
        outbox.add(writer, uuid.uuid4(), payload, headers=headers)
        for more in ((payload + b"x", headers), (payload, headers + "x"), (b"", headers + "x")):
            with pytest.raises(Exception, match="outbox_size"):
                outbox.add(writer, uuid.uuid4(), more[0], headers=more[1])
    assert rig.finish() == 2


@pytest.mark.chaos(fault="kill -9: while slots of the outbox turn", place="relay",
                   checks="each row one message, no more kept than must be")
def test_ring_of_slots(rig):
    print(f"{scenarios.ring(rig)} deaths in rotation")


@pytest.mark.chaos(fault="slow: one transaction stays open over turns of the ring", place="postgres",
                   checks="nobody waits, its rows are published")
def test_transaction_that_stays_open(rig):
    """One transaction with rows stays open over many batches and turns of the ring: nobody waits for it, its slot
    is not emptied under it, and what it commits at the end is published."""
    rig.relay(keep="1s", housekeeping="100ms")
    long_one = rig.writer(autocommit=False)
    long_one.execute("SET idle_in_transaction_session_timeout = 0")
    long_one.commit()
    total, last = 0, 0
    with rig.writer() as writer:
        outbox.fill(long_one, 20)
        for day in range(1, (20 if LONG else 2) * scenarios.SLOTS + 1):
            for _ in range(5):
                outbox.fill(writer, 20)
                total += 20
                eventually(lambda n=total: outbox.stored(rig.bus) == n, 5, "rows beside the open transaction")
            last = scenarios.half_day(rig, day, last)
        held = scenarios.kept(rig, "ANIME_SYNC")
        outbox.fill(long_one, 20)
        long_one.commit()
        long_one.close()
        eventually(lambda: outbox.stored(rig.bus) == total + 40, 10, "late rows")
        print(f"{day} half days, {total} rows beside it, {held} kept while it was open")
        outbox.fill(writer, 1)
        outbox.fill(writer, 1)
        eventually(lambda: scenarios.kept(rig, "ANIME_SYNC") < held, 10, "emptied slots after it")


@pytest.mark.chaos(fault="foreign message: in the middle of a batch", place="nats",
                   checks="one row is in no message, the relay lives on")
def test_foreign_message_in_the_middle_takes_a_rows_place(rig):
    """Why the relay must be alone on its stream. Between two acknowledgements a foreign message (rights were lent)
    has the sequence that a row's successor expects: the relay goes on, and that row is in no message."""
    rows = 20000
    with rig.writer() as writer:
        outbox.fill(writer, rows)
    foreigner = rig.streams.bus("relay")
    relay = rig.relay(page_rows=50)
    eventually(lambda: outbox.stored(rig.bus) > 200)
    relay.pause()
    with rig.db.connect(autocommit=False) as lock:
        lock.execute("LOCK TABLE catalog.outbox IN ACCESS EXCLUSIVE MODE")  # no page but those asked for
        relay.resume()
        at = [-1]
        eventually(lambda: at.append(outbox.stored(rig.bus)) or at[-1] == at[-2], 10, "the relay waits for a page")
        assert 200 < at[-1] < rows
        foreigner.publish("anime.synced", b"foreign")
    eventually(lambda: outbox.stored(rig.bus) == rows)
    found = [m for m in rig.bus.read("ANIME_SYNC") if "Echora-Position" in m[2]]
    assert len(found) == rows - 1 and relay.alive()


@pytest.mark.chaos(fault="foreign message: in the relay's stream", place="qdrant-sync",
                   checks="dead letter foreign-message")
def test_follower_refuses_a_foreign_message(rig, streams, db, qdrant):
    """What the relay can't see its followers say: a dead letter."""
    for kind in ("catalogue", "relay", "qdrant"):
        rig.spawn(kind)
    Catalogue(streams, db).enriched(new_id(), anime(title="Ours"))
    ours = eventually(lambda: outbox.stored(rig.bus) and rig.bus.message("ANIME_SYNC", 1), 10)
    headers = {k: v for k, v in ours.headers.items() if k != "Echora-Position" and not k.startswith("Nats-")}
    streams.bus("relay").publish(ours.subject, ours.data, headers=headers)
    eventually(lambda: outbox.stored(rig.bus, "ANIME_DLQ") == 1)
    assert rig.bus.messages("ANIME_DLQ")[0].headers["Echora-Dlq-Code"] == "foreign-message"
