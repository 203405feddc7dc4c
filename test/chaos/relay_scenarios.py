"""What the relay must survive, as functions: test_relays.py runs them as they are, test_guards_relay.py with one
guard taken away, and then they must fail. Each ends in finish(), which looks at what the stream holds."""
import itertools
import random
import signal
import time
import uuid

from harness import outbox
from harness.process import eventually

SLOTS = 6


class Rig:
    """An outbox, its stream, and relays with planted faults."""

    def __init__(self, db, streams, spawn, faults=""):
        self.db, self.streams, self.bus, self.spawn, self.faults = db, streams, streams.bus("admin"), spawn, faults
        self.patience = 3 if faults else 15

    def relay(self, kill="", **settings):
        env = {"PLANTED_FAULTS": self.faults, "PLANTED_KILL": kill}
        env.update({f"ECHORA_{name.upper()}": value for name, value in settings.items()})
        return self.spawn("relay", env=env, wait=False)

    def writer(self, **options):
        return self.db.connect("echora_catalogue", **options)

    def active(self, *relays):
        """The one that leads."""
        return eventually(lambda: next((r for r in relays if r.alive() and "relay is active" in r.text()), None), 10)

    def last_event(self, stream="ANIME_SYNC"):
        state = self.bus.stream(stream).state
        return self.bus.message(stream, state.last_seq).headers["Echora-Event-Id"] if state.messages else None

    def restart(self, relay):
        """Again, without the point at which it died."""
        relay.env["PLANTED_KILL"] = ""
        relay.start(wait=False)

    def finish(self):
        """All that was committed is one message each, in order: when a row that was committed last is there, so
        must be all before it. A stream that stands still is looked at just the same, for what is wrong in it."""
        mark = str(uuid.uuid4())
        self.db.do("INSERT INTO catalog.outbox (stream, subject, entity_id, event_id, headers, payload) "
                   "VALUES ('ANIME_SYNC', 'anime.synced', gen_random_uuid(), %s, %s, 'last')", mark, outbox.HEADERS)
        last, moved = None, time.monotonic()
        while last != mark and time.monotonic() - moved < self.patience:
            time.sleep(0.02)
            before, last = last, self.last_event()
            moved = moved if last == before else time.monotonic()
        return outbox.check(self.db, self.bus)


def killed(relay, point, timeout=15):
    """Waits until the relay has died at its kill point."""
    assert eventually(lambda: not relay.alive(), timeout, f"death at {point}")
    assert relay.child.returncode == -signal.SIGKILL, relay.tail()
    assert f"killed at {point}" in relay.text()


def late_committers(rig, seed=1, steps=60, writers=4):
    """Transactions open, write, commit and roll back in random order, and batches are cut in between."""
    rng = random.Random(seed)
    rig.relay()
    connections = [rig.writer(autocommit=False) for _ in range(writers)]
    cuts = itertools.count(writers)
    with rig.writer() as quick:
        for _ in range(steps):
            entity, what = rng.randrange(writers), rng.random()
            writer = connections[entity]
            if what < 0.5:
                for _ in range(rng.choice((1, 1, 2, 30))):
                    outbox.add(writer, uuid.UUID(int=entity))
            elif what < 0.65:
                writer.commit()
            elif what < 0.7:
                writer.rollback()
            else:
                # A batch ends here: behind this row the stream holds all that is committed.
                outbox.add(quick, uuid.UUID(int=next(cuts)))
                newest = str(rig.db.one("SELECT event_id FROM catalog.outbox ORDER BY id DESC LIMIT 1"))
                eventually(lambda e=newest: rig.last_event() == e, 10, "batch cut")
    for writer in connections:
        writer.commit()
        writer.close()
    return rig.finish()


def killed_at(rig, point, rows=3000):
    """The relay dies at a named point while it drains; more is committed before it starts again."""
    with rig.writer() as writer:
        outbox.fill(writer, rows)
        relay = rig.relay(kill=point)
        killed(relay, point.partition(":")[0])
        outbox.fill(writer, 500)
        rig.restart(relay)
        outbox.fill(writer, 500)
    return rig.finish()


def killed_when_told(rig, rows=3):
    """The relay dies when a small batch has begun and is not noted; more is committed before it starts again."""
    with rig.writer() as writer:
        relay = rig.relay(kill="batch-told")
        outbox.fill(writer, 5)
        eventually(lambda: outbox.stored(rig.bus) == 5)
        newest = eventually(lambda: rig.db.one("SELECT max(batch) FROM catalog.outbox_batch WHERE stream = 'ANIME_SYNC'"))
        outbox.fill(writer, rows)
        killed(relay, "batch-told")
        assert outbox.stored(rig.bus) == 5 + 1
        assert rig.db.one("SELECT max(batch) FROM catalog.outbox_batch WHERE stream = 'ANIME_SYNC'") == newest
        outbox.fill(writer, rows)
        rig.restart(relay)
    return rig.finish()


def told_ends_behind_its_rows(rig):
    """What the stream tells of a batch says nothing of transactions that may be forgotten: the relay sleeps while rows
    are committed and other transactions, in progress and rolled back, take later xids. None of those may count as seen,
    for a server that crashes or a standby that takes over may give their xids again."""
    relay = rig.relay()
    with rig.writer() as writer, rig.writer(autocommit=False) as open_one:
        outbox.fill(writer, 5)
        eventually(lambda: outbox.stored(rig.bus) == 5)
        relay.pause()
        outbox.fill(writer, 3)
        last = rig.db.one("SELECT max(xid)::text::bigint FROM catalog.outbox")
        open_one.execute("SELECT pg_current_xact_id()")
        for _ in range(5):
            with rig.writer(autocommit=False) as forgotten:
                outbox.add(forgotten, uuid.uuid4())
                forgotten.rollback()
        relay.resume()
        eventually(lambda: outbox.stored(rig.bus) == 8)
        told = rig.bus.message("ANIME_SYNC", 6).headers["Echora-Batch"].split(" ")[4]
        assert int(told.split(":")[1]) == last + 1, f"{told} sees beyond {last}"
        outbox.add(open_one, uuid.uuid4())
        open_one.commit()
    return rig.finish()


def both_lead(rig, turns=200):
    """Two relays that both believe to lead. A hint wakes them at once while more rows are committed, so that each cuts
    its own small batch under the same number."""
    relays = [rig.relay(), rig.relay()]
    for relay in relays:
        eventually(lambda r=relay: "relay is active" in r.text(), 10)
    rng, hints = random.Random(5), rig.streams.bus("catalogue")
    with rig.writer() as writer, rig.writer(autocommit=False) as slow:
        for turn in range(turns):
            outbox.add(slow, uuid.UUID(int=turn % 3))
            outbox.fill(writer, rng.choice((1, 2, 5)))
            hints.send("hint.outbox")
            outbox.fill(writer, rng.choice((1, 2, 5)))
            slow.commit()
            time.sleep(0.015)  # for whoever came second and waits before it looks again
    found = rig.finish()
    assert all(r.alive() for r in relays), "a relay has given up"
    met = sum(r.metric("echora_relay_rejected_total", stream="ANIME_SYNC") for r in relays)
    assert met > turns / 10, f"they met {met} times only"
    return found


def two_drain(rig, rows=40000):
    """Two relays and a backlog: only one of them may publish."""
    with rig.writer() as writer:
        outbox.fill(writer, rows)
    relays = [rig.relay(), rig.relay()]
    found = rig.finish()
    assert all(r.alive() for r in relays)
    return found


def zombie(rig, rows=40000):
    """The active relay is stopped in the middle of a page, replaced, and woken: nothing it says counts."""
    with rig.writer() as writer:
        outbox.fill(writer, rows)
        first = rig.relay(page_rows=10000)
        eventually(lambda: outbox.stored(rig.bus) > 1000, 10)
        first.pause()
        at = outbox.stored(rig.bus)
        second = rig.relay()
        eventually(lambda: outbox.stored(rig.bus) > at + 1000, 15)
        first.resume()
        outbox.fill(writer, 1000)
    assert at < rows
    found = rig.finish()
    assert first.alive() and second.alive()
    return found


def refused(rig, relay, code, stored, timeout=10):
    """The relay ends by itself, says why and where to read on, and has published nothing."""
    eventually(lambda: not relay.alive() or outbox.stored(rig.bus) != stored, timeout, "refusal")
    assert outbox.stored(rig.bus) == stored, "published where it had to refuse"
    assert relay.child.returncode == 8, relay.tail()
    assert any(line.get("code") == code and "ops/runbooks/relay-refused.md" in line.get("reason", "")
               for line in relay.logs()), relay.tail()


def recreated_stream(rig, echora):
    """ANIME_SYNC is deleted and made again while the relay is away, after a single batch: no number tells."""
    with rig.writer() as writer:
        outbox.fill(writer, 5)
        relay = rig.relay()
        eventually(lambda: outbox.stored(rig.bus) == 5)
        relay.stop()
        rig.bus.wait(rig.bus.js.delete_stream("ANIME_SYNC"))
        echora("streams", "apply", user="admin")
        outbox.fill(writer, 5)
    relay.start(wait=False)
    refused(rig, relay, "epoch-stream", 0)


SUBJECTS = {"ANIME_SYNC": "anime.synced", "ANIME_EVENTS": "anime.updated"}
LOOKED = "SELECT count(*) FROM catalog.outbox_lane WHERE looked IS NOT NULL AND stream <> %s"


def rare_stream(rig, busy="ANIME_SYNC", rare="ANIME_EVENTS", kill="", before=0):
    """The relay looks past many rows of a busy stream and notes so, while a transaction of a rare one is open. It dies;
    what that transaction then commits is published by the next relay."""
    relay = rig.relay(kill=kill)
    with rig.writer() as writer, rig.writer(autocommit=False) as late:
        if before:
            outbox.fill(writer, before, stream=rare, subject=SUBJECTS[rare])
            eventually(lambda: outbox.stored(rig.bus, rare) == before, 10, "rows of the rare stream")
        outbox.fill(late, 2, stream=rare, subject=SUBJECTS[rare])
        outbox.fill(writer, 12000, stream=busy, subject=SUBJECTS[busy])
        if kill:
            killed(relay, kill.partition(":")[0])
        else:
            eventually(lambda: rig.db.one(LOOKED, busy) == 2, 10, "notes of the other lanes")
            relay.kill()
        late.commit()
        rig.restart(relay)
        outbox.fill(writer, 1, stream=rare, subject=SUBJECTS[rare])
    found = rig.finish()
    eventually(lambda: outbox.stored(rig.bus, "ANIME_EVENTS") >= rig.db.one(
        "SELECT count(*) FROM catalog.outbox WHERE stream = 'ANIME_EVENTS'"), rig.patience, "the other stream")
    return found + outbox.check(rig.db, rig.bus, "ANIME_EVENTS")


def rows_read(rig):
    """By all that ever read the outbox and has gone since."""
    eventually(lambda: rig.db.one("SELECT count(*) FROM pg_stat_activity WHERE usename = 'echora_relay' "
                                  "AND datname = current_database()") == 0, 10, "end of the relay's sessions")
    return rig.db.one("SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint "
                      "FROM pg_stat_user_tables WHERE relname LIKE 'outbox_slot%%' AND schemaname = %s", "catalog")


def start_beside_kept_rows(rig, rows=50000, batch=1000):
    """A relay that starts does not look at all kept rows again for each stream that has none of them."""
    relay = rig.relay()
    with rig.writer() as writer:
        for total in range(batch, rows + 1, batch):
            outbox.fill(writer, batch)
            eventually(lambda n=total: outbox.stored(rig.bus) == n, 10, "rows of the busy stream")
        eventually(lambda: rig.db.one(LOOKED, "ANIME_SYNC") == 2, 10, "notes of the other lanes")
        relay.stop()
        first = rows_read(rig)
        relay.start()
        outbox.fill(writer, 1, stream="ANIME_EVENTS", subject="anime.updated")
        eventually(lambda: outbox.stored(rig.bus, "ANIME_EVENTS") == 1, 10, "row of the rare stream")
        relay.stop()
    again = rows_read(rig) - first
    print(f"{first} rows read from the first start to the last row, {again} after the next")
    assert first > 2 * rows, "statistics of PostgreSQL"
    assert again < rows, f"{again} rows read at a start"


def another_server(rig):
    """PostgreSQL is another server from one statement to the next, one that had not got all that the relay has seen, and
    gives its xids again: what was learnt of the first one is not used on the second. Only the connection that the lanes
    use breaks, while the broker keeps the relay waiting; the row with an old xid stands for the second server's own."""
    relay = rig.relay(page_rows=10000)
    events = {"stream": "ANIME_EVENTS", "subject": "anime.updated"}
    with rig.writer() as writer:
        outbox.fill(writer, 1, **events)
        eventually(lambda: outbox.stored(rig.bus, "ANIME_EVENTS") == 1, 10, "the rare stream's batch")
        outbox.fill(writer, 5)
        old = rig.db.one("SELECT max(xid)::text FROM catalog.outbox")
        # Once this one is out, all lanes have looked beyond those five.
        outbox.fill(writer, 1, stream="AUDIT", subject="audit.catalog")
        eventually(lambda: outbox.stored(rig.bus, "AUDIT") == 1, 10, "a round of all lanes")
        nats = rig.streams.server
        nats.pause()
        try:
            # One page of small rows: once their batch is opened, the relay needs no statement till they are out. Behind
            # them it looks at the other lanes, for one of those has a row, too.
            writer.execute("INSERT INTO catalog.outbox (stream, subject, entity_id, event_id, headers, payload) SELECT "
                           "CASE i WHEN 0 THEN 'AUDIT' ELSE 'ANIME_SYNC' END, "
                           "CASE i WHEN 0 THEN 'audit.catalog' ELSE 'anime.synced' END, gen_random_uuid(), "
                           "gen_random_uuid(), 'A: b', 'x' FROM generate_series(0, 10000) AS i")
            eventually(lambda: rig.db.one("SELECT max(n_rows) FROM catalog.outbox_batch") == 10000, 10, "batch opened")
            time.sleep(0.5)  # its page has come
            rig.db.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity AS a WHERE application_name = 'echora-relay' "
                      "AND query LIKE '%%WITH cur AS%%'")
            rig.db.do("INSERT INTO catalog.outbox (xid, stream, subject, entity_id, event_id, headers, payload) VALUES "
                      "(%s::xid8, 'ANIME_EVENTS', 'anime.updated', gen_random_uuid(), gen_random_uuid(), %s, 'x')",
                      old, outbox.HEADERS)
        finally:
            nats.resume()
        eventually(lambda: outbox.stored(rig.bus, "ANIME_EVENTS") == 2, rig.patience, "the second server's row")
    relay.stop()
    return outbox.check(rig.db, rig.bus, "ANIME_EVENTS")


def note_of_another_batch(rig):
    """A relay that was stopped before it could note how far it had looked comes late: another one has opened batches."""
    relay = rig.relay()
    with rig.writer() as writer:
        for total in (5, 10, 15):
            outbox.fill(writer, 5)
            eventually(lambda n=total: outbox.stored(rig.bus) == n, 10)
        relay.stop()
        rig.db.do("UPDATE catalog.outbox_lane AS lane SET looked = b.prev, looked_batch = b.batch - 1 "
                  "FROM catalog.outbox_batch AS b WHERE b.stream = lane.stream AND lane.stream = 'ANIME_SYNC' "
                  "AND b.batch = (SELECT max(batch) FROM catalog.outbox_batch WHERE stream = 'ANIME_SYNC')")
        outbox.fill(writer, 5)
    relay.start()
    return rig.finish()


def note_of_another_database(rig):
    """A dump of an outbox without batches is restored in another cluster, whose xids began anew."""
    with rig.writer() as writer:
        relay = rig.relay()
        eventually(lambda: rig.db.one("SELECT count(*) FROM catalog.outbox_lane") == 3, 10, "lanes noted")
        relay.stop()
        outbox.fill(writer, 5)
        rig.db.do("UPDATE catalog.outbox_lane SET system_identifier = system_identifier + 1, "
                  "looked = pg_current_snapshot(), looked_batch = 0")
    relay.start()
    eventually(lambda: outbox.stored(rig.bus) >= 5, rig.patience, "rows from before the restore")
    return rig.finish()


def half_day(rig, day, after):
    """The clock moves on: what was written behind id `after` lies in the day's slot of the ring, and everything is
    twelve hours older. Returns the last id."""
    rig.db.do("UPDATE catalog.outbox SET created_at = created_at - interval '12 hours', "
              "slot = CASE WHEN id > %s THEN %s ELSE slot END", after, day % SLOTS)
    return rig.db.one("SELECT max(id) FROM catalog.outbox")


def rotation(rig, rows=300):
    """Rows that are not published when their slot is due stay until they are."""
    with rig.writer() as writer:
        outbox.fill(writer, rows)
        relay = rig.relay(kill="batch-opened", keep="1s", housekeeping="100ms")
        killed(relay, "batch-opened")
        last = half_day(rig, 0, 0)
        outbox.fill(writer, rows)
        half_day(rig, 1, last)
        ids = rig.db.all("SELECT event_id::text FROM catalog.outbox ORDER BY id")
        call = rig.db.connect("echora_relay")
        while call.execute("SELECT ops.outbox_empty_slot('catalog', '1 s')").fetchone()[0]:
            pass
        call.close()
        relay.env["ECHORA_KEEP"] = "48h"
        rig.restart(relay)
    rig.finish()
    found = [m[2]["Echora-Event-Id"] for m in rig.bus.read("ANIME_SYNC")][:-1]
    assert found == [row[0] for row in ids]


def kept(rig, stream):
    return rig.db.one("SELECT count(*) FROM catalog.outbox WHERE stream = %s", stream)


def ring(rig, turns=3):
    """Half days go by, around the ring of slots, with deaths in mid-rotation: nothing is lost, and no more is kept
    than the newest batches, although a stream that is rarely used has its only rows in the first slot."""
    relay = rig.relay(keep="1s", housekeeping="100ms", kill="slots-emptied:2")
    deaths, total, last = 0, 0, 0
    with rig.writer() as writer:
        outbox.fill(writer, 3, stream="ANIME_EVENTS", subject="anime.updated")
        for day in range(turns * SLOTS):
            for _ in range(3):
                outbox.fill(writer, 40)
                total += 40
                while outbox.stored(rig.bus) < total:
                    eventually(lambda n=total: outbox.stored(rig.bus) == n or not relay.alive(), 15)
                    if not relay.alive():
                        deaths += 1
                        relay.start(wait=False)
            last = half_day(rig, day, last)
        relay.kill()
        rig.restart(relay)
        eventually(lambda: kept(rig, "ANIME_SYNC") <= 240, rig.patience, "emptied slots")
        eventually(lambda: kept(rig, "ANIME_EVENTS") == 0, rig.patience, "emptied slot of the rare stream")
    positions = [outbox.position(m[2]) for m in rig.bus.read("ANIME_SYNC")]
    assert len(positions) == total and positions == sorted(set(positions))
    assert outbox.stored(rig.bus, "ANIME_EVENTS") == 3
    return deaths
