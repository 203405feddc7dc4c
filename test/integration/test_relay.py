"""The relay: every committed row one message, in each entity's order, whatever happens to whom."""
import json
import os
import random
import signal
import threading
import time
import uuid

import pytest
from harness import outbox
from harness.process import eventually, lasted_less, steady
from harness.settings import BUILD

SIZE_LIMIT = 8388608 - 65536 - 1024


@pytest.fixture
def bus(streams):
    return streams.bus("admin")


def drained(db, bus, stream="ANIME_SYNC", timeout=30, slack=0):
    n = db.one("SELECT count(*) FROM catalog.outbox WHERE stream = %s", stream)
    eventually(lambda: outbox.stored(bus, stream) >= n + slack, timeout, f"{n} messages on {stream}")
    return n


def refused(relay, code, timeout=15):
    assert relay.wait(timeout) == 8, relay.tail()
    assert any(line.get("code") == code and "relay-refused.md" in line.get("reason", "")
               for line in relay.logs()), relay.tail()


def test_rows_become_messages(db, bus, spawn):
    spawn("relay")
    with db.connect("echora_catalogue") as writer:
        for n in (1, 7, 1000, 1, 2500):
            outbox.fill(writer, n)
    drained(db, bus)
    assert outbox.check(db, bus) == 3509


def test_message_carries_the_rows_headers_and_guards(db, bus, spawn):
    spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 2)
    drained(db, bus)
    (_, _, first, _), (_, _, second, _) = bus.read("ANIME_SYNC")
    assert second["Nats-Expected-Last-Sequence"] == "1" and first["Nats-Expected-Stream"] == "ANIME_SYNC"
    assert second["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert second["Content-Type"] == "application/protobuf" and "Nats-Msg-Id" not in second
    assert outbox.position(first)[0] == outbox.position(second)[0]


def test_backlog_of_one_transaction(db, bus, spawn):
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 20000)
    relay = spawn("relay")
    drained(db, bus)
    assert outbox.check(db, bus) == 20000
    eventually(lambda: relay.metric("echora_relay_acknowledged_total", stream="ANIME_SYNC") == 20000)
    assert relay.metric("echora_relay_lag_rows", stream="ANIME_SYNC") == 0


def test_rows_without_hint_arrive(db, bus, spawn):
    spawn("relay")
    time.sleep(0.5)
    with db.connect("echora_catalogue") as writer:
        started = time.monotonic()
        outbox.fill(writer, 1)
    eventually(lambda: outbox.stored(bus) == 1, 1)
    assert lasted_less(started, 1)


def test_late_committer_with_lower_ids(db, bus, spawn):
    """Rows committed long after higher ids were published are not skipped."""
    spawn("relay")
    with db.connect("echora_catalogue", autocommit=False) as late, db.connect("echora_catalogue") as quick:
        outbox.fill(late, 1500)
        for _ in range(5):
            outbox.fill(quick, 10)
            time.sleep(0.05)
        eventually(lambda: outbox.stored(bus) == 50)
        outbox.fill(late, 1500)
        outbox.fill(quick, 10)
        late.commit()
        outbox.fill(quick, 10)
    drained(db, bus)
    messages = bus.read("ANIME_SYNC")
    table = {row[1]: row for row in outbox.rows(db)}
    assert len(messages) == len(table) == 3070
    assert {uuid.UUID(m[2]["Echora-Event-Id"]) for m in messages} == set(table)


def test_open_writer_holds_nobody_up(db, bus, spawn):
    """Neither an open writing transaction nor one of another database delays the others."""
    spawn("relay")
    with db.connect("echora_catalogue", autocommit=False) as open_one, \
            db.connect("echora_catalogue") as writer:
        outbox.fill(open_one, 3)
        for n in range(1, 20):
            outbox.fill(writer, 1)
            eventually(lambda n=n: outbox.stored(bus) == n, 2)
        open_one.rollback()
    assert outbox.stored(bus) == 19


def test_xid_order_is_not_the_entitys_order(db, bus, spawn):
    """The transaction with the lower xid changes the entity last: its row must come last."""
    spawn("relay")
    entity = uuid.uuid4()
    for _ in range(10):
        with db.connect("echora_catalogue", autocommit=False) as older, \
                db.connect("echora_catalogue", autocommit=False) as younger:
            older.execute("SELECT pg_current_xact_id()")
            outbox.add(younger, entity, b"younger")
            younger.commit()
            outbox.add(older, entity, b"older")
            older.commit()
    drained(db, bus)
    outbox.check(db, bus)


def test_rolled_back_rows_never_appear(db, bus, spawn):
    spawn("relay")
    with db.connect("echora_catalogue", autocommit=False) as writer:
        for i in range(20):
            outbox.fill(writer, 5)
            if i % 2:
                writer.rollback()
            else:
                writer.commit()
    drained(db, bus)
    assert outbox.check(db, bus) == 50


class Writers:
    """Concurrent writers with an entity lock, some transactions slow, some rolled back."""

    def __init__(self, db, n=4, seed=1):
        self.db, self.stopping, self.committed = db, False, 0
        db.do("CREATE TABLE IF NOT EXISTS catalog.t_entity (id uuid PRIMARY KEY, n int DEFAULT 0)")
        db.do("GRANT SELECT, UPDATE ON catalog.t_entity TO echora_catalogue")
        db.do("INSERT INTO catalog.t_entity SELECT md5(i::text)::uuid FROM generate_series(0, 9) i "
              "ON CONFLICT DO NOTHING")
        self.threads = [threading.Thread(target=self.run, args=(random.Random(seed * 100 + i),))
                        for i in range(n)]
        for t in self.threads:
            t.start()

    def run(self, rng):
        with self.db.connect("echora_catalogue", autocommit=False) as c:
            ids = [r[0] for r in c.execute("SELECT id FROM catalog.t_entity ORDER BY id").fetchall()]
            c.commit()
            while not self.stopping:
                for entity in sorted(rng.sample(ids, rng.randint(1, 3))):
                    c.execute("UPDATE catalog.t_entity SET n = n + 1 WHERE id = %s", (entity,))
                    for _ in range(rng.choice((1, 1, 1, 5))):
                        outbox.add(c, entity, rng.randbytes(rng.randint(0, 200)))
                if rng.random() < 0.05:
                    time.sleep(rng.random() * 0.1)
                if rng.random() < 0.1:
                    c.rollback()
                else:
                    c.commit()
                    self.committed += 1

    def stop(self):
        self.stopping = True
        for t in self.threads:
            t.join(30)
        return self.committed


def test_kill_while_draining(db, bus, spawn):
    """kill -9 in the middle, again and again: nothing lost, doubled or reordered."""
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 60000)
    relay = spawn("relay", wait=False)
    kills = 0
    for target in range(4000, 60000, 4000):
        eventually(lambda t=target: outbox.stored(bus) >= t, 30)
        relay.kill()
        kills += outbox.stored(bus) < 60000
        relay.start(wait=False)
    drained(db, bus)
    print(f"{kills} kills with work in flight")
    assert kills >= 5
    assert outbox.check(db, bus) == 60000


def test_kill_under_concurrent_writers(db, bus, spawn):
    writers = Writers(db)
    relay = spawn("relay", wait=False)
    rng = random.Random(7)
    for _ in range(8):
        time.sleep(0.2 + rng.random() * 0.5)
        relay.kill()
        relay.start(wait=False)
    print(f"{writers.stop()} transactions")
    drained(db, bus)
    outbox.check(db, bus)


def test_two_relays_take_turns(db, bus, spawn):
    """One is active; when it is killed the other goes on within three seconds."""
    relays = [spawn("relay", wait=False) for _ in range(2)]
    writers = Writers(db, n=2)
    active = [eventually(lambda: next((r for r in relays if r.alive() and "relay is active" in r.text()), None),
                         10)][0]
    other = relays[1 - relays.index(active)]
    time.sleep(0.5)
    assert "relay is active" not in other.text()
    active.kill()
    before, started = outbox.stored(bus), time.monotonic()
    eventually(lambda: outbox.stored(bus) > before + 5, 3)
    print(f"takeover after {time.monotonic() - started:.2f} s")
    writers.stop()
    drained(db, bus)
    outbox.check(db, bus)


def test_stopped_leader_is_replaced_and_fenced(db, bus, spawn):
    """SIGSTOP in mid-drain: a standby takes over; the zombie, woken, spoils nothing."""
    first, second = spawn("relay", wait=False), None
    eventually(lambda: "relay is active" in first.text(), 10)
    second = spawn("relay", wait=False)
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 60000)
        eventually(lambda: outbox.stored(bus) > 1000, 10)
        first.pause()
        at = outbox.stored(bus)
        started = time.monotonic()
        eventually(lambda: outbox.stored(bus) > at, 4)
        print(f"stopped at {at}, takeover after {time.monotonic() - started:.2f} s")
        outbox.fill(writer, 1000)
        first.resume()
        outbox.fill(writer, 1000)
    drained(db, bus)
    time.sleep(0.5)
    assert at < 60000
    assert outbox.check(db, bus) == 62000
    assert first.alive() and second.alive()


def test_lock_session_killed(db, bus, spawn):
    relay = spawn("relay")
    writers = Writers(db, n=2)
    for _ in range(5):
        time.sleep(0.3)
        db.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'echora-relay'")
    writers.stop()
    drained(db, bus)
    outbox.check(db, bus)
    assert relay.alive()


def test_servers_killed(db, bus, spawn, pg_server, streams):
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 40000)
    spawn("relay", wait=False)
    eventually(lambda: outbox.stored(bus) >= 3000, 30)
    pg_server.kill()
    pg_server.start()
    at = eventually(lambda: outbox.stored(bus), 5)
    eventually(lambda: outbox.stored(bus) > at or at == 40000, 10)
    streams.server.kill()
    streams.server.start()
    print(f"servers killed at {at}")
    eventually(lambda: outbox.stored(bus) == 40000, 40)
    assert outbox.check(db, bus) == 40000


def test_purged_stream_confuses_nobody(db, bus, spawn):
    """A purge takes messages, not the position: nothing is published again."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 500)
        drained(db, bus)
        bus.purge("ANIME_SYNC")
        outbox.fill(writer, 100)
        eventually(lambda: outbox.stored(bus) == 100)
        relay.kill()
        bus.purge("ANIME_SYNC")
        outbox.fill(writer, 50)
        relay.start()
        eventually(lambda: outbox.stored(bus) == 50)
        steady(lambda: outbox.stored(bus) == 50, 0.5)
    last = [row[1] for row in outbox.rows(db)][-50:]
    assert [uuid.UUID(m[2]["Echora-Event-Id"]) for m in bus.read("ANIME_SYNC")] == last


def test_purge_in_mid_drain(db, bus, spawn):
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 40000)
    relay = spawn("relay", wait=False)
    eventually(lambda: outbox.stored(bus) > 2000, 10)
    relay.kill()
    time.sleep(0.5)  # what the server has taken from the dead relay is stored by then
    bus.purge("ANIME_SYNC")
    at = bus.stream("ANIME_SYNC").state.last_seq
    assert at < 40000
    relay.start()
    eventually(lambda: bus.stream("ANIME_SYNC").state.last_seq == 40000, 20)
    messages = bus.read("ANIME_SYNC")
    assert [m[0] for m in messages] == list(range(at + 1, 40001))
    ids = [row[0] for row in outbox.rows(db)]
    assert [outbox.position(m[2])[1] for m in messages] == ids[at:]


def test_recreated_stream_is_refused(db, bus, spawn, streams, echora_for):
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
    drained(db, bus)
    relay.stop()
    bus.wait(bus.js.delete_stream("ANIME_SYNC"))
    echora_for(nats=streams)("streams", "apply", user="admin")
    relay.start(wait=False)
    refused(relay, "epoch-stream")
    assert outbox.stored(bus) == 0
    # A person's decision: everything that is kept goes out again.
    db.do("CALL ops.outbox_accept('catalog', 'ANIME_SYNC', 0, 0, republish => true)")
    relay.start()
    drained(db, bus)
    assert outbox.check(db, bus) == 5


def test_stream_recreated_under_a_running_relay(db, bus, spawn, streams, echora_for):
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
        drained(db, bus)
        bus.wait(bus.js.delete_stream("ANIME_SYNC"))
        echora_for(nats=streams)("streams", "apply", user="admin")
        outbox.fill(writer, 5)
    refused(relay, "epoch-stream")
    assert outbox.stored(bus) == 0


@pytest.mark.parametrize("name,subject", [("ANIME_SYNC", "anime.synced"), ("ANIME_EVENTS", "anime.updated")])
def test_stream_that_goes_under_an_idle_relay(db, bus, spawn, streams, echora_for, name, subject):
    """Nothing is published, and still the relay tells: not ready while its stream is gone, refused when it is anew."""
    relay = spawn("relay")
    standby = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5, stream=name, subject=subject)
    drained(db, bus, name)
    leads = eventually(lambda: [r for r in (relay, standby) if "relay is active" in r.text()])
    bus.wait(bus.js.delete_stream(name))
    for one in (relay, standby):
        eventually(lambda r=one: r.http("/readyz")[0] == 503 and f"{name}: there is no such stream" in
                   r.http("/readyz")[1], 5, "not ready")
        assert one.alive()
    echora_for(nats=streams)("streams", "apply", user="admin")
    refused(leads[0], "epoch-stream", 5)
    assert outbox.stored(bus, name) == 0


def test_missing_stream_without_batches_may_come(db, bus, spawn, streams, echora_for):
    """No batch is of the old stream: the new one is as good."""
    relay = spawn("relay")
    eventually(lambda: relay.metric("echora_relay_recoveries_total", stream="ANIME_SYNC") == 1)
    bus.wait(bus.js.delete_stream("ANIME_SYNC"))
    eventually(lambda: not relay.is_ready(), 5, "not ready")
    echora_for(nats=streams)("streams", "apply", user="admin")
    eventually(relay.is_ready, 5, "ready")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
    drained(db, bus)
    assert outbox.check(db, bus) == 5


def beat_age(relay):
    status, text = relay.http("/livez")
    return json.loads(text)["beat_age_ms"] if status else 0


def data_backends(db):
    """Of the relay, but for the session that holds the lock."""
    return [row[0] for row in db.all(
        "SELECT pid FROM pg_stat_activity a WHERE application_name = 'echora-relay' AND NOT EXISTS "
        "(SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.locktype = 'advisory')")]


def test_frozen_database_leaves_the_relay_live(db, bus, spawn, pg_server):
    """PostgreSQL stands still in mid-drain, its connections stay open: the lane goes on to beat."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 40000)
    eventually(lambda: outbox.stored(bus) > 500)
    pg_server.pause()
    try:
        eventually(lambda: not relay.is_ready(), 5, "not ready")
        steady(lambda: beat_age(relay) < 6000, 9, "the lane beats")
    finally:
        pg_server.resume()
    drained(db, bus, timeout=60)
    assert outbox.check(db, bus) == 40000
    eventually(lambda: "leadership lost, database connection gone" in relay.text())
    assert relay.alive()


def test_ends_in_order_while_the_database_stands_still(db, bus, spawn, pg_server):
    """Housekeeping may run for minutes, and is given up at the end all the same."""
    relay = spawn("relay", env={"ECHORA_HOUSEKEEPING": "100ms"})
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 1)
    drained(db, bus)
    pg_server.pause()
    try:
        time.sleep(0.5)  # the next round has begun
        assert relay.stop() == 0, relay.tail()
    finally:
        pg_server.resume()


def test_silent_data_connection_is_given_up(db, bus, spawn):
    """One backend hangs while the session of the lock is well: the relay takes another one."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 1)
        drained(db, bus)
        backends = data_backends(db)
        assert backends
        for pid in backends:
            os.kill(pid, signal.SIGSTOP)
        try:
            outbox.fill(writer, 1)
            drained(db, bus, timeout=25)
        finally:
            for pid in backends:
                os.kill(pid, signal.SIGCONT)
    assert "leadership lost" not in relay.text()
    assert outbox.check(db, bus) == 2


def test_foreign_message_is_refused(db, bus, spawn, nats):
    """Somebody wrote where only the relay may (rights were lent): the relay says so and stops."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
        drained(db, bus)
        nats.bus("relay").publish("anime.synced", b"foreign")
        outbox.fill(writer, 5)
    refused(relay, "epoch-foreign")


def test_restored_database_is_refused_then_accepted(db, bus, spawn):
    """An older copy of the database: the stream knows batches that it does not. A person accepts, and the
    relay goes on; nothing committed is skipped."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
        drained(db, bus)
        saved = db.all("SELECT batch FROM catalog.outbox_batch")
        outbox.fill(writer, 5)
        drained(db, bus)
    relay.stop()
    # What a restore to the earlier moment leaves.
    db.do("DELETE FROM catalog.outbox WHERE id > 5")
    db.do("DELETE FROM catalog.outbox_batch WHERE batch > %s", saved[-1][0])
    relay.start(wait=False)
    refused(relay, "epoch-database")
    state = bus.stream("ANIME_SYNC").state
    tail = outbox.position(bus.message("ANIME_SYNC", state.last_seq).headers)[0]
    db.do("CALL ops.outbox_accept('catalog', 'ANIME_SYNC', %s, %s)", state.last_seq, tail)
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
        relay.start()
        wanted = {row[1] for row in outbox.rows(db)}
        assert len(wanted) == 10
        eventually(lambda: {uuid.UUID(m[2]["Echora-Event-Id"]) for m in
                            bus.read("ANIME_SYNC")} >= wanted)
        relay.kill()
        relay.start()
        outbox.fill(writer, 5)
    eventually(lambda: outbox.stored(bus) == 10 + 10 + 5)


NEWEST = ("SELECT batch, prev::text, cur::text, first_id, last_id, n_rows, start_sequence FROM catalog.outbox_batch "
          "WHERE stream = 'ANIME_SYNC' ORDER BY batch DESC LIMIT 1")


def told(db, bus, writer, rows=3):
    """A small batch behind another: its first message carries the bounds that the database has of it."""
    outbox.fill(writer, 5)
    drained(db, bus)
    first = outbox.stored(bus) + 1
    outbox.fill(writer, rows)
    drained(db, bus)
    headers = [m[2] for m in bus.read("ANIME_SYNC")][first - 1:]
    [newest] = eventually(lambda: [b for b in db.all(NEWEST) if b[6] == first - 1], 5, "bounds noted")
    assert [h.get("Echora-Batch") for h in headers] == \
        [f"{newest[5]} {newest[3]} {newest[4]} {newest[1]} {newest[2]}"] + [None] * (rows - 1)
    assert newest[5] == rows
    return newest


def test_bounds_that_only_the_stream_tells_are_noted(db, bus, spawn):
    """As if the relay had died between a publish and its note."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        newest = told(db, bus, writer)
        relay.kill()
        db.do("DELETE FROM catalog.outbox_batch WHERE batch = %s", newest[0])
        relay.start()
        eventually(lambda: db.all(NEWEST) == [newest], 5, "noted again")
        outbox.fill(writer, 5)
        drained(db, bus)
    assert outbox.check(db, bus) == 13


def test_bounds_are_those_of_whoever_was_first_in_the_stream(db, bus, spawn):
    """A relay that has stored bounds and comes too late with its first message, beside one that has published."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        newest = told(db, bus, writer)
        relay.kill()
        outbox.fill(writer, 5)
        db.do("UPDATE catalog.outbox_batch SET cur = pg_current_snapshot(), n_rows = n_rows + 5, last_id = last_id + 5 "
              "WHERE batch = %s", newest[0])
        relay.start()
        drained(db, bus)
    assert outbox.check(db, bus) == 13
    assert [outbox.position(m[2])[0] - newest[0] for m in bus.read("ANIME_SYNC")][-8:] == [0] * 3 + [1] * 5


def test_nothing_is_published_where_nothing_can_be_noted(db, bus, spawn):
    """On a standby, where snapshots lack what is in progress, or a server that was made read-only."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        told(db, bus, writer)
        stored = outbox.stored(bus)
        db.do(f"ALTER ROLE echora_relay IN DATABASE {db.name} SET default_transaction_read_only = on")
        db.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'echora-relay'")
        try:
            eventually(lambda: "pg-25006" in relay.text() or "pg-25006" in relay.http("/readyz")[1], 10, "refused by PostgreSQL")
            outbox.fill(writer, 3)
            steady(lambda: outbox.stored(bus) == stored, 1, "nothing is published")
        finally:
            db.do(f"ALTER ROLE echora_relay IN DATABASE {db.name} RESET default_transaction_read_only")
        db.do("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'echora-relay'")
        drained(db, bus)
    outbox.check(db, bus)


def test_note_that_the_server_refuses_holds_nobody_up(db, bus, spawn):
    """How far a lane has looked is worth a warning when it can't be noted, no more."""
    relay = spawn("relay")
    eventually(lambda: db.one("SELECT count(*) FROM catalog.outbox_lane") == 3, 10, "each lane's epoch")
    db.do("REVOKE UPDATE ON catalog.outbox_lane FROM echora_relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 12000)
        eventually(lambda: "how far a lane has looked was not noted" in relay.text(), 10, "the warning")
        outbox.fill(writer, 1, stream="ANIME_EVENTS", subject="anime.updated")
        eventually(lambda: outbox.stored(bus, "ANIME_EVENTS") == 1, 10)
    drained(db, bus)
    assert relay.is_ready() and relay.metric("echora_relay_recoveries_total", stream="ANIME_EVENTS") == 1


def test_stream_two_batches_ahead_is_refused(db, bus, spawn):
    """One is published before it is noted, never two."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        told(db, bus, writer)
        newest = told(db, bus, writer)
    relay.stop()
    db.do("DELETE FROM catalog.outbox_batch WHERE batch > %s", newest[0] - 2)
    relay.start(wait=False)
    refused(relay, "epoch-database")


@pytest.mark.parametrize("bounds", ["1 99 99 3:3: 3:3:", "nonsense", "1 4 4 3:3: 3:3:"])
def test_bounds_of_a_foreigner_are_refused(db, bus, spawn, nats, bounds):
    """Of a row that is not there, none at all, of another row than the message's."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        newest = told(db, bus, writer)
    relay.stop()
    nats.bus("relay").publish("anime.synced", b"foreign", headers={
        "Echora-Position": f"{newest[0] + 1}:99", "Echora-Batch": bounds, "Echora-Event-Id": str(uuid.uuid4())})
    relay.start(wait=False)
    refused(relay, "epoch-database" if bounds.startswith("1 99") else "epoch-foreign")
    assert db.all(NEWEST) == [newest]


def test_row_of_another_event_is_refused(db, bus, spawn):
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
    drained(db, bus)
    relay.stop()
    db.do("UPDATE catalog.outbox SET event_id = gen_random_uuid() WHERE id = 5")
    relay.start(wait=False)
    refused(relay, "epoch-row")


def test_another_cluster_is_refused(db, bus, spawn):
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
    drained(db, bus)
    relay.stop()
    db.do("UPDATE catalog.outbox_lane SET system_identifier = system_identifier + 1")
    relay.start(wait=False)
    refused(relay, "epoch-database")


def test_fresh_database_and_used_stream_is_refused(db, bus, spawn):
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 5)
    drained(db, bus)
    relay.stop()
    db.do("TRUNCATE catalog.outbox, catalog.outbox_batch, catalog.outbox_lane")
    relay.start(wait=False)
    refused(relay, "epoch-database")


def test_rows_at_the_size_limit(db, bus, spawn):
    relay = spawn("relay")
    entity = uuid.uuid4()
    with db.connect("echora_catalogue") as writer:
        outbox.add(writer, entity, b"small")
        outbox.add(writer, entity, random.Random(3).randbytes(SIZE_LIMIT - len(outbox.HEADERS)))
        outbox.add(writer, entity, b"small again")
        with pytest.raises(Exception, match="outbox_size"):
            outbox.add(writer, entity, b"x" * (SIZE_LIMIT - len(outbox.HEADERS) + 1))
        for bad in ("anime synced", "anime..synced", ".anime", "anime.", "anime.*", "anime.>", ""):
            with pytest.raises(Exception, match="outbox_subject"):
                outbox.add(writer, entity, subject=bad)
        with pytest.raises(Exception, match="outbox_stream"):
            outbox.add(writer, entity, stream="NOWHERE")
    drained(db, bus)
    assert outbox.check(db, bus) == 3
    assert relay.alive()


def test_large_rows_do_not_pile_up_in_memory(db, bus, spawn):
    """Pages are cut by bytes: many rows of a megabyte never lie in memory together."""
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 60, size=1 << 20)
        outbox.fill(writer, 500)
    relay = spawn("relay")
    drained(db, bus, timeout=60)
    assert outbox.check(db, bus) == 560
    # Sanitizers keep freed memory back.
    assert "san" in BUILD.name or relay.memory("VmHWM") < 40 << 20


def test_writers_may_not_fake_what_the_relay_relies_on(db):
    with db.connect("echora_catalogue") as writer:
        for column, value in (("xid", "'5'"), ("slot", "1"), ("created_at", "now()")):
            with pytest.raises(Exception, match="permission denied"):
                writer.execute(f"INSERT INTO catalog.outbox (stream, subject, event_id, payload, {column}) "
                               f"VALUES ('ANIME_SYNC', 'anime.synced', gen_random_uuid(), '', {value})")
        for sql in ("UPDATE catalog.outbox SET payload = ''", "DELETE FROM catalog.outbox",
                    "SELECT * FROM catalog.outbox_batch", "TRUNCATE catalog.outbox"):
            with pytest.raises(Exception, match="permission denied"):
                writer.execute(sql)
    with db.connect("echora_relay") as relay:
        for sql in ("UPDATE catalog.outbox SET payload = ''", "DELETE FROM catalog.outbox",
                    "INSERT INTO catalog.outbox (stream, subject, event_id, payload) "
                    "VALUES ('ANIME_SYNC', 'a', gen_random_uuid(), '')"):
            with pytest.raises(Exception, match="permission denied"):
                relay.execute(sql)


def test_shared_stream(db, bus, spawn):
    """Rows for a stream with other writers carry Nats-Msg-Id; an open batch is sent again, stored once."""
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        for n in (1, 150, 3):
            outbox.fill(writer, n, stream="ANIME_EVENTS", subject="anime.updated")
            bus.publish("anime.updated", b"somebody else's", headers={"Nats-Msg-Id": str(uuid.uuid4())})
            outbox.fill(writer, 10)
        eventually(lambda: outbox.stored(bus, "ANIME_EVENTS") == 157)
        drained(db, bus)
        eventually(lambda: db.one("SELECT count(*) FROM catalog.outbox_batch WHERE stream = 'ANIME_EVENTS' "
                                  "AND closed_at IS NULL") == 0)
        relay.kill()
        # As if the relay had died before the last batch was closed.
        db.do("UPDATE catalog.outbox_batch SET closed_at = NULL WHERE stream = 'ANIME_EVENTS' AND batch = "
              "(SELECT max(batch) FROM catalog.outbox_batch WHERE stream = 'ANIME_EVENTS')")
        relay.start()
        outbox.fill(writer, 2, stream="ANIME_EVENTS", subject="anime.updated")
        eventually(lambda: outbox.stored(bus, "ANIME_EVENTS") == 159)
        steady(lambda: outbox.stored(bus, "ANIME_EVENTS") == 159)
    ours = [m for m in bus.read("ANIME_EVENTS") if m[3] != b"somebody else's"]
    assert [uuid.UUID(m[2]["Nats-Msg-Id"]) for m in ours] == [r[1] for r in outbox.rows(db, "ANIME_EVENTS")]
    outbox.check(db, bus)


def taken_id(db, bus, spawn, **env):
    """Somebody else published under the id of a row; that row is stored all the same, once, also when it is sent again."""
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 3, stream="ANIME_EVENTS", subject="anime.updated")
        rows = outbox.rows(db, "ANIME_EVENTS")
        event = str(rows[1][1])
        bus.publish("anime.updated", b"somebody else's",
                    headers={"Nats-Msg-Id": event, "Echora-Event-Id": event, "Echora-Position": "1:999999"})
        relay = spawn("relay", env=env)
        for _ in range(2):
            eventually(lambda: db.one("SELECT count(*) FROM catalog.outbox_batch WHERE stream = 'ANIME_EVENTS'") > 0 and
                       db.one("SELECT count(*) FROM catalog.outbox_batch WHERE stream = 'ANIME_EVENTS'"
                              " AND closed_at IS NULL") == 0, what="the batch is closed")
            relay.kill()
            ours = [m for m in bus.read("ANIME_EVENTS") if m[3] != b"somebody else's"]
            assert sorted(m[2]["Echora-Event-Id"] for m in ours) == sorted(str(r[1]) for r in rows), "each row is stored"
            db.do("UPDATE catalog.outbox_batch SET closed_at = NULL WHERE stream = 'ANIME_EVENTS'")
            relay.start()


def test_an_id_that_somebody_else_took(db, bus, spawn):
    taken_id(db, bus, spawn)


def test_full_stream_holds_up_only_its_lane(db, bus, spawn, streams):
    """discard: new. A full shared stream is refused loudly, the other lane goes on, and later it drains."""
    config = bus.stream("ANIME_EVENTS").config
    config.max_msgs = 5
    bus.wait(bus.js.update_stream(config))
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 20, stream="ANIME_EVENTS", subject="anime.updated")
        eventually(lambda: outbox.stored(bus, "ANIME_EVENTS") == 5)
        eventually(lambda: relay.http("/readyz")[0] == 503 and "ANIME_EVENTS" in relay.http("/readyz")[1])
        outbox.fill(writer, 20)
        eventually(lambda: outbox.stored(bus) == 20)
        config.max_msgs = -1
        bus.wait(bus.js.update_stream(config))
        eventually(lambda: outbox.stored(bus, "ANIME_EVENTS") == 20, 10)
        eventually(relay.is_ready)
    outbox.check(db, bus)
    outbox_rows = {r[1] for r in outbox.rows(db, "ANIME_EVENTS")}
    assert {uuid.UUID(m[2]["Nats-Msg-Id"]) for m in bus.read("ANIME_EVENTS")} == outbox_rows


def test_refused_row_of_a_shared_stream_sends_nothing_again(db, bus, spawn):
    """A row that its stream refuses for hours: what is before it is stored once, though the duplicate window passes."""
    config = bus.stream("ANIME_EVENTS").config
    config.max_msg_size, config.duplicate_window = 4096, 1.0
    bus.wait(bus.js.update_stream(config))
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 150, stream="ANIME_EVENTS", subject="anime.updated")
        outbox.add(writer, uuid.uuid4(), b"x" * 8192, stream="ANIME_EVENTS", subject="anime.updated")
        outbox.fill(writer, 100, stream="ANIME_EVENTS", subject="anime.updated")
    relay = spawn("relay", wait=False)
    eventually(lambda: relay.http("/readyz")[0] == 503 and "ANIME_EVENTS" in relay.http("/readyz")[1])
    before = outbox.stored(bus, "ANIME_EVENTS")
    steady(lambda: outbox.stored(bus, "ANIME_EVENTS") == before, 4, "nothing stored twice")
    config.max_msg_size = 1 << 20
    bus.wait(bus.js.update_stream(config))
    ids = [str(r[1]) for r in outbox.rows(db, "ANIME_EVENTS")]
    eventually(lambda: {m[2]["Nats-Msg-Id"] for m in bus.read("ANIME_EVENTS")} == set(ids), 20, "all stored")
    relay.wait_ready()
    stored = [m[2]["Nats-Msg-Id"] for m in bus.read("ANIME_EVENTS")]
    assert stored[:150] == ids[:150] and all(stored.count(i) == 1 for i in ids[:151])


def test_full_guarded_stream_drains_later(db, bus, spawn):
    config = bus.stream("ANIME_SYNC").config
    config.max_msgs = 100
    bus.wait(bus.js.update_stream(config))
    relay = spawn("relay")
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 3000)
    eventually(lambda: outbox.stored(bus) == 100)
    steady(lambda: relay.alive() and outbox.stored(bus) == 100, 1)
    config.max_msgs = -1
    bus.wait(bus.js.update_stream(config))
    drained(db, bus)
    assert outbox.check(db, bus) == 3000


def test_slots_are_emptied_when_published_and_old(db, bus, spawn):
    """Old published rows go, batches with them; the newest batches and unpublished rows stay."""
    relay = spawn("relay", env={"ECHORA_KEEP": "1s", "ECHORA_HOUSEKEEPING": "200ms"})
    with db.connect("echora_catalogue") as writer:
        for _ in range(5):
            outbox.fill(writer, 100)
            drained(db, bus)
        time.sleep(1.5)
        # The two newest batches lie in the same slot: nothing may go yet.
        assert db.one("SELECT count(*) FROM catalog.outbox") == 500
        # A slot of an earlier day, all of it published long ago.
        db.do("UPDATE catalog.outbox SET slot = (slot + 1) % 6 WHERE id <= 300")
        eventually(lambda: db.one("SELECT count(*) FROM catalog.outbox") == 200, 10)
        eventually(lambda: db.one("SELECT count(*) FROM catalog.outbox_batch WHERE stream = 'ANIME_SYNC'") == 3)
        outbox.fill(writer, 100)
        eventually(lambda: outbox.stored(bus) == 600)
    relay.kill()
    relay.start()
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 1)
    eventually(lambda: outbox.stored(bus) == 601)


def test_open_writer_keeps_its_slot(db, bus, spawn):
    """A slot with rows of a transaction that is still open is not emptied under its feet."""
    spawn("relay", env={"ECHORA_KEEP": "1s", "ECHORA_HOUSEKEEPING": "200ms"})
    with db.connect("echora_catalogue") as writer, \
            db.connect(autocommit=False) as open_one:
        for _ in range(5):
            outbox.fill(writer, 10)
            drained(db, bus)
        slot = (db.one("SELECT slot FROM catalog.outbox WHERE id = 1") + 1) % 6
        open_one.execute("INSERT INTO catalog.outbox (slot, stream, subject, event_id, payload) VALUES "
                         "(%s, 'ANIME_SYNC', 'anime.synced', gen_random_uuid(), 'late')", (slot,))
        db.do("UPDATE catalog.outbox SET slot = %s WHERE id <= 30", slot)
        time.sleep(2.5)
        assert db.one("SELECT count(*) FROM catalog.outbox WHERE slot = %s", slot) == 30
        open_one.commit()
        eventually(lambda: outbox.stored(bus) == 51)


def test_stops_in_mid_drain_within_the_drain_time(db, bus, spawn):
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 60000)
    relay = spawn("relay", wait=False)
    eventually(lambda: outbox.stored(bus) > 2000, 10)
    started = time.monotonic()
    assert relay.stop(number=signal.SIGTERM) == 0
    assert lasted_less(started, 3)
    relay.start()
    drained(db, bus)
    assert outbox.check(db, bus) == 60000
