"""The harness itself: what other tests take for granted."""
import pytest
from harness import settings
from harness.process import eventually

from ops.fleet import system


def test_servers_run_unprivileged(pg_server, nats_server):
    _, uid, _ = system.account()
    assert uid != 0
    for server in (pg_server, nats_server):
        with open(f"/proc/{server.pid}/status") as f:
            uids = next(line for line in f if line.startswith("Uid:")).split()[1:]
        assert set(uids) == {str(uid)}


def test_nats_version(nats_server):
    version = nats_server.get("/varz")["version"]
    assert version == ("2.14.5" if nats_server.which == "current" else "2.9.10")
    assert nats_server.get("/varz")["max_payload"] == 8 * 1024 * 1024


def test_databases_are_fresh_and_safe(db, pg_server):
    assert db.one("SELECT count(*) FROM pg_namespace WHERE nspname IN ('catalog', 'ops')") == 2
    assert db.one("SHOW fsync") == "on" and db.one("SHOW wal_level") == "replica"
    db.do("CREATE TABLE catalog.left_behind (x int)")
    other = pg_server.database()
    assert other.one("SELECT to_regclass('catalog.left_behind')") is None
    other.drop()


def test_killed_server_returns_with_its_data(db, pg_server):
    db.do("CREATE TABLE catalog.kept AS SELECT 7 AS x")
    pg_server.kill()
    assert not pg_server.alive()
    pg_server.start()
    assert db.one("SELECT x FROM catalog.kept") == 7


def test_streams_survive_kill_and_vanish_between_tests(nats):
    bus = nats.bus()
    bus.add_stream("KEPT", ["anime.enriched"])
    assert bus.publish("anime.enriched", b"x").seq == 1
    nats.server.restart(hard=True)
    eventually(lambda: bus.nc.is_connected, 5, "reconnected")
    assert bus.stream("KEPT").state.messages == 1


def test_streams_are_gone(nats):
    with pytest.raises(Exception, match="stream not found"):
        nats.bus().stream("KEPT")


def test_paused_server_is_silent(nats):
    bus = nats.bus()
    nats.server.pause()
    try:
        with pytest.raises(Exception):
            bus.request("$JS.API.INFO", timeout=0.3)
    finally:
        nats.server.resume()
    bus.request("$JS.API.INFO", timeout=3)


@pytest.mark.skipif(not settings.QDRANT_FRONT.exists(), reason="the Qdrant front is not there yet")
def test_qdrant_front_answers(qdrant):
    status, answer = qdrant.call("GET", "/collections")
    assert (status, answer["result"]["collections"]) == (200, [])
