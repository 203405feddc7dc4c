"""Replies that are lost: of a commit, a publish, a request, an acknowledgement. Effects must be there once.

The proxy lets the request through and keeps the answer back, so that the loss is certain. What the clients' own
tests see of single calls (test_pg.py, test_runtime.py, test_relay.py) is not repeated here: this is the chain.
"""
import json
import os
import signal
import time
import uuid

import pytest
from harness import outbox
from harness.catalogue import DURABLES
from harness.chain import Chain, anime, changed, ident
from harness.process import eventually
from harness.settings import LONG, ROOT

COMMIT, COMMITTED = b"COMMIT\0", b"COMMIT\0Z"
ONE = ident(1, 1)


def pg_by(db, proxied, role="echora_catalogue"):
    return {"ECHORA_PG_URL": f"postgresql://{role}@127.0.0.1:{proxied.port}/{db.name}"}


def nats_by(proxied):
    return {"ECHORA_NATS_URL": f"nats://127.0.0.1:{proxied.port}"}


@pytest.fixture
def chain(db, streams, qdrant, proxy, spawn, echora):
    def make(catalogue=None, relay=None):
        return Chain(db, streams, qdrant, spawn, echora, catalogue={"env": catalogue or {}},
                     relay={"env": relay or {}})
    return make


@pytest.fixture
def postgres(pg_server, proxy):
    return proxy(pg_server)


@pytest.fixture
def bus_by(nats_server, proxy):
    return proxy(nats_server)


# --- a commit ------------------------------------------------------------------------------------------

def commit_lost(chain, spawn, postgres, db, action, fault=""):
    """COMMIT of an event's transaction and of an update's: its reply is lost, or it never reaches PostgreSQL."""
    rules = [postgres.plan(action, COMMIT, after=uuid.UUID(ident(1, i)).bytes, until=COMMITTED) for i in (1, 2)]
    c = chain(catalogue={**pg_by(db, postgres), "PLANTED_FAULTS": fault})
    spawn("qdrant")
    c.publish(anime(1), anime(3))
    c.publish(anime(2))
    for rule in rules:
        rule.wait()
    c.quiet()
    rule = postgres.plan(action, COMMIT, after=uuid.UUID(ONE).bytes, until=COMMITTED)
    c.change(1, year=2001)
    rule.wait()
    c.quiet()
    c.check([changed(anime(1), year=2001), anime(2), anime(3)])
    return c


@pytest.mark.chaos(fault="reply lost: of a commit", place="postgres", checks="points equal the events, announced once")
def test_lost_commit_reply(chain, spawn, postgres, db):
    c = commit_lost(chain, spawn, postgres, db, "lose-answer")
    # The repetition was seen to be one; nothing was announced twice.
    duplicates = c.catalogue.metric("echora_catalogue_operations_total", outcome="duplicate")
    assert duplicates >= 3
    assert len(c.db.all("SELECT FROM outbox")) == 4


@pytest.mark.chaos(fault="connection cut: before the commit arrives", place="postgres",
                   checks="points equal the events, none a duplicate")
def test_lost_commit(chain, spawn, postgres, db):
    c = commit_lost(chain, spawn, postgres, db, "cut")
    assert c.catalogue.metric("echora_catalogue_operations_total", outcome="duplicate") == 0


@pytest.mark.chaos(fault="guard taken away: an unknown commit is tried again", place="catalogue",
                   checks="the scenario turns red")
def test_unknown_commit_taken_as_done(chain, spawn, postgres, db):
    with pytest.raises(AssertionError):
        commit_lost(chain, spawn, postgres, db, "cut", "uncertain-commit-is-done")


@pytest.mark.chaos(fault="reply lost: of a request's commit", place="postgres",
                   checks="told so, asked again, written once")
def test_lost_commit_reply_of_a_request(chain, spawn, postgres, db):
    """Whoever asked is told that nobody knows, asks again, and the deletion is there once."""
    c = chain(catalogue=pg_by(db, postgres))
    spawn("qdrant")
    c.publish(anime(1), anime(2))
    c.quiet()
    postgres.plan("lose-answer", COMMIT, after=uuid.UUID(ONE).bytes, until=COMMITTED)
    reply = c.streams.bus("operator").request("catalog.anime.delete", json.dumps(c.deletion(1)).encode(),
                                              headers={"Content-Type": "application/json"})
    assert reply.headers["Echora-Error-Class"] == "uncertain"
    assert c.delete(1)["alreadyDeleted"] is True
    c.quiet()
    c.check([anime(2)])
    assert c.db.one("SELECT count(*) FROM outbox WHERE subject = 'anime.deleted'") == 1


@pytest.mark.chaos(fault="connection cut: at each statement", place="catalogue, postgres",
                   checks="points equal the events, no dead letter, the process lives")
def test_connection_cut_at_each_statement(chain, postgres, spawn, db):
    """Each statement of the writer, its chores' too, loses its connection once: it lives on and nothing is missing."""
    rules = {path.stem: postgres.plan("cut", path.stem.encode() + b"\0")
             for path in (ROOT / "workers/catalogue/sql").glob("*.sql")}
    c = chain(catalogue={**pg_by(db, postgres), "ECHORA_GIVE_UP_AT": "50"})
    spawn("qdrant")
    pid = c.catalogue.pid
    c.change(2, year=2001)  # waits for its entity, which comes with a newer year
    c.publish(anime(1), anime(2), anime(3))
    eventually(lambda: all(rules[name].hits for name in ("maintain_inbox", "refused_pending", "expired_pending",
                                                         "sweep_relations", "upsert_anime")), 60, "chores and writes")
    c.quiet(90)
    assert c.catalogue.alive() and c.catalogue.pid == pid and c.dead_letters() == []
    print(f"cut at {sum(rule.hits for rule in rules.values())} of {len(rules)} statements")
    c.check([anime(1), anime(2), anime(3)])


# --- a publish -----------------------------------------------------------------------------------------

@pytest.mark.chaos(fault="reply lost: of publishes", place="relay, nats", checks="each row one message")
@pytest.mark.parametrize("stream, subject", [("ANIME_SYNC", "anime.synced"), ("ANIME_EVENTS", "anime.updated")])
def test_lost_publish_acks_of_the_relay(db, streams, bus_by, spawn, stream, subject):
    """The relay's connection ends again and again with answers on their way; each row is one message all the same."""
    bus = streams.bus()
    for times, skip in ((2, 0), (2, 1), (2, 2)):
        bus_by.plan("lose-answer", b"HPUB anime.", until=b'"stream":"%s"' % stream.encode(), times=times, skip=skip)
    spawn("relay", env=nats_by(bus_by))
    with db.connect("echora_catalogue") as writer:
        for n in (1, 2000, 300, 1):
            outbox.fill(writer, n, stream=stream, subject=subject)
    eventually(lambda: outbox.stored(bus, stream) >= 2302, 90, "relayed")
    lost = sum(rule.answers for rule in bus_by.rules)
    print(f"{lost} connections lost answers")
    assert lost >= 3
    if stream == "ANIME_SYNC":
        assert outbox.check(db, bus) == 2302
        return
    # Of a shared stream alone: the other lanes close no batch.
    eventually(lambda: db.one("SELECT count(*) FROM outbox_batch WHERE stream = %s AND closed_at IS NULL AND batch < "
                              "(SELECT max(batch) FROM outbox_batch WHERE stream = %s)", stream, stream) == 0,
               30, "all batches but the newest are closed")
    ids = [uuid.UUID(m[2]["Nats-Msg-Id"]) for m in bus.read(stream)]
    assert len(ids) == 2302 and set(ids) == {row[1] for row in outbox.rows(db, stream)}


def dead_letter_lost(chain, bus_by, streams, action, fault=""):
    """The publish of a dead letter, or its answer, is lost."""
    bus = streams.bus()
    bus.hasten("ANIME_EVENTS", 1.5)
    rule = bus_by.plan(action, b"HPUB anime.dlq.", until=b'"ANIME_DLQ"')
    c = chain(catalogue={**nats_by(bus_by), "PLANTED_FAULTS": fault})
    bad = bus.publish("anime.updated", b"\x0a\x24not an event").seq
    rule.wait()
    c.publish(anime(1))
    eventually(lambda: bus.settled("ANIME_EVENTS", *DURABLES.values()), 20, "all events settled")
    letters = c.dead_letters()
    assert [(m.headers["Echora-Dlq-Seq"], m.data) for m in letters] == [(str(bad), b"\x0a\x24not an event")]


@pytest.mark.chaos(fault="reply lost: of a dead letter", place="nats", checks="one dead letter")
def test_lost_ack_of_a_dead_letter(chain, bus_by, streams):
    dead_letter_lost(chain, bus_by, streams, "lose-answer")


@pytest.mark.chaos(fault="connection cut: before the dead letter arrives", place="nats", checks="one dead letter")
def test_lost_dead_letter(chain, bus_by, streams):
    dead_letter_lost(chain, bus_by, streams, "cut")


@pytest.mark.chaos(fault="guard taken away: a dead letter is confirmed and has an id", place="any worker",
                   checks="the scenario turns red")
@pytest.mark.parametrize("action, fault", [("cut", "dead-letter-unconfirmed"),
                                           ("lose-answer", "dead-letter-without-id")])
def test_dead_letter_without_its_guard(chain, bus_by, streams, action, fault):
    with pytest.raises(AssertionError):
        dead_letter_lost(chain, bus_by, streams, action, fault)


# --- a request -----------------------------------------------------------------------------------------

@pytest.mark.chaos(fault="reply lost: of the committed state", place="qdrant-sync, catalogue",
                   checks="points equal the events")
def test_lost_reply_of_the_catalogue(chain, spawn, bus_by):
    """Qdrant sync's connection ends with the committed state on its way to it."""
    c = chain()
    rule = bus_by.plan("lose-answer", b"catalog.anime.get", until=b"HMSG _INBOX_qdrant", times=2)
    spawn("qdrant", env=nats_by(bus_by))
    c.publish(*[anime(i) for i in range(5)])
    rule.wait_answer()
    c.bus.hasten("ANIME_SYNC", 1.5)
    c.quiet(60)
    c.check([anime(i) for i in range(5)])


@pytest.mark.chaos(fault="reply lost: of an operator's request", place="catalogue",
                   checks="asked again it is done, once")
def test_lost_replies_to_an_operator(chain, spawn, bus_by):
    """The catalogue's connection ends as it answers. Asked again it has done the thing already, once."""
    c = chain(catalogue=nats_by(bus_by))
    spawn("qdrant")
    c.publish(anime(1), anime(2))
    c.quiet()
    rule = bus_by.plan("cut", b"HPUB _INBOX_operator")
    with pytest.raises(Exception, match="(?i)timeout|^$"):
        c.streams.bus("operator").request("catalog.anime.delete", json.dumps(c.deletion(1)).encode(), timeout=1,
                                          headers={"Content-Type": "application/json"})
    rule.wait()
    eventually(c.catalogue.is_ready, 10, "connected again")
    assert c.delete(1)["alreadyDeleted"] is True
    c.quiet()
    c.check([anime(2)])
    assert c.db.one("SELECT count(*) FROM outbox WHERE subject = 'anime.deleted'") == 1


# --- deliveries and their acknowledgements -------------------------------------------------------------

@pytest.mark.chaos(fault="reply lost: acknowledgements, and deliveries", place="nats", checks="points equal the events")
def test_lost_acks_and_deliveries(chain, spawn, bus_by, nats_server, proxy):
    """Acknowledgements are lost after the work was done, and deliveries before it was begun."""
    by_sync = proxy(nats_server)
    acks = [p.plan("cut", b"$JS.ACK.", times=2) for p in (bus_by, by_sync)]
    pulls = [p.plan("lose-answer", b"MSG.NEXT", until=b"$JS.ACK.", times=2, skip=6) for p in (bus_by, by_sync)]
    c = chain(catalogue=nats_by(bus_by))
    c.bus.hasten("ANIME_EVENTS", 1.5)
    c.bus.hasten("ANIME_SYNC", 1.5)
    spawn("qdrant", env=nats_by(by_sync))
    events = [anime(i) for i in range(6)]
    for event in events:
        c.publish(event)
    c.quiet(60)
    for i in range(6):
        c.change(i, year=2001 + i)
    for rule in acks:
        rule.wait()
    c.quiet(60)
    print("acknowledgements lost:", [r.hits for r in acks], "deliveries lost:", [r.answers for r in pulls])
    c.check([changed(event, year=2001 + i) for i, event in enumerate(events)])
    assert c.db.one("SELECT count(*) FROM outbox") == 12


def reconnected_in_mid_pull(chain, bus_by, fault=""):
    """The connection ends while a pull is open; the server forgets the pull with it."""
    c = chain(catalogue={**nats_by(bus_by), "PLANTED_FAULTS": fault})
    c.publish(anime(1))
    eventually(lambda: c.bus.settled("ANIME_EVENTS", "catalog-enriched"), 10, "settled")
    bus_by.cut()
    c.publish(anime(2))
    # Well below the pull's own end and the ack wait: only a new pull can bring it.
    eventually(lambda: c.db.one("SELECT count(*) FROM catalog.anime") == 2, 8, "the second anime")


# A forgotten pull is noticed by its silence too, some seconds later: only without both is the event left where it is.
@pytest.mark.chaos(fault="connection cut: in the middle of a pull", place="nats",
                   checks="all is handled; with a guard taken away it is seen")
@pytest.mark.parametrize("fault", ["", "silence-ignored", *(["pulls-kept"] if LONG else [])])
def test_reconnect_in_mid_pull(chain, bus_by, fault):
    reconnected_in_mid_pull(chain, bus_by, fault)


@pytest.mark.chaos(fault="guard taken away: pulls that got lost are forgotten", place="any worker",
                   checks="the scenario turns red")
def test_forgotten_pull_that_nobody_misses(chain, bus_by):
    with pytest.raises(AssertionError):
        reconnected_in_mid_pull(chain, bus_by, "pulls-kept,silence-ignored")


@pytest.mark.chaos(fault="stands still: with its write on the way", place="qdrant-sync",
                   checks="the newest stands, no event lost")
def test_ack_of_a_delivery_that_was_given_to_another(chain, spawn, qdrant, proxy):
    """A worker stands still with its write on the way. Its events go to another; then it goes on, writes what is old
    and acknowledges deliveries that are not its own any more."""
    c = chain()
    c.bus.hasten("ANIME_SYNC", 1.5)
    proxied = proxy(qdrant)
    held = proxied.plan("hold", b"PUT /collections/anime_database_v1/points?")
    first = spawn("qdrant", env={"ECHORA_QDRANT_URL": proxied.url})
    c.publish(anime(1))
    held.wait_http()
    first.pause()
    spawn("qdrant", argv=["--give-up-at=50"])
    eventually(lambda: ONE in c.points(), 20, "written by the other")
    c.change(1, tags=["newer"])
    held.release()
    held.wait_answer()
    eventually(lambda: c.points()[ONE]["tags"] == ["newer"], 20, "the update, by the other")
    first.resume()
    c.quiet()
    c.change(1, year=2001)
    c.quiet()
    c.check([changed(anime(1), tags=["newer"], year=2001)])


# --- servers that are there and silent -----------------------------------------------------------------

@pytest.mark.chaos(fault="silent: NATS, in the middle of the work", place="nats", checks="points equal the events")
def test_silent_nats_in_the_middle(chain, spawn, nats_server, streams):
    c = chain()
    spawn("qdrant")
    c.bus.hasten("ANIME_EVENTS", 3)
    c.bus.hasten("ANIME_SYNC", 3)
    events = [anime(i) for i in range(60)]
    for pause in (0.2, 3.0):
        c.publish(*events)
        nats_server.pause()
        time.sleep(pause)
        nats_server.resume()
        events = [changed(e, year=1990 + i % 30) for i, e in enumerate(events)]
        c.publish(*[{"animeId": e["animeId"], "changedFields": ["year"], "anime": {"year": e["anime"]["year"]}}
                    for e in events], subject="anime.updated")
    c.quiet(60)
    c.check(events)


@pytest.mark.chaos(fault="silent: half-open connections to NATS", place="nats",
                   checks="points equal the events, not ready meanwhile")
def test_half_open_connections_to_nats(chain, spawn, bus_by):
    """No byte moves between all workers and NATS, and nothing is closed: longer than pings may take in the long form,
    so that the workers give their connections up themselves."""
    c = chain(catalogue=nats_by(bus_by), relay=nats_by(bus_by))
    c.bus.hasten("ANIME_EVENTS", 3)
    c.bus.hasten("ANIME_SYNC", 3)
    worker = spawn("qdrant", env=nats_by(bus_by))
    c.publish(*[anime(i) for i in range(30)])
    bus_by.stall()
    for w in (c.catalogue, worker):
        eventually(lambda w=w: not w.is_ready(), 5, "not ready")
    c.publish(*[anime(i) for i in range(30, 60)])
    time.sleep(75 if LONG else 1)
    bus_by.resume()
    c.quiet(90)
    c.check([anime(i) for i in range(60)])


def slow_by_lock(db, backend):
    connection = db.connect(autocommit=False)
    connection.execute("LOCK TABLE catalog.anime IN ACCESS EXCLUSIVE MODE")
    return connection.rollback


def slow_by_stop(db, backend):
    os.kill(backend, signal.SIGSTOP)
    return lambda: os.kill(backend, signal.SIGCONT)


@pytest.mark.chaos(fault="slow: beyond the timeouts", place="postgres", checks="points equal the events")
@pytest.mark.long  # waits out the timeouts
@pytest.mark.parametrize("slow", [slow_by_lock, slow_by_stop], ids=lambda s: s.__name__)
def test_postgres_beyond_the_timeouts(chain, spawn, db, slow):
    """A statement waits for longer than the server allows, or the backend stands still: both are given up."""
    c = chain()
    spawn("qdrant")
    c.publish(anime(1))
    c.quiet()
    end = slow(db, db.one("SELECT pid FROM pg_stat_activity WHERE usename = 'echora_catalogue' AND query ~* 'commit' "
                          "ORDER BY query_start DESC LIMIT 1"))
    try:
        c.publish(anime(2))
        c.change(1, year=2001)
        time.sleep(28)
    finally:
        end()
    c.quiet(90)
    c.check([changed(anime(1), year=2001), anime(2)])
