"""echora publish, validate, decode and import manami against a real nats-server."""
import hashlib
import json
import subprocess
import time
import uuid

import pytest
from google.protobuf import json_format

from harness import wire
from harness.process import lasted_less

EVENT = {"eventId": "01a1fcf0-4b98-793f-87c2-73876767af0d", "timestamp": "2026-01-02T03:04:05Z",
         "animeId": "0190a8a0-0000-7000-8000-000000000001",
         "anime": {"title": "Frieren", "type": "ANIME_TYPE_TV", "status": "ANIME_STATUS_FINISHED", "year": 2023}}


def one(event, **changes):
    return json.dumps({**event, **changes})


def test_publish_stores_stamps_and_repeats_harmlessly(streams, echora):
    answer = echora("publish", "anime.enriched", "--json", input=one(EVENT), user="publisher").json
    assert (answer["stream"], answer["sequence"], answer["duplicate"]) == ("ANIME_EVENTS", 1, False)
    assert echora("publish", "anime.enriched", "--json", input=one(EVENT), user="publisher").json["duplicate"]
    message = streams.bus().message("ANIME_EVENTS", 1)
    assert message.headers["Content-Type"] == "application/protobuf"
    assert message.headers["Echora-Event-Id"] == EVENT["eventId"]
    assert message.headers["Echora-Schema"] == "echora.events.v1.AnimeEnrichedEvent"
    assert message.headers["Nats-Expected-Stream"] == "ANIME_EVENTS"
    assert message.headers["Nats-Msg-Id"] == \
        f"{EVENT['animeId']}-{hashlib.sha256(message.data).hexdigest()[:8]}"
    assert message.headers["traceparent"].split("-")[1] == answer["trace_id"]
    decoded = wire.classes()["AnimeEnrichedEvent"].FromString(message.data)
    assert json_format.MessageToDict(decoded) == EVENT


def test_publish_ndjson_says_what_is_wrong_and_publishes_the_rest(streams, echora, tmp_path):
    good = [one(EVENT, animeId=f"0190a8a0-0000-7000-8000-00000000000{i}", eventId=str(uuid.UUID(int=i + (7 << 76) +
                (8 << 60)))) for i in range(1, 4)]
    file = tmp_path / "events.ndjson"
    file.write_text(good[0] + "\n\n" + one(EVENT, anime={**EVENT["anime"], "year": 3000}) + good[1] + "\n" + good[2])
    result = echora("publish", "anime.enriched", file, "--json", ok=False)
    assert result.code == 1
    fault = [r for r in result.lines if "path" in r]
    assert [(f["document"], f["code"], f["path"]) for f in fault] == [(2, "out-of-range", "anime.year")]
    assert streams.bus().stream("ANIME_EVENTS").state.messages == 3
    assert "3000" not in result.out + result.err


def test_publish_of_many_faulty_events_leaves_room_for_a_good_one(streams, echora):
    bad = one(EVENT, animeId="x", characters=[{"name": "n"}] * 1000)
    result = echora("publish", "anime.enriched", "--json", input="\n".join([bad] * 1000 + [one(EVENT)]), ok=False)
    *faults, stored = result.lines
    assert [f["code"] for f in faults] == ["bad-uuid"] * 1000 and stored["sequence"] == 1


def test_publish_fills_id_and_time(streams, echora):
    event = {k: v for k, v in EVENT.items() if k not in ("eventId", "timestamp")}
    first = echora("publish", "anime.enriched", "--json", input=json.dumps(event)).json
    assert uuid.UUID(first["event_id"]).version == 7


def test_publish_dry_run_and_raw(streams, echora, tmp_path):
    assert echora("publish", "anime.enriched", "--dry-run", "--json", input=one(EVENT)).json["dry_run"] is True
    assert streams.bus().stream("ANIME_EVENTS").state.messages == 0
    raw = tmp_path / "event.bin"
    raw.write_bytes(json_format.ParseDict(EVENT, wire.classes()["AnimeEnrichedEvent"]()).SerializeToString())
    assert echora("publish", "anime.enriched", "--raw", raw, "--json").json["sequence"] == 1
    raw.write_bytes(b"\xff\xff")
    result = echora("publish", "anime.enriched", "--raw", raw, "--json", ok=False)
    assert result.code == 1 and result.json["code"] == "decode"
    decoded = echora("decode", "--subject", "anime.enriched",
                     input=streams.bus().message("ANIME_EVENTS", 1).data).out
    assert json.loads(decoded) == EVENT


def test_publish_without_a_right_or_a_server(streams, echora):
    refused = echora("publish", "anime.enriched", input=one(EVENT), user="viewer", ok=False)
    assert refused.code == 1 and "Timeout" not in refused.out + refused.err and refused.err == ""
    assert 'user "viewer" may not publish on anime.enriched; see ops/nats/users.py [nats-permission]' in refused.out
    refused = echora("delete", EVENT["animeId"], "--reason", "test", user="viewer", ok=False)
    assert refused.code == 1 and 'user "viewer" may not publish on catalog.anime.delete;' in refused.err
    refused = echora("status", user="publisher", ok=False)
    assert refused.code == 1 and "[nats-permission]" in refused.out and "Timeout" not in refused.out
    refused = echora("publish", "anime.created", input=one(EVENT), ok=False)
    assert refused.code == 1 and "only the relay writes anime.created" in refused.err
    assert echora("publish", "no.such.subject", input=one(EVENT), ok=False).code == 2


def test_broken_json_says_file_document_and_what_went_out(streams, echora, tmp_path):
    file = tmp_path / "events.ndjson"
    file.write_text(one(EVENT) + "\n{]\n" + one(EVENT))
    result = echora("publish", "anime.enriched", file, ok=False)
    assert result.code == 1 and f"{file}: stopped: at document 2: " in result.err and "; 1 published" in result.err
    assert f"{file}: stopped: at document 2: " in echora("validate", "anime.enriched", file, ok=False).err


def test_validate_agrees_with_publish(streams, echora, tmp_path):
    file = tmp_path / "event.json"
    file.write_text(json.dumps({k: v for k, v in EVENT.items() if k not in ("eventId", "timestamp")}))
    assert "publish fills these in; --complete does the same" in echora("validate", "anime.enriched", file, ok=False).out
    file.write_text(one(EVENT, anime={**EVENT["anime"], "year": 3000}))
    assert "publish fills" not in echora("validate", "anime.enriched", file, ok=False).out
    tags = [f"{i:07d}" + "t" * 93 for i in range(90000)]
    file.write_text(one(EVENT, anime={**EVENT["anime"], "tags": tags}))
    for verb in ("validate", "publish"):
        result = echora(verb, "anime.enriched", file, ok=False)
        assert result.code == 1 and "at most 8323072 bytes, found 9" in result.out and "[too-large]" in result.out


def test_a_mistyped_verb_gets_a_proposal(echora):
    result = echora("publsh", ok=False)
    assert result.code == 2 and 'did you mean "publish"?' in result.err
    assert "did you mean" not in echora("zzzzzz", ok=False).err
    assert echora("get", ok=False).err.startswith("echora get: usage: echora get KIND ID")


def test_validate_names_every_fault_at_once(echora):
    result = echora("validate", "anime.enriched", "-", "--json", ok=False, input=json.dumps(
        {"eventId": 7, "animeId": "x", "anime": {"title": "", "year": "y", "bogus": 1, "score": {"median": 11}}}))
    assert result.code == 1
    assert [(f["code"], f["path"], f["kind"]) for f in result.lines] == [
        ("json-type", "eventId", "number"), ("json-type", "anime.year", "string"),
        ("json-unknown-field", "anime.bogus", "number")]
    result = echora("validate", "anime.enriched", "-", "--json", ok=False, input=json.dumps(
        {"animeId": "x", "anime": {"score": {"median": 11}}}))
    paths = {f["path"] for f in result.lines}
    assert {"event_id", "anime_id", "timestamp", "anime.title", "anime.score.median"} <= paths
    assert echora("validate", "anime.enriched", "-", input=one(EVENT)).code == 0


# --- import manami ---------------------------------------------------------------------------------------------

META = {"license": {}, "lastUpdate": "2024-05-17"}


def entry(n, **changes):
    return {"sources": [f"https://myanimelist.net/anime/{n}", f"https://anidb.net/anime/{n + 7}"],
            "title": f"Title {n}", "type": "TV", "episodes": 12, "status": "FINISHED",
            "animeSeason": {"season": "FALL", "year": 2001}, "picture": f"https://cdn.example/{n}.jpg",
            "thumbnail": "https://cdn.example/t.jpg", "synonyms": ["B", " A ", "B", f"Title {n}"],
            "studios": ["studio"], "producers": [], "relatedAnime": [f"https://myanimelist.net/anime/{n + 1}"],
            "tags": ["drama", "drama"], "duration": {"value": 24, "unit": "MINUTES"},
            "score": {"arithmeticGeometricMean": 0, "arithmeticMean": 7.5, "median": 11}, **changes}


def snapshot(path, entries, meta=META, packed=False):
    lines = [json.dumps(meta)] + [e if isinstance(e, str) else json.dumps(e) for e in entries]
    path.write_text("\n".join(lines) + "\n")
    if packed:
        subprocess.run(["zstd", "-q", "-f", str(path)], check=True)
        return path.with_suffix(path.suffix + ".zst")
    return path


def stored(streams):
    cls = wire.classes()["AnimeEnrichedEvent"]
    return [cls.FromString(m.data) for m in streams.bus().messages("ANIME_EVENTS")]


def test_import_maps_an_entry(streams, echora, tmp_path):
    file = snapshot(tmp_path / "a.jsonl", [entry(1)])
    assert echora("import", "manami", file, "--json").json["stored"] == 1
    event, = stored(streams)
    got = json_format.MessageToDict(event)
    assert got["timestamp"] == "2024-05-17T00:00:00Z"
    assert got["anime"]["id"] == got["animeId"]
    assert uuid.UUID(got["animeId"]).version == 5 and uuid.UUID(got["eventId"]).version == 5
    score = event.anime.score
    assert not score.HasField("arithmetic_geometric_mean") and not score.HasField("median")
    del got["animeId"], got["eventId"], got["timestamp"], got["anime"]["id"]
    assert got == {"anime": {
        "entityType": "ENTITY_TYPE_ANIME", "title": "Title 1", "type": "ANIME_TYPE_TV",
        "status": "ANIME_STATUS_FINISHED", "episodeCount": 12, "season": "ANIME_SEASON_FALL", "year": 2001,
        "duration": 1440, "sources": ["https://myanimelist.net/anime/1", "https://anidb.net/anime/8"],
        "synonyms": ["B", "A"], "studios": [{"name": "studio"}], "tags": ["drama"],
        "images": {"covers": ["https://cdn.example/1.jpg"]}, "score": {"arithmeticMean": 7.5},
        "relatedAnime": {"RELATED": {"items": [{"sources": ["https://myanimelist.net/anime/2"]}]}}}}


def test_import_takes_the_older_generation_and_what_is_missing(streams, echora, tmp_path):
    old = {"sources": ["https://anilist.co/anime/5"], "title": "\u0007Old  \n", "type": "Music video", "episodes": -1,
           "status": "CURRENTLY", "animeSeason": {"season": "UNDEFINED", "year": 0}, "synonyms": [], "tags": [],
           "picture": "https://x.example/pics/no_pic.png", "relations": ["https://anilist.co/anime/6"], "extra": 1}
    echora("import", "manami", snapshot(tmp_path / "a.jsonl", [old]))
    anime = stored(streams)[0].anime
    got = json_format.MessageToDict(anime)
    del got["id"], got["relatedAnime"]
    assert got == {"entityType": "ENTITY_TYPE_ANIME", "title": "Old", "type": "ANIME_TYPE_UNKNOWN",
                   "status": "ANIME_STATUS_ONGOING", "sources": ["https://anilist.co/anime/5"]}
    assert anime.related_anime["RELATED"].items[0].sources == ["https://anilist.co/anime/6"]


def test_import_again_is_all_duplicates_and_ids_come_from_the_file(streams, echora, tmp_path):
    entries = [entry(n) for n in range(1, 2001)]
    file = snapshot(tmp_path / "a.jsonl", entries, packed=True)
    first = echora("import", "manami", file, "--json").json
    assert (first["entries"], first["stored"], first["duplicates"], first["bad"]) == (2000, 2000, 0, 0)
    again = echora("import", "manami", file, "--json").json
    assert (again["stored"], again["duplicates"]) == (0, 2000)
    ids = {e.anime_id for e in stored(streams)[:50]}
    other = snapshot(tmp_path / "b.jsonl", entries[:50] + [entry(1000000)])
    more = echora("import", "manami", other, "--json").json
    assert more["stored"] == 51  # another file: other event ids ...
    assert ids <= {e.anime_id for e in stored(streams)[2000:]}  # ... for the same anime


def test_import_limit_skip_and_rate(streams, echora, tmp_path):
    file = snapshot(tmp_path / "a.jsonl", [entry(n) for n in range(1, 101)])
    assert echora("import", "manami", file, "--json", "--limit", 10).json["position"] == 10
    assert echora("import", "manami", file, "--json", "--skip", 10).json["stored"] == 90
    start = time.monotonic()
    assert echora("import", "manami", file, "--json", "--rate", 50, "--limit", 50).json["duplicates"] == 50
    assert time.monotonic() - start > 0.9 and lasted_less(start, 3)


@pytest.mark.parametrize("bad,good,ok", [(1, 99, True), (1, 98, False), (0, 0, False)])
def test_import_of_bad_lines(streams, echora, tmp_path, bad, good, ok):
    lines = ["{no json"] * bad + [entry(n) for n in range(good)]
    result = echora("import", "manami", snapshot(tmp_path / "a.jsonl", lines), ok=False)
    assert result.code == (0 if ok else 1)
    assert result.err.count("skipped") == bad
    assert streams.bus().stream("ANIME_EVENTS").state.messages == (good if ok else 0)


def test_import_says_why_a_line_is_bad(echora, tmp_path):
    lines = [entry(n) for n in range(1, 900)] + [
        "[]", entry(1, title=" "), entry(2, sources=[]), entry(3, title="x" * (1 << 20)), '{"sources":["a"],"title":"\\u0000"}',
        entry(4, sources=["not a url with spaces"])]
    result = echora("import", "manami", "--dry-run", snapshot(tmp_path / "a.jsonl", lines))
    assert [line.partition(": skipped: ")[0] for line in result.err.splitlines()] == \
        [f"line {n}" for n in range(901, 907)]


def test_import_refuses_what_is_no_snapshot(echora, tmp_path):
    assert echora("import", "manami", tmp_path / "none", ok=False).code == 1
    assert echora("import", "manami", snapshot(tmp_path / "a.jsonl", [entry(1)], meta={}), ok=False).code == 1
    packed = snapshot(tmp_path / "b.jsonl", [entry(n) for n in range(2000)], packed=True)
    cut = tmp_path / "cut.zst"
    cut.write_bytes(packed.read_bytes()[:-1000])
    result = echora("import", "manami", cut, ok=False)
    assert result.code == 1 and "snapshot-invalid" in result.err
