"""`echora pause` and `resume`, and the bucket behind them."""
import json
import signal
import subprocess

import pytest
from harness.catalogue import DURABLES, Catalogue, anime, new_id
from harness.pausing import OTHER, PAUSED, run_paused, waiting
from harness.process import eventually
from harness.settings import BUILD


def test_a_paused_consumer_fetches_nothing_through_restarts(streams, db, spawn, echora):
    worker = run_paused(streams, db, spawn, echora)
    assert json.loads(worker.http("/readyz")[1])["paused"] == []
    assert worker.metric("echora_consumer_paused") == 0


def test_a_pause_is_seen_everywhere(streams, db, spawn, echora):
    worker = spawn("catalogue")
    echora("pause", "catalogue", OTHER, "--reason", "disk is\tfull ☂")
    eventually(lambda: worker.metric("echora_consumer_paused", stream="ANIME_EVENTS") == 5, 10, "five are paused")
    assert worker.is_ready() and sorted(json.loads(worker.http("/readyz")[1])["paused"]) == sorted(DURABLES.values())
    status = {c["name"]: c["paused"] for c in echora("status", "--json", user="viewer", ok=False).json["consumers"]}
    assert status[PAUSED]["why"].endswith(": disk is full ☂") and status["qdrant-anime-synced"] is None
    assert "paused since" in echora("status", ok=False).out
    check = {c["check"]: c for c in echora("doctor", "--json", ok=False).json}["paused"]
    assert check["state"] == "warn" and PAUSED in check["text"] and "echora resume" in check["mend"]
    echora("resume", "catalogue")
    eventually(lambda: worker.metric("echora_consumer_paused") == 0, 10, "nothing is paused")
    said = [(line["msg"], line["consumer"]) for line in worker.logs() if "consumer" in line]
    assert ("consumer paused, its fetching stops", PAUSED) in said
    assert ("consumer resumed, its fetching goes on", PAUSED) in said


def test_plain_key_value_tools_pause_too(streams, db, spawn):
    """As `nats kv put echora_control paused.catalog-enriched why` does."""
    catalogue = Catalogue(streams, db)
    worker = spawn("catalogue")
    operator = streams.bus("operator")
    bucket = operator.wait(operator.js.key_value("echora_control"))
    operator.wait(bucket.put(f"paused.{PAUSED}", b"\xff" * 2000))
    eventually(lambda: worker.metric("echora_consumer_paused", consumer=PAUSED) == 1, 10, "paused")
    operator.wait(bucket.delete(f"paused.{PAUSED}"))
    eventually(lambda: worker.metric("echora_consumer_paused", consumer=PAUSED) == 0, 10, "resumed")
    operator.wait(bucket.put(f"paused.{PAUSED}", b""))
    eventually(lambda: worker.metric("echora_consumer_paused", consumer=PAUSED) == 1, 10, "paused without a reason")
    catalogue.bus.wait(catalogue.bus.js.delete_stream("KV_echora_control"))
    eventually(lambda: worker.metric("echora_consumer_paused", consumer=PAUSED) == 0, 10, "no bucket, no pause")
    catalogue.enriched(new_id(), anime())
    catalogue.settle()


def test_a_pause_without_workers(streams, echora):
    assert echora("pause", PAUSED, "--reason", "none runs", "--json").json["quiet"]
    assert echora("pause", "qdrant", "--reason", "no waiting", "--wait", "0s").out.count(" paused\n") == 5


def test_who_may_pause_what(streams, nats, echora):
    assert echora("pause", PAUSED, ok=False).code == 2  # no reason
    for name in ("relay", "cheese"):
        wrong = echora("pause", name, "--reason", "x", ok=False)
        assert wrong.code == 2 and f"{name} is no consumer" in wrong.err
    refused = echora("pause", PAUSED, "--reason", "x", user="viewer", ok=False)
    assert refused.code == 1 and "nats-permission" in refused.err
    nats.bus().delete_streams()
    absent = echora("resume", PAUSED, ok=False)
    assert absent.code == 1 and "echora streams apply" in absent.err


def test_a_worker_waits_until_it_may_know(streams, db, spawn, echora):
    """A paused consumer's events stay where they are also when the worker starts before it can read the bucket."""
    catalogue = Catalogue(streams, db)
    echora("pause", PAUSED, "--reason", "x", "--wait", "0s")
    catalogue.enriched(new_id(), anime())
    streams.server.kill()
    worker = spawn("catalogue", wait=False)
    streams.server.start()
    eventually(worker.is_ready, 20, "ready")
    known = new_id()
    catalogue.updated(known, ["year"], anime(year=2001))
    eventually(lambda: catalogue.bus.settled("ANIME_EVENTS", OTHER), 20, "the other consumer works")
    assert waiting(catalogue, PAUSED) == 1


@pytest.mark.parametrize("argv", [("--json",), ("--color", "always")])
def test_status_is_shown_again_until_interrupted(streams, echora, argv):
    shown = subprocess.Popen([BUILD / "ops/echora", "status", "--watch", "--interval", "300ms", *argv],
                             env=echora.environment(), stdout=subprocess.PIPE, text=True)
    mark = '{"streams"' if argv[0] == "--json" else "\033[H\033[2J"
    seen = ""
    while seen.count(mark) < 3:
        part = shown.stdout.read(100)
        assert part, f"it ended: {seen}"
        seen += part
    shown.send_signal(signal.SIGINT)
    shown.stdout.read()
    assert shown.wait(20) == 0
