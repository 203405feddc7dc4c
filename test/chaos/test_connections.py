"""Connections to nats-server that end in ways of their own, or that are of no use."""
import pytest
from harness import servers
from harness.fixtures import TestNats, nats_version

CONNECTIONS = {"catalogue": 3, "relay": 1, "qdrant": 3}  # events, acknowledgements, requests


@pytest.mark.chaos(fault="connection cut: while the server greets", place="catalogue, relay, qdrant-sync",
                   checks="the worker becomes ready")
@pytest.mark.parametrize("kind,nth", [(kind, n) for kind, all_of_it in CONNECTIONS.items() for n in range(all_of_it)])
def test_lost_while_it_greets(kind, nth, db, streams, qdrant, proxy, spawn):
    """The first connection is lost between the server's greeting and its answer to CONNECT, as when it dies at that
    moment. That is an outage like any other, for each connection that a worker opens."""
    proxied = proxy(streams.server)
    rule = proxied.plan("cut", b"CONNECT", skip=nth, times=2)
    worker = spawn(kind, env={"ECHORA_NATS_URL": f"nats://127.0.0.1:{proxied.port}"}, wait=False)
    rule.wait(2)
    if kind == "qdrant":
        spawn("catalogue")  # which it asks
    worker.wait_ready()


@pytest.mark.chaos(fault="connection cut: for an error that nobody knows", place="relay",
                   checks="the worker leaves, exit code and words")
def test_closed_for_an_error_is_said_so(streams, db, proxy, spawn):
    """After an error that it does not know nats.c closes for good. The worker leaves, and does not blame its
    password."""
    proxied = proxy(streams.server)
    worker = spawn("relay", env={"ECHORA_NATS_URL": f"nats://127.0.0.1:{proxied.port}"})
    proxied.plan("lose-answer", b"PING", answer=b"-ERR 'Out of tea'\r\n")
    assert worker.wait() == 6
    log = worker.log.read_text()
    assert "nats-closed" in log and "Out of tea" in log and "nats-auth" not in log


@pytest.fixture
def without_acks(folder, echora_for):
    """A nats-server where no user has the right to acknowledge."""
    server = servers.Nats(folder, nats_version(), name="no-acks")
    conf = folder / "no-acks.conf"
    conf.write_text(conf.read_text().replace("$JS.ACK.ANIME_EVENTS.", "$JS.ACK.NONE."))
    server.start()
    handle = TestNats(server)
    echora_for(nats=handle)("streams", "apply", user="admin")
    yield handle
    handle.close()
    server.stop()


@pytest.mark.chaos(fault="rights missing: to acknowledge", place="nats", checks="the worker leaves, exit code and words")
def test_who_may_not_acknowledge_leaves(without_acks, db, spawn):
    """Else each event would come again for ever, and only the log would tell."""
    worker = spawn("catalogue", nats=without_acks)
    without_acks.bus("publisher").publish("anime.enriched", b"")
    assert worker.wait() == 5
    assert '"nats-permission"' in worker.log.read_text()
