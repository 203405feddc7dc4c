"""Drift repair: by itself, by request in pages, throttled."""
import json
import time

import pytest
from harness.chain import Chain, anime, ident
from harness.process import eventually, steady
from harness.provider import MODEL, Provider


@pytest.fixture
def chain(db, streams, qdrant, spawn, echora):
    return Chain(db, streams, qdrant, spawn, echora)


def lose(chain, *numbers):
    """Takes points out of the index behind everybody's back."""
    status, _ = chain.qdrant.call("POST", "/collections/anime_database/points/delete?wait=true",
                                  {"points": [ident(1, i) for i in numbers]})
    assert status == 200


def repairs(chain):
    return sum("Echora-Repair" in (headers or {}) for _, _, headers, _ in chain.bus.read("ANIME_SYNC"))


def passes(*workers):
    return sum(w.metric("echora_repair_passes_total") for w in workers)


def test_two_workers_share_the_scheduled_passes(chain, spawn):
    workers = [spawn("qdrant", argv=["--repair-interval=3s"]) for _ in range(2)]
    chain.publish(*[anime(i) for i in range(30)])
    chain.quiet()
    lose(chain, *range(0, 30, 2))
    eventually(lambda: len(chain.living()) == 30, 30, "repaired without a request")
    chain.quiet()
    chain.check([anime(i) for i in range(30)])
    assert repairs(chain) == 15
    before = passes(*workers)
    eventually(lambda: passes(*workers) > before, 30, "another pass")
    assert repairs(chain) == 15
    note = json.loads(chain.bus.wait(chain.bus.js.get_last_msg(
        "KV_echora_control", "$KV.echora_control.repair.anime_database_v1")).data)
    assert note["started"] > time.time() - 600


def test_no_schedule_no_repair(chain, spawn):
    worker = spawn("qdrant", argv=["--repair-interval=0s"])
    chain.publish(*[anime(i) for i in range(3)])
    chain.quiet()
    lose(chain, 1)
    steady(lambda: len(chain.living()) == 2 and passes(worker) == 0, 4, "left alone")


@pytest.mark.parametrize("restarted", [False, True])
def test_vectors_that_are_owed_are_made_when_the_provider_is_back(chain, spawn, restarted):
    provider = Provider()
    try:
        provider.mode = "away"
        worker = spawn("qdrant", argv=provider.argv())
        chain.publish(*[anime(i) for i in range(6)])
        chain.quiet()
        assert {p["emb"] for p in chain.points().values()} == {"pending"}
        if restarted:
            worker.restart()
        provider.mode = "there"
        eventually(lambda: not any(p["emb"] == "pending" for p in chain.points().values()), 60, "vectors made")
        chain.quiet()
        chain.check([anime(i) for i in range(6)], MODEL)
        assert repairs(chain) == 6
    finally:
        provider.close()


def test_without_a_bucket_the_index_is_served_all_the_same(chain, spawn):
    chain.bus.wait(chain.bus.js.delete_stream("KV_echora_control"))
    worker = spawn("qdrant", argv=["--repair-interval=3s"])
    worker.wait_log("repair can't note how far it is", 20)
    chain.publish(anime(1))
    chain.quiet()
    assert worker.is_ready() and len(chain.living()) == 1


def test_pages_add_up_to_the_whole(chain, spawn, streams):
    spawn("qdrant")
    chain.publish(*[anime(i) for i in range(25)])
    chain.quiet()
    lose(chain, 0, 9, 10, 24)
    whole = chain.drift(kind="anime")
    assert whole == {"compared": 25, "missing": 4}
    total, start, pages = {}, "", 0
    while True:
        page = chain.ask("catalog.reconcile", kind="anime", fromId=start, limit=10)
        start = page.pop("nextId", "")
        for name, number in page.items():
            total[name] = total.get(name, 0) + int(number)
        pages += 1
        if not start:
            break
    assert (total, pages) == (whole, 3)
    refused = streams.bus("operator").request("catalog.reconcile", b'{"limit":5}',
                                              headers={"Content-Type": "application/json"})
    assert refused.headers["Nats-Service-Error-Code"] == "bad-kind"


def test_repair_keeps_to_its_rate_and_its_range(chain, spawn, echora):
    spawn("qdrant")
    chain.publish(*[anime(i) for i in range(60)])
    chain.quiet()
    lose(chain, *range(60))
    left = echora("reconcile", "--repair", "--json", "--from", ident(1, 0), "--to", ident(1, 9)).json
    assert (left["compared"], left["missing"], left["enqueued"]) == (10, 10, 10)
    chain.quiet()
    began = time.monotonic()
    report = echora("reconcile", "--repair", "--rate", "20", "--json", timeout=120).json
    assert time.monotonic() - began >= 2 and report["enqueued"] == 50
    chain.quiet()
    assert echora("reconcile").code == 0 and len(chain.living()) == 60
    assert echora("reconcile", "--from", "cheese", ok=False).code == 2
