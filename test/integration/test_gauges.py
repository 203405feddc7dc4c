"""What alerts watch: gauges of consumers, streams, outbox, dead letters and owed vectors say what is there."""
import math

from harness import outbox
from harness.catalogue import Catalogue, anime, new_id
from harness.chain import Chain, ident
from harness.chain import anime as numbered
from harness.dead_letters import DeadLetters
from harness.process import eventually
from harness.provider import Provider

CONSUMER = {"stream": "ANIME_EVENTS", "consumer": "catalog-enriched"}


def test_consumers_and_streams(streams, db, spawn, echora):
    catalogue, worker = Catalogue(streams, db), spawn("catalogue")
    assert worker.metric("echora_ready") == 1
    echora("pause", "catalog-enriched", "--reason", "a test")
    for _ in range(3):
        catalogue.enriched(new_id(), anime())
    eventually(lambda: worker.metric("echora_consumer_pending", **CONSUMER) == 3, 30, "three wait")
    assert worker.metric("echora_consumer_in_hand_limit", **CONSUMER) == 4096
    eventually(lambda: worker.metric("echora_stream_messages", stream="ANIME_EVENTS") == 3, 30, "three are stored")
    state = streams.bus("admin").stream("ANIME_EVENTS")
    assert worker.metric("echora_stream_bytes", stream="ANIME_EVENTS") == state.state.bytes
    full = worker.metric("echora_stream_full_ratio", stream="ANIME_EVENTS")
    assert math.isclose(full, state.state.bytes / state.config.max_bytes)
    echora("resume", "catalog-enriched")
    eventually(lambda: worker.metric("echora_consumer_pending", **CONSUMER) == 0, 30, "none waits")
    streams.server.stop()
    eventually(lambda: math.isnan(worker.metric("echora_consumer_pending", **CONSUMER))
               and math.isnan(worker.metric("echora_stream_full_ratio", stream="ANIME_EVENTS")), 30, "nothing is known")
    eventually(lambda: worker.metric("echora_ready") == 0, 10, "not ready")
    streams.server.start()
    eventually(lambda: worker.metric("echora_consumer_pending", **CONSUMER) == 0, 30, "known again")


def test_events_in_hand(streams, db, spawn):
    catalogue, worker = Catalogue(streams, db), spawn("catalogue")
    with db.connect("echora_owner", autocommit=False) as lock:
        lock.execute("LOCK TABLE catalog.inbox")
        catalogue.enriched(new_id(), anime())
        eventually(lambda: worker.metric("echora_consumer_in_hand", **CONSUMER) == 1, 30, "one is in hand")
    catalogue.settle()
    eventually(lambda: worker.metric("echora_consumer_in_hand", **CONSUMER) == 0, 30, "none is in hand")


def test_rows_that_wait_behind_a_batch(db, streams, spawn):
    relay = spawn("relay", argv=["--housekeeping=200ms"])
    with db.connect("echora_catalogue") as writer:
        outbox.fill(writer, 1)
        eventually(lambda: outbox.stored(streams.bus("admin"), "ANIME_SYNC") == 1, 20, "relayed")
        streams.server.stop()
        for _ in range(3):
            outbox.fill(writer, 10)
    # What the relay took before it saw that nobody takes it stands in its batch.
    eventually(lambda: relay.metric("echora_outbox_waiting_rows", outbox="catalog", stream="ANIME_SYNC")
               + relay.metric("echora_relay_lag_rows", stream="ANIME_SYNC") == 30, 30, "thirty wait")
    eventually(lambda: relay.metric("echora_outbox_waiting_seconds", stream="ANIME_SYNC")
               + relay.metric("echora_relay_lag_seconds", stream="ANIME_SYNC") > 1, 30, "and grow old")
    streams.server.start()
    eventually(lambda: relay.metric("echora_outbox_waiting_rows") == 0, 30, "none waits")
    eventually(lambda: outbox.stored(streams.bus("admin"), "ANIME_SYNC") == 31, 20, "all are relayed")


def test_dead_letters_and_plans(db, streams, spawn):
    dlq, worker = DeadLetters(streams), spawn("dead-letters")
    for n in range(1, 4):
        dlq.write(n, code="bad-uuid")
    dlq.write(4, code="pg-23503", kind="retry-exhausted")
    dlq.write(5, code="bad-uuid", parked=True)

    def letters(state):
        return worker.metric("echora_dead_letters", state=state)
    eventually(lambda: letters("open") == 4, 40, "counted")
    assert letters("parked") == 1 and letters("replayed") == 0
    assert worker.metric("echora_dead_letters_open", consumer="catalog-updated", **{"class": "reject", "code": "bad-uuid"}) == 3
    assert worker.metric("echora_dead_letters_open", consumer="catalog-updated", **{"class": "retry-exhausted", "code": "pg-23503"}) == 1
    assert worker.metric("echora_dead_letters_oldest_timestamp_seconds") == 1767229260  # 2026-01-01T01:01:00Z
    dlq.finished(dlq.replay("discard", filter={"code": "pg-23503"})["id"])
    plan = dlq.replay(filter={"code": "bad-uuid"}, canary=True, waitSeconds=1)["id"]  # nobody takes it
    eventually(lambda: dlq.plan(plan)["state"] == "stopped", 20, "stopped")
    eventually(lambda: worker.metric("echora_replay_plans", state="canary") == 1, 40, "told")
    assert worker.metric("echora_replay_plans", state="running") == 0 and letters("discarded") == 1
    assert worker.metric("echora_dead_letters_open", consumer="catalog-updated", **{"class": "retry-exhausted", "code": "pg-23503"}) == 0


def test_drift_and_owed_vectors(db, streams, qdrant, spawn, echora):
    chain, provider = Chain(db, streams, qdrant, spawn, echora), Provider()
    try:
        provider.mode = "away"
        worker = spawn("qdrant", argv=[*provider.argv(), "--repair-interval=3s"])
        assert worker.metric("echora_repair_drift_total") == 0
        chain.publish(*[numbered(i) for i in range(4)])
        chain.quiet()
        assert worker.metric("echora_qdrant_vectors_owed") == 1
        provider.mode = "there"
        eventually(lambda: worker.metric("echora_qdrant_vectors_owed") == 0, 60, "made")
        assert worker.metric("echora_repair_drift_total", drift="pending") >= 4
        status, _ = qdrant.call("POST", "/collections/anime_database/points/delete?wait=true",
                                {"points": [ident(1, 2)]})
        assert status == 200
        eventually(lambda: worker.metric("echora_repair_drift_total", drift="missing") == 1, 60, "found")
    finally:
        provider.close()
