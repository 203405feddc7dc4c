"""The CLI's looks at a running chain: follow, get, search, status, reconcile, doctor."""
import json
import re
import time
import uuid

import pytest

from harness.process import eventually

TITLE = "Cowboy Bebop"


def event(n, **anime):
    return {"animeId": str(uuid.UUID(int=(0x0190 << 112) + (7 << 76) + (8 << 60) + n)),
            "anime": {"title": f"{TITLE} {n}", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_ONGOING",
                      "synopsis": "Bounty hunters in space.", "year": 1998,
                      "sources": [f"https://myanimelist.net/anime/{1000 + n}"], **anime}}


@pytest.fixture
def chain(db, streams, qdrant, spawn, echora):
    workers = {kind: spawn(kind) for kind in ("catalogue", "relay", "qdrant")}
    workers["echora"] = echora
    return workers


def stations(result):
    return {s["station"]: s for s in result.json["stations"]}


def test_follow_an_event_and_its_anime_to_the_point(chain):
    echora = chain["echora"]
    sent = echora("publish", "anime.enriched", "--json", input=json.dumps(event(1))).json
    result = echora("follow", sent["event_id"], "--json", "--wait", "15s")
    seen = stations(result)
    assert list(seen) == ["received", "written", "outbox", "relayed", "indexed"]
    assert result.json["state"] == "done" and result.json["title"] == f"{TITLE} 1"
    assert {seen[s]["trace_id"] for s in ("received", "outbox", "relayed", "indexed")} == {sent["trace_id"]}
    assert f"ANIME_EVENTS {sent['sequence']}" in seen["received"]["text"]
    by_entity = echora("follow", sent["entity_id"], "--json")
    assert by_entity.json["eventId"] == sent["event_id"] and by_entity.json["state"] == "done"
    assert "ok" in echora("follow", sent["entity_id"]).out


def test_follow_says_where_it_stands_and_why(chain):
    echora = chain["echora"]
    chain["qdrant"].stop()
    chain["relay"].stop()
    sent = echora("publish", "anime.enriched", "--json", input=json.dumps(event(2))).json
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        result = echora("follow", sent["event_id"], "--json", ok=False)
        if "outbox" in stations(result):
            break
        time.sleep(0.1)
    seen = stations(result)
    assert result.code == 1 and seen["relayed"]["state"] == "waiting" and seen["indexed"]["state"] == "waiting"
    # An update of somebody unknown waits for its entity.
    update = {"animeId": str(uuid.uuid4()), "changedFields": ["year"], "anime": {"year": 2001}}
    sent = echora("publish", "anime.updated", "--json", input=json.dumps(update)).json
    result = echora("follow", sent["event_id"], "--json", "--wait", "1s", ok=False)
    assert "pending" in stations(result)["written"]["text"]
    result = echora("follow", update["animeId"], "--json", ok=False)
    assert result.json["eventId"] == sent["event_id"] and "pending" in stations(result)["written"]["text"]
    # A wrong payload is a dead letter with its code; nobody knows another id.
    message_id = str(uuid.uuid4())
    raw = b"\x0a\x24" + message_id.encode() + b"\x1a\x01x"
    bus = __import__("harness.bus", fromlist=["Bus"]).Bus(echora.nats, "operator")
    try:
        bus.publish("anime.enriched", raw, headers={"Echora-Event-Id": message_id})
    finally:
        bus.close()
    result = echora("follow", message_id, "--json", "--wait", "5s", ok=False)
    assert result.code == 1 and stations(result)["rejected"]["state"] == "failed"
    assert echora("follow", str(uuid.uuid4()), ok=False).code == 1
    assert echora("follow", "nonsense", ok=False).code == 2


def test_follow_shows_what_can_be_read_while_a_server_is_away(chain):
    echora = chain["echora"]
    sent = echora("publish", "anime.enriched", "--wait", "indexed", "--json", input=json.dumps(event(20))).lines[0]
    nowhere = "127.0.0.1:9"
    for option, unknown, seen in (
            (("--qdrant-url", f"http://{nowhere}"), {"indexed"}, {"received", "written", "outbox", "relayed"}),
            (("--nats-url", f"nats://{nowhere}"), {"received", "relayed"}, {"written", "outbox", "indexed"}),
            (("--pg-url", f"postgresql://echora_reader@{nowhere}/x"), {"written"}, {"received"})):
        result = echora("follow", sent["event_id"], "--json", "--timeout", "500ms", *option, ok=False)
        states = {s["station"]: s["state"] for s in result.json["stations"]}
        assert result.code == 3 and states == {**dict.fromkeys(unknown, "unknown"), **dict.fromkeys(seen, "done")}
    result = echora("follow", sent["event_id"], "--qdrant-url", f"http://{nowhere}", ok=False)
    assert "?? indexed" in result.out and "Qdrant does not answer [http-connect]" in result.out


def test_an_entity_that_only_the_streams_know_is_found(chain):
    echora = chain["echora"]
    chain["catalogue"].stop()
    sent = echora("publish", "anime.enriched", "--json", input=json.dumps(event(21))).json
    result = echora("follow", sent["entity_id"], "--json", ok=False)
    assert result.json["eventId"] == sent["event_id"] and stations(result)["received"]["state"] == "done"


def test_rows_of_an_open_batch_are_behind(chain, db):
    echora = chain["echora"]
    echora("publish", "anime.enriched", "--wait", "indexed", input=json.dumps(event(22)))
    assert echora("status", "--json").json["outbox"]["rows"] == 0
    chain["relay"].stop()
    late = echora("publish", "anime.enriched", "--wait", "indexed", "--wait-timeout", "1s", input=json.dumps(event(23)),
                  ok=False)
    assert "not relayed within 1 s; `echora follow" in late.err and "[timeout]" in late.err
    assert echora("status", "--json").json["outbox"]["rows"] == 1
    # As a relay that died between storing the batch and publishing it leaves it.
    db.do("INSERT INTO catalog.outbox_batch (stream, batch, prev, cur, first_id, last_id, n_rows, start_sequence)"
          " SELECT stream, batch + 1, cur, pg_current_snapshot(), last_id + 1, (SELECT max(id) FROM catalog.outbox), 1,"
          " start_sequence + n_rows FROM catalog.outbox_batch WHERE stream = 'ANIME_SYNC' ORDER BY batch DESC LIMIT 1")
    assert echora("status", "--json").json["outbox"]["rows"] == 1


def test_a_worker_that_is_away_is_unreachable(chain):
    echora = chain["echora"]
    address = f"relay=127.0.0.1:{chain['relay'].port}"
    chain["relay"].stop()
    status = echora("status", "--workers", address).out
    assert "unreachable" in status and "breaker" not in status
    doctor = {c["check"]: c for c in echora("doctor", "--json", "--workers", address, ok=False).json}
    assert "relay-refused.md" in doctor["relay"]["mend"] and "does not answer" in doctor["relay"]["text"]


def test_a_worker_that_waits_says_for_what(chain, qdrant):
    echora = chain["echora"]
    address = f"qdrant=127.0.0.1:{chain['qdrant'].port}"
    qdrant.kill()
    echora("publish", "anime.enriched", input=json.dumps(event(24)))
    eventually(lambda: "not ready: qdrant (" in echora("status", "--workers", address, ok=False).out, 20, "not ready")
    shown = re.search(r"outage +qdrant +since (\S+Z) \(.*\): .* \[http-connect\], \d+ probes? failed, next in \d",
                      echora("status", "--workers", address, ok=False).out)
    outage, = echora("status", "--json", "--workers", address, ok=False).json["workers"][0]["outages"]
    assert (outage["dependency"], outage["code"], outage["since"]) == ("qdrant", "http-connect", shown.group(1))
    assert outage["for_ms"] > 0
    mends = [c["mend"] for c in echora("doctor", "--json", "--workers", address, ok=False).json]
    assert "first mend what it waits for: qdrant" in mends


def test_get_search_status_reconcile_doctor(chain, qdrant):
    echora = chain["echora"]
    episodes = [{"title": "Asteroid Blues", "episodeNumber": 1}]
    first = {**event(3), "characters": [{"name": "Spike Spiegel", "sources": ["https://myanimelist.net/character/1"]}],
             "episodes": episodes}
    sent = echora("publish", "anime.enriched", "--json", input="\n".join(map(json.dumps, [first, event(4)]))).lines
    for row in sent:
        echora("follow", row["event_id"], "--wait", "15s")

    got = echora("get", "anime", sent[0]["entity_id"], "--json").json
    assert got["anime"]["title"] == f"{TITLE} 3" and int(got["revision"]) > 0
    assert [h["outcome"] for h in got["history"]] == ["applied"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", got["history"][0]["handledAt"])
    record = echora("get", "record", sent[0]["entity_id"], "--json").json["record"]
    assert [e["title"] for e in record["episodes"]] == ["Asteroid Blues"]
    assert echora("get", "anime", str(uuid.uuid4()), ok=False).code == 1
    assert echora("get", "cheese", sent[0]["entity_id"], ok=False).code == 2

    hits = echora("search", "bounty hunters", "--json").json
    assert {h["id"] for h in hits} == {row["entity_id"] for row in sent}
    assert echora("search", "Spiegel", "--kind", "character", "--json").json[0]["payload"]["name"] == "Spike Spiegel"
    assert echora("search", "nothingatall", "--json").json == []
    assert f"{TITLE} 3 (1998)" in echora("search", "bounty").out

    workers = ",".join(f"{k}=127.0.0.1:{chain[k].port}" for k in ("catalogue", "relay", "qdrant"))
    status = echora("status", "--json", "--workers", workers).json
    assert {s["name"]: s["messages"] for s in status["streams"]}["ANIME_EVENTS"] == 2
    assert {c["name"]: c["pending"] for c in status["consumers"]}["catalog-enriched"] == 0
    assert status["outbox"]["rows"] == 0 and status["dead_letters"]["messages"] == 0
    assert status["index"]["anime"] == {"catalogue": 2, "index": 2}
    assert status["index"]["episode"] == {"catalogue": 1, "index": 1}
    assert {(w["worker"], w["ready"]) for w in status["workers"]} == \
        {("catalogue", True), ("relay", True), ("qdrant", True)}
    assert "catalog-enriched" in echora("status").out

    report = echora("reconcile", "--json").json
    assert int(report["compared"]) == 4 and report["missing"] == report["stale"] == report["surplus"] == 0

    listed = echora("reference", "metrics").out
    for kind in ("catalogue", "relay", "qdrant"):
        names = {re.sub(r"_(bucket|sum|count)$", "", key.partition("{")[0]) for key in chain[kind].metrics()}
        assert not [n for n in names if f"| `{n}` |" not in listed and f"| `{n}_" not in listed], kind

    checks = {c["check"]: c["state"] for c in echora("doctor", "--json", "--workers", workers).json}
    assert "FAIL" not in checks.values(), checks
    assert checks["streams"] == checks["migrations"] == checks["collection"] == checks["relay"] == checks["index"] == "ok"
    qdrant.call("POST", "/collections/anime_database_v1/points/delete?wait=true", {"points": [sent[0]["entity_id"]]})
    index = {c["check"]: c for c in echora("doctor", "--json").json}["index"]
    assert (index["state"], index["text"]) == ("warn", "4 in the catalogue, 3 in the index")
    assert "echora reconcile --repair" in index["mend"]


def test_what_is_missing_is_said(nats, db, echora):
    result = echora("doctor", "--json", "--qdrant-url", "http://127.0.0.1:9", ok=False)
    checks = {c["check"]: c for c in result.json}
    assert result.code == 3 and checks["ANIME_EVENTS"]["state"] == "FAIL"
    assert "streams apply" in checks["ANIME_EVENTS"]["mend"] and checks["qdrant"]["state"] == "FAIL"
    status = echora("status", "--json", ok=False)
    assert status.code in (1, 3) and status.json["nats"]["error"] == "nats-10059"


def test_publish_and_import_wait_for_the_end(chain, tmp_path):
    echora = chain["echora"]
    rows = echora("publish", "anime.enriched", "--wait", "indexed", "--json", input=json.dumps(event(5))).lines
    assert rows[1]["outcome"] == "applied" and rows[1]["revision"] > 0
    risky = {"animeId": event(5)["animeId"], "changedFields": ["title"], "anime": {"title": "Another"}}
    assert echora("publish", "anime.updated", "--wait", "indexed", "--json",
                  input=json.dumps(risky)).lines[1]["outcome"] == "parked"
    risky["anime"]["title"] = "Another still"
    *_, told = echora("publish", "anime.updated", "--wait", "indexed", input=json.dumps(risky)).out.splitlines()
    assert told == f"{told[:36]} parked, what is risky waits for a person: echora review show {told[:36]}"
    # Two anime's references in one event: only the catalogue can see that it is wrong.
    echora("publish", "anime.enriched", "--wait", "indexed", input=json.dumps(event(6)))
    both = event(7, sources=[f"https://myanimelist.net/anime/{1000 + n}" for n in (5, 6)])
    result = echora("publish", "anime.enriched", "--wait", "indexed", "--json", input=json.dumps(both), ok=False)
    assert result.code == 1
    assert (result.lines[1]["outcome"], result.lines[1]["code"]) == ("rejected", "identity-conflict")
    rejected = stations(echora("follow", event(7)["animeId"], "--json", ok=False))
    assert "identity-conflict" in rejected["rejected"]["text"]
    assert "identity-conflict 1" in echora("status").out
    file = tmp_path / "a.jsonl"
    entries = [{"sources": [f"https://anilist.co/anime/{n}"], "title": f"T{n}", "type": "TV", "episodes": 1,
                "status": "FINISHED", "animeSeason": {}, "tags": [], "synonyms": []} for n in range(300)]
    file.write_text("\n".join(map(json.dumps, [{"lastUpdate": "2024-05-17"}, *entries])))
    ends = echora("import", "manami", file, "--wait", "indexed", "--json").lines[1]
    assert (ends["applied"], ends["rejected"]) == (300, 0)
    assert echora("status", "--json").json["index"]["anime"] == {"catalogue": 302, "index": 302}
    again = echora("import", "manami", file, "--wait", "indexed", "--json").lines
    assert again[0]["duplicates"] == 300 and again[1]["applied"] == 300


def test_delete_and_restore(chain):
    echora = chain["echora"]
    sent = echora("publish", "anime.enriched", "--wait", "indexed", "--json", input=json.dumps(event(8))).lines[0]
    anime = sent["entity_id"]
    assert echora("delete", anime, ok=False).code == 2  # no reason
    assert echora("delete", anime, "--reason", "x", "--expected-revision", 999999, ok=False).code == 1
    gone = echora("delete", anime, "--reason", "test", "--json").json
    assert gone["state"] == "deleted"
    echora("follow", anime, "--wait", "10s")
    assert echora("search", "bounty", "--json").json == []
    assert echora("get", "anime", anime, "--json").json["deleted"] is True
    assert echora("delete", anime, "--reason", "again", "--json").json["state"] == "was deleted already"
    back = echora("restore", anime, "--reason", "test", "--json").json
    assert back["revision"] > gone["revision"]
    echora("follow", anime, "--wait", "10s")
    assert [h["id"] for h in echora("search", "bounty", "--json").json] == [anime]


def test_follow_of_a_merged_id_follows_the_survivor(chain):
    echora = chain["echora"]
    lost, kept = event(9), event(10)
    echora("publish", "anime.enriched", "--wait", "indexed", input=json.dumps(lost) + json.dumps(kept))
    echora("delete", lost["animeId"], "--reason", "test", "--merge-into", kept["animeId"])
    change = {"animeId": kept["animeId"], "changedFields": ["month"], "anime": {"month": "MAY"}}
    echora("publish", "anime.updated", "--wait", "indexed", input=json.dumps(change))
    followed = echora("follow", lost["animeId"], "--json").json
    assert (followed["id"], followed["deleted"], followed["state"]) == (kept["animeId"], False, "done")
