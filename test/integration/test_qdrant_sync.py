"""The index follows the catalogue: whole chain, real servers, and a Qdrant that misbehaves on the way."""
import http.server
import json
import math
import random
import threading
import time

import pytest
from harness.chain import SYNC, Chain, anime, check_anime, emb, ident
from harness.process import Process, eventually
from harness.provider import MODEL, Provider
from harness.servers import http_get
from harness.settings import QDRANT_FRONT, VENV

from ops.fleet import system


@pytest.fixture
def chain(db, streams, qdrant, spawn, echora):
    return Chain(db, streams, qdrant, spawn, echora)


def test_points_equal_what_was_published(chain, spawn):
    worker = spawn("qdrant")
    character, episode = ident(2, 1), ident(3, 1)
    events = [anime(i) for i in range(40)]
    events.append(anime(40, nsfw=True, demographics=["Seinen"], synopsis="Bounty hunters.", titleJapanese="カウボーイ",
                        episodeCount=1,
                        characters=[{"id": character, "name": "Spike", "traits": ["smoker"], "nicknames": ["Bird"]}],
                        episodes=[{"id": episode, "episodeNumber": 0, "title": "Asteroid Blues", "score": 7.5},
                                  {"episodeNumber": 1, "title": "Stray Dog Strut"}]))
    answers = chain.publish(*events)
    chain.quiet()
    points = chain.points(vectors=True)
    assert len(points) == 41 + 1 + 2
    for event in events:
        check_anime(points[event["animeId"]][0], event)
    traces = {a["trace_id"] for a in answers}
    assert {p["trace"] for p, _ in points.values()} <= traces
    for payload, vectors in points.values():
        assert set(vectors) == {"dense", "bm25"} and len(vectors["dense"]) == 1024
        assert math.isclose(sum(x * x for x in vectors["dense"]), 1, abs_tol=1e-4)
    payload = points[character][0]
    assert (payload["entity_type"], payload["name"], payload["nsfw"]) == ("character", "Spike", True)
    assert payload["anime_ids"] == [ident(1, 40)] and payload["traits"] == ["smoker"]
    assert payload["emb"] == emb("character", events[-1]["characters"][0])
    payload = points[episode][0]
    assert (payload["entity_type"], payload["episode_number"], payload["nsfw"]) == ("episode", 0, True)
    assert payload["emb"] == emb("episode", events[-1]["episodes"][0])
    # Revisions are the catalogue's own.
    for kind in ("anime", "character", "episode"):
        for entity, revision in chain.db.all(f"SELECT id::text, revision FROM catalog.{kind}"):
            assert points[entity][0]["rev"] == revision
    assert chain.drift() == {"compared": 44}
    assert worker.metric("echora_qdrant_points_total", action="upsert") == 44
    # Nothing is written twice: the same events again change nothing.
    before = chain.points()
    chain.streams.bus().purge("ANIME_EVENTS")
    chain.publish(*events)
    chain.quiet()
    assert chain.points() == before


def test_any_order_and_any_repetition_end_alike(chain, spawn):
    """Every relayed event again, twice, shuffled, beside the originals: two workers, one end."""
    rng = random.Random(11)
    events = {i: anime(i, episodes=[{"episodeNumber": 1, "title": "One"}]) for i in range(15)}
    chain.publish(*events.values())
    for step in range(3):
        changes = []
        for i, event in events.items():
            event["anime"]["tags"] = event["anime"]["tags"] + [f"step {step}"]
            changes.append({"animeId": event["animeId"], "changedFields": ["tags"],
                            "anime": {"tags": event["anime"]["tags"]}})
        chain.publish(*changes, subject="anime.updated")
    for i in (3, 8):
        chain.ask("catalog.anime.delete", animeId=ident(1, i), reason="test", actor="test")
        events.pop(i)
    rows = 15 * 4 + 2
    eventually(lambda: chain.bus.stream("ANIME_SYNC").state.last_seq == rows, 30, "relayed")
    chain.relay.stop()
    copies = [m for m in chain.bus.messages("ANIME_SYNC") for _ in range(2)]
    rng.shuffle(copies)
    forger = chain.streams.bus("relay")
    for m in copies:
        forger.publish(m.subject, m.data, headers={k: v for k, v in m.headers.items() if not k.startswith("Nats-")})
    for _ in range(2):
        spawn("qdrant", argv=["--fetch-size=7", "--sync-step=5"])

    eventually(lambda: chain.bus.settled("ANIME_SYNC", *(f"qdrant-{name}" for name in SYNC)), 60, "all synced")
    living = chain.living()
    assert len(living) == 2 * 13
    for event in events.values():
        check_anime(living[event["animeId"]], event)
    assert not chain.dead_letters() and chain.drift() == {"compared": 26}


def test_payload_alone_keeps_vectors(chain, spawn):
    worker = spawn("qdrant")
    event = anime(1)
    chain.publish(event)
    chain.quiet()
    before = chain.points(vectors=True)[ident(1, 1)]
    chain.publish({"animeId": ident(1, 1), "changedFields": ["status", "year"],
                   "anime": {"status": "ANIME_STATUS_FINISHED", "year": 2001}}, subject="anime.updated")
    chain.quiet()
    after = chain.points(vectors=True)[ident(1, 1)]
    assert (after[0]["status"], after[0]["year"]) == ("FINISHED", 2001)
    assert after[0]["rev"] > before[0]["rev"] and after[0]["emb"] == before[0]["emb"] and after[1] == before[1]
    assert worker.metric("echora_qdrant_points_total", action="payload") == 1
    chain.publish({"animeId": ident(1, 1), "changedFields": ["tags"],
                   "anime": {"tags": ["space", "tag 1", "bounty"]}}, subject="anime.updated")
    chain.quiet()
    last = chain.points(vectors=True)[ident(1, 1)]
    assert last[0]["emb"] == emb("anime", {**event["anime"], "tags": ["space", "tag 1", "bounty"]})
    assert last[1]["dense"] != after[1]["dense"]


def test_deletion_covers_children_and_stays(chain, spawn):
    spawn("qdrant")
    shared, own = ident(2, 1), ident(2, 2)
    chain.publish(anime(1, characters=[{"id": shared, "name": "Both"}, {"id": own, "name": "Own"}],
                        episodes=[{"episodeNumber": n, "title": f"E{n}"} for n in range(3)]),
                  anime(2, nsfw=True, characters=[{"id": shared, "name": "Both"}]))
    chain.quiet()
    assert len(chain.living()) == 2 + 2 + 3 and chain.living()[shared]["nsfw"] is True
    chain.ask("catalog.anime.delete", animeId=ident(1, 1), reason="test", actor="test")
    chain.quiet()
    assert set(chain.living()) == {ident(1, 2), shared}
    gone = chain.points()[ident(1, 1)]
    assert gone["deleted"] is True and gone["rev"] > 0
    assert chain.drift() == {"compared": 2}
    # A late, stale upsert finds the tombstone.
    stale = {"points": [{"id": ident(1, 1), "vector": {}, "payload": {"rev": gone["rev"] - 1, "title": "stale"}}],
             "update_filter": {"should": [{"is_empty": {"key": "rev"}},
                                          {"key": "rev", "range": {"lt": gone["rev"] - 1}}]}}
    assert chain.qdrant.call("PUT", "/collections/anime_database/points?wait=true", stale)[0] == 200
    assert chain.points()[ident(1, 1)] == gone
    chain.ask("catalog.anime.restore", animeId=ident(1, 1), reason="test", actor="test")
    chain.quiet()
    assert len(chain.living()) == 7 and chain.drift() == {"compared": 7}


def test_slow_writer_meets_the_tombstone(chain, spawn):
    """An upsert hangs on its way; meanwhile another worker learns of the deletion. The deletion stays."""
    spawn("qdrant")
    spawn("qdrant")
    chain.publish(anime(1))
    chain.quiet()
    chain.qdrant.faults({"action": "delay", "delay_ms": 4000, "method": "POST", "path": "*/points/batch", "times": 1},
                        {"action": "delay", "delay_ms": 4000, "method": "PUT", "path": "*/points", "times": 1})
    chain.publish({"animeId": ident(1, 1), "changedFields": ["tags"], "anime": {"tags": ["space", "tag 1", "late"]}},
                  subject="anime.updated")
    eventually(lambda: chain.bus.stream("ANIME_SYNC").state.last_seq == 2, 10, "relayed")
    time.sleep(0.5)
    chain.ask("catalog.anime.delete", animeId=ident(1, 1), reason="test", actor="test")
    chain.quiet()
    time.sleep(5)
    assert chain.points()[ident(1, 1)]["deleted"] is True and not chain.living()


def test_merged_anime_leaves_a_tombstone(chain, spawn):
    spawn("qdrant")
    chain.publish(anime(1, episodes=[{"episodeNumber": 1, "title": "One"}]), anime(2))
    chain.quiet()
    chain.ask("catalog.anime.delete", animeId=ident(1, 1), mergeInto=ident(1, 2), reason="test", actor="test")
    chain.quiet()
    assert chain.points()[ident(1, 1)]["deleted"] is True and ident(1, 2) in chain.living()
    counts = chain.drift()
    assert set(counts) == {"compared"}, counts
    # An index that has lost the tombstone (an older copy came back) gets it again.
    chain.qdrant.call("POST", "/collections/anime_database/points/payload?wait=true",
                      {"payload": {"deleted": False, "rev": 1}, "points": [ident(1, 1)]})
    assert chain.drift() == {**counts, "surplus": 1}
    chain.drift(repair=True)
    chain.quiet()
    assert chain.drift() == counts and chain.points()[ident(1, 1)]["deleted"] is True


FAULTS = [
    {"action": "status", "status": 500, "times": 3},
    {"action": "status", "status": 429, "retry_after": 1, "times": 2},
    {"action": "acknowledged", "method": "PUT", "times": 2},
    {"action": "acknowledged-lost", "method": "PUT", "times": 2},
    {"action": "wait-timeout", "method": "PUT", "times": 2},
    {"action": "drop-before", "times": 3},
    {"action": "drop-after", "method": "PUT", "times": 2},
    {"action": "garbage", "times": 2},
    {"action": "delay", "delay_ms": 700, "times": 3},
    {"action": "status", "status": 404, "times": 1},
    {"action": "status", "status": 400, "method": "POST", "times": 3},  # reads
]


def test_misbehaving_qdrant_costs_nothing(chain, spawn):
    spawn("qdrant")
    events = []
    for round_, fault in enumerate(FAULTS):
        chain.qdrant.faults({**fault, "path": "*/points*"})
        events += [anime(round_ * 10 + i) for i in range(10)]
        chain.publish(*events[-10:])
        # A write that took place in spite of its answer is found done, and not sent a second time.
        least = 1 if fault["action"] in ("acknowledged", "wait-timeout", "drop-after") else fault["times"]
        eventually(lambda: chain.qdrant.call("GET", "/_front/faults")[1]["rules"][0]["hits"] >= least,
                   30, f"{fault} was met")
        chain.quiet()
        chain.qdrant.faults()
        assert len(chain.living()) == len(events), fault
    points = chain.points()
    for event in events:
        check_anime(points[event["animeId"]], event)
    assert not chain.dead_letters() and chain.drift() == {"compared": len(events)}


def test_one_bad_point_is_rejected_alone(chain, spawn):
    worker = spawn("qdrant")
    chain.qdrant.faults({"action": "status", "status": 400, "method": "PUT", "path": "*/points", "contains": "Cursed"})
    chain.publish(*[anime(i, **({"title": "Cursed"} if i == 13 else {})) for i in range(30)])
    chain.quiet()
    assert len(chain.living()) == 29
    letters = chain.dead_letters()
    assert [(m.headers["Echora-Dlq-Code"], m.headers["Echora-Dlq-Entity"]) for m in letters] == [
        ("http-400", ident(1, 13))]
    assert letters[0].subject == "anime.dlq.qdrant-anime-created"
    assert chain.drift() == {"compared": 30, "missing": 1}
    chain.qdrant.faults()
    assert chain.drift(repair=True)["enqueued"] == 1
    chain.quiet()
    assert chain.drift() == {"compared": 30} and worker.is_ready()


def test_a_document_that_fits_no_reply_is_rejected_alone(chain, spawn):
    """Two events made it larger than a message may be; what the batch holds beside it is indexed."""
    chain.publish(*[anime(i) for i in range(20)], anime(20, synopsis="s" * 5_000_000))
    chain.change(20, background="b" * 5_000_000)
    chain.publish(*[anime(i, episodes=[{"episodeNumber": 1, "title": "One"}]) for i in range(21, 30)])
    eventually(lambda: chain.bus.stream("ANIME_SYNC").state.last_seq == 31, 30, "relayed")
    spawn("qdrant")
    chain.quiet(60)
    assert {(m.headers["Echora-Dlq-Entity"], m.headers["Echora-Dlq-Code"]) for m in chain.dead_letters()} == {
        (ident(1, 20), "reply-too-large")}
    assert len(chain.living()) == 29 + 9


def test_kills_on_both_sides(chain, spawn):
    events = [anime(i) for i in range(600)]
    workers = [spawn("qdrant", argv=["--fetch-size=16"])]
    chain.publish(*events)
    rng = random.Random(7)
    for _ in range(3):
        eventually(lambda: len(chain.points()) > 0, 20, "some points")
        time.sleep(rng.random())
        chain.qdrant.kill()
        eventually(lambda: not workers[-1].is_ready(), 5, "not ready without Qdrant")
        chain.qdrant.start()
        eventually(workers[-1].is_ready, 10, "ready again")
        time.sleep(rng.random())
        workers[-1].kill()
        workers.append(spawn("qdrant", argv=["--fetch-size=16"]))
    chain.quiet(90)
    points = chain.points()
    assert len(points) == 600
    for event in events:
        check_anime(points[event["animeId"]], event)
    assert not chain.dead_letters() and chain.drift() == {"compared": 600}


def test_reconcile_counts_and_repairs(chain, spawn):
    spawn("qdrant")
    chain.publish(*[anime(i) for i in range(30)])
    chain.quiet()
    good = chain.points()
    put = "/collections/anime_database/points"

    def set_payload(i, **fields):
        chain.qdrant.call("POST", put + "/payload?wait=true", {"payload": fields, "points": [ident(1, i)]})

    chain.qdrant.call("POST", put + "/delete?wait=true", {"points": [ident(1, 0), ident(1, 29)]})
    set_payload(3, rev=0)
    set_payload(4, emb="pending")
    set_payload(5, rev=10 ** 6)
    chain.qdrant.call("PUT", put + "?wait=true", {"points": [
        {"id": ident(1, 999), "vector": {}, "payload": {"entity_type": "anime", "rev": 3, "emb": "x"}},
        {"id": ident(1, 998), "vector": {}, "payload": {"entity_type": "anime", "rev": 3, "deleted": True}}]})
    assert chain.drift() == {"compared": 30, "missing": 2, "stale": 1, "surplus": 2, "pending": 1}
    assert chain.drift(kind="character") == {}
    assert chain.drift(kind="anime", fromId=ident(1, 1), toId=ident(1, 4)) == {
        "compared": 4, "stale": 1, "pending": 1}
    chain.drift(repair=True)
    chain.quiet()
    # What the catalogue never had, and what claims to be newer than it, is left to people.
    assert chain.drift() == {"compared": 30, "surplus": 2}
    now = chain.points()
    for i in set(range(30)) - {5}:
        same = {k: v for k, v in good[ident(1, i)].items() if k != "trace"}
        assert {k: v for k, v in now[ident(1, i)].items() if k != "trace"} == same


def test_repair_keeps_to_its_rate_and_ends_with_the_worker(chain, spawn):
    worker = spawn("qdrant")
    chain.publish(*[anime(i) for i in range(12)])
    chain.quiet()
    gone = {"points": [ident(1, i) for i in range(12)]}
    chain.qdrant.call("POST", "/collections/anime_database/points/delete?wait=true", gone)
    start = time.monotonic()
    assert chain.drift(repair=True, rate=5)["enqueued"] == 12
    assert time.monotonic() - start >= 2
    chain.quiet()
    assert chain.drift() == {"compared": 12}
    chain.qdrant.call("POST", "/collections/anime_database/points/delete?wait=true", gone)
    rows, answers = chain.db.one("SELECT count(*) FROM outbox"), []
    body = json.dumps({"repair": True, "rate": 1}).encode()
    asked = threading.Thread(target=lambda: answers.append(chain.streams.bus("operator").request(
        "catalog.reconcile", body, timeout=30, headers={"Content-Type": "application/json"})))
    asked.start()
    eventually(lambda: chain.db.one("SELECT count(*) FROM outbox") > rows, 20, "the first of them")
    worker.stop()
    asked.join()
    assert answers[0].headers["Nats-Service-Error-Code"] == "stopping"
    assert chain.db.one("SELECT count(*) FROM outbox") < rows + 12


def test_provider_away_is_pending_and_repaired(chain, spawn):
    provider = Provider()
    try:
        provider.mode = "away"
        worker = spawn("qdrant", argv=provider.argv())
        events = [anime(i) for i in range(12)]
        chain.publish(*events[:6])
        chain.quiet()
        provider.mode = "dimension"
        chain.publish(*events[6:])
        chain.quiet()
        points = chain.points(vectors=True)
        assert len(points) == 12 and worker.is_ready()
        assert all(p["emb"] == "pending" and set(v) == {"bm25"} for p, v in points.values())
        assert chain.drift() == {"compared": 12, "pending": 12}
        provider.mode = "there"
        time.sleep(6)  # the longest pause of its breaker
        assert chain.drift(repair=True)["enqueued"] == 12
        chain.quiet()
        points = chain.points(vectors=True)
        for event in events:
            check_anime(points[event["animeId"]][0], event, MODEL)
            assert set(points[event["animeId"]][1]) == {"bm25", "dense"}
        assert chain.drift() == {"compared": 12}
    finally:
        provider.close()


def test_another_provider_is_refused_by_name(chain, spawn):
    first = spawn("qdrant")
    first.stop()
    other = spawn("qdrant", argv=["--embed-provider=none"], wait=False)
    assert other.wait(10) == 4
    assert "qdrant-schema" in other.text() and "--collection" in other.text()
    spawn("qdrant", argv=["--embed-provider=none", "--collection=anime_database_v2"])
    chain.publish(anime(1))
    chain.quiet()
    reply = chain.qdrant.call("POST", "/collections/anime_database_v2/points", {"ids": [ident(1, 1)], "with_vector": True})
    point = reply[1]["result"][0]
    assert set(point["vector"]) == {"bm25"}
    check_anime(point["payload"], anime(1), "none/1")
    names = [c["name"] for c in chain.qdrant.call("GET", "/collections")[1]["result"]["collections"]]
    assert names == ["anime_database_v1", "anime_database_v2"]
    aliases = chain.qdrant.call("GET", "/aliases")[1]["result"]["aliases"]
    assert aliases == [{"alias_name": "anime_database", "collection_name": "anime_database_v1"}]


def test_a_catalogue_that_went_back_in_time_is_waited_for(chain, spawn):
    chain.publish(anime(1), anime(2))
    eventually(lambda: chain.bus.stream("ANIME_SYNC").state.last_seq == 2, 20, "relayed")
    chain.db.do("UPDATE catalog.anime SET revision = revision - 1000")
    worker = spawn("qdrant")
    worker.wait_log("stale-read", 20)
    assert chain.points() == {}
    chain.db.do("UPDATE catalog.anime SET revision = revision + 1000")
    chain.quiet(60)
    assert len(chain.living()) == 2 and not chain.dead_letters()


def test_a_catalogue_that_cannot_serve_is_waited_for(chain, spawn):
    """It leaves over a missing right, and says so in its last answer: that ends nobody else."""
    chain.publish(anime(1))
    eventually(lambda: chain.bus.stream("ANIME_SYNC").state.last_seq == 1, 20, "relayed")
    chain.db.do("REVOKE SELECT ON catalog.anime_document FROM echora_catalogue")
    worker = spawn("qdrant", wait=False)
    assert chain.catalogue.wait(20) == 4
    chain.db.do("GRANT SELECT ON catalog.anime_document TO echora_catalogue")
    chain.catalogue.start()
    worker.wait_ready()
    chain.quiet(60)
    assert len(chain.living()) == 1 and not chain.dead_letters()


class OldServer(http.server.BaseHTTPRequestHandler):
    """Answers as a Qdrant that does not know update_filter."""

    def do_GET(self):
        out = json.dumps({"title": "qdrant - vector search engine", "version": "1.15.3"}).encode()
        if self.path != "/":
            out = json.dumps({"result": {"exists": True}, "status": "ok", "time": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(out)))
        self.end_headers()
        self.wfile.write(out)

    def log_message(self, *args):
        pass


def test_an_old_server_is_refused(streams, spawn):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OldServer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}"
        worker = spawn("qdrant", env={"ECHORA_QDRANT_URL": url}, wait=False)
        assert worker.wait(20) == 4 and "qdrant-version" in worker.text() and "1.15.3" in worker.text()
    finally:
        server.shutdown()


def test_the_api_key_is_sent_and_its_lack_is_fatal(streams, folder, spawn):
    key, port = folder / "key", system.free_port()
    system.write_private(key, "secret-of-qdrant\n")
    data = folder / "keyed"
    data.mkdir()
    system.own(data)
    front = Process("keyed-front", [VENV / "bin/python", QDRANT_FRONT, "--listen", f"127.0.0.1:{port}",
                                    "--data", data, "--api-key-file", key], folder,
                    ready=lambda: http_get(f"http://127.0.0.1:{port}/readyz")[0] == 200)
    front.start()
    try:
        url = f"http://127.0.0.1:{port}"
        without = spawn("qdrant", env={"ECHORA_QDRANT_URL": url}, wait=False)
        assert without.wait(20) == 5 and "http-401" in without.text()
        worker = spawn("qdrant", env={"ECHORA_QDRANT_URL": url, "ECHORA_QDRANT_API_KEY_FILE": str(key)}, wait=False)
        eventually(lambda: "qdrant" not in worker.http("/readyz")[1], 20, "Qdrant answers with the key")
        assert "secret-of-qdrant" not in worker.text()
    finally:
        front.stop()
