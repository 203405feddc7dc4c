"""`echora doctor` tells beforehand what the relay would refuse: a stream or a database that is not the one it knew."""
import pytest
from harness.chain import Chain, anime


@pytest.fixture
def chain(db, streams, qdrant, spawn, echora):
    chain = Chain(db, streams, qdrant, spawn, echora)
    spawn("qdrant")
    for i in range(3):  # a batch each
        chain.publish(anime(i))
        chain.quiet()
    return chain


def epochs(chain):
    return next(c for c in chain.echora("doctor", "--json", ok=False).json if c["check"] == "epochs")


def recreated(chain):
    chain.bus.wait(chain.bus.js.delete_stream("ANIME_SYNC"))
    chain.echora("streams", "apply", user="admin")


def gone(chain):
    chain.bus.wait(chain.bus.js.delete_stream("ANIME_SYNC"))


def restored_to_earlier(chain):
    chain.db.do("DELETE FROM catalog.outbox_batch WHERE batch > (SELECT max(batch) - 2 FROM catalog.outbox_batch)")


def restored_to_the_batch_before(chain):
    newest = chain.db.one("SELECT max(batch) FROM catalog.outbox_batch")
    chain.db.do("DELETE FROM catalog.outbox WHERE id >= (SELECT first_id FROM catalog.outbox_batch WHERE batch = %s)", newest)
    chain.db.do("DELETE FROM catalog.outbox_batch WHERE batch = %s", newest)


def of_another_cluster(chain):
    chain.db.do("UPDATE catalog.outbox_lane SET system_identifier = 1 WHERE stream = 'ANIME_SYNC'")


def stream_restored_to_earlier(chain):
    chain.db.do("UPDATE catalog.outbox_batch SET start_sequence = start_sequence + 100")


def test_what_belongs_together_is_fine(chain):
    check = epochs(chain)
    assert check["state"] == "ok" and "belong together" in check["text"]
    chain.relay.stop()
    assert epochs(chain)["state"] == "ok"
    # Published, and the relay died before it noted so: it goes on from there.
    chain.db.do("DELETE FROM catalog.outbox_batch WHERE batch = (SELECT max(batch) FROM catalog.outbox_batch)")
    assert epochs(chain)["state"] == "ok"
    chain.relay.start()


@pytest.mark.parametrize(("happens", "code"), [
    (recreated, "epoch-stream"), (gone, "epoch-stream"), (restored_to_earlier, "epoch-database"),
    (restored_to_the_batch_before, "epoch-database"),
    (of_another_cluster, "epoch-database"), (stream_restored_to_earlier, "epoch-stream")])
def test_what_does_not_is_told_with_its_runbook(chain, happens, code):
    chain.relay.stop()
    happens(chain)
    check = epochs(chain)
    assert check["state"] == "FAIL" and f"[{code}]" in check["text"] and "ANIME_SYNC" in check["text"]
    assert "ops/runbooks/relay-refused.md" in check["mend"]
    if happens is not gone:  # without its stream the relay waits
        refused = chain.relay.start(wait=False)
        assert refused.wait(20) == 8 and code in refused.text()
