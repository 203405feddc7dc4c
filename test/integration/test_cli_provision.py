"""echora migrate and echora streams, on real servers."""
import json

import pytest

from harness import servers
from harness.fixtures import nats_version
from harness.fleet import Echora

OWNER = "echora_owner"


@pytest.fixture
def empty_db(pg_server):
    database = pg_server.database(migrated=False)
    yield database
    database.drop()


def test_migrate_applies_each_file_once_and_knows_when_all_is_done(empty_db):
    echora = Echora(database=empty_db, role=OWNER)
    assert echora("migrate", "--check", ok=False).code == 1
    first = echora("migrate", "--json").lines
    assert [row["state"] for row in first] == ["applied"] * len(first) and len(first) >= 3
    assert echora("migrate", "--json").lines == []
    assert echora("migrate", "--check").code == 0
    rows = empty_db.all("SELECT name, length(checksum) FROM ops.migration ORDER BY number")
    assert [r[0] for r in rows] == [row["migration"] for row in first]
    assert {r[1] for r in rows} == {64}


def folder_with(tmp_path, **files):
    for name, text in files.items():
        (tmp_path / f"{name[1:]}.sql").write_text(text)
    return str(tmp_path)


def test_migrate_refuses_a_changed_file(empty_db, tmp_path):
    echora = Echora(database=empty_db, role=OWNER)
    folder = folder_with(tmp_path, _1_a="CREATE SCHEMA a;", _2_b="CREATE TABLE a.b (c int);")
    assert len(echora("migrate", "--json", "--dir", folder).lines) == 2
    folder_with(tmp_path, _1_a="CREATE SCHEMA a; -- changed")
    result = echora("migrate", "--dir", folder, ok=False)
    assert result.code == 1 and "changed after it was applied" in result.err


def test_migrate_refuses_to_go_back(empty_db, tmp_path):
    echora = Echora(database=empty_db, role=OWNER)
    folder = folder_with(tmp_path, _2_b="CREATE SCHEMA b;")
    echora("migrate", "--dir", folder)
    folder_with(tmp_path, _1_a="CREATE SCHEMA a;")
    result = echora("migrate", "--dir", folder, ok=False)
    assert result.code == 1 and "next free number" in result.err
    (tmp_path / "1_a.sql").unlink()
    (tmp_path / "2_b.sql").unlink()
    result = echora("migrate", "--dir", folder, ok=False)
    assert result.code == 1 and "older than the database" in result.err


def test_a_broken_migration_leaves_nothing_of_itself(empty_db, tmp_path):
    echora = Echora(database=empty_db, role=OWNER)
    folder = folder_with(tmp_path, _1_a="CREATE SCHEMA a;", _2_b="CREATE TABLE a.b (c int); SELECT 1/0;")
    result = echora("migrate", "--dir", folder, ok=False)
    assert result.code == 1 and "2_b" in result.err and "pg-22012" in result.err
    assert empty_db.all("SELECT name FROM ops.migration") == [("1_a",)]
    assert empty_db.one("SELECT to_regclass('a.b')") is None


def test_migrate_waits_for_the_lock(empty_db, tmp_path):
    echora = Echora(database=empty_db, role=OWNER)
    folder = folder_with(tmp_path, _1_a="CREATE SCHEMA a;")
    with empty_db.connect() as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended('echora migrate', 0))")
        result = echora("migrate", "--dir", folder, "--lock-timeout", "300ms", ok=False)
        assert result.code == 1 and "holds the lock" in result.err
    echora("migrate", "--dir", folder)


def test_migrate_by_another_role_says_who_may(db):
    result = Echora(database=db, role="echora_reader")("migrate", ok=False)
    assert result.code == 1 and "run it as echora_owner (pg-url, pg-password-file)" in result.err


@pytest.fixture
def fresh_nats(folder):
    server = servers.Nats(folder, which=nats_version(), name="nats-fresh")
    server.start()
    yield server
    server.stop()


def changes(result):
    return {t["name"]: t["action"] for t in result.json["things"] if t["action"] != "none"}


def test_streams_are_made_checked_and_mended(fresh_nats):
    admin = Echora(nats=fresh_nats, user="admin")
    plan = changes(admin("streams", "plan", "--json"))
    assert plan["ANIME_EVENTS"] == "create" and plan["ANIME_EVENTS/catalog-enriched"] == "create"
    assert admin("streams", "check", ok=False).code == 1
    assert changes(admin("streams", "apply", "--json")) == plan
    assert changes(admin("streams", "apply", "--json")) == {}
    assert admin("streams", "check").code == 0
    assert Echora(nats=fresh_nats, user="viewer")("streams", "check").code == 0

    from harness.bus import Bus
    bus = Bus(fresh_nats, "admin")
    try:
        config = bus.stream("ANIME_EVENTS").config
        assert sorted(config.subjects) == ["anime.enriched", "anime.episode.aired", "anime.updated",
                                           "character.updated", "episode.updated"]
        assert config.max_msg_size == 8 * 1024 * 1024 - 64 * 1024 and config.discard == "new"
        consumer = bus.consumer("ANIME_EVENTS", "catalog-episode-aired").config
        assert (consumer.ack_wait, consumer.max_deliver, consumer.filter_subject) == \
            (60, 100_000, "anime.episode.aired")
        suspects = bus.stream("WORKER_SUSPECTS").config
        assert (suspects.subjects, suspects.max_msgs_per_subject, suspects.discard, suspects.allow_direct) == \
            (["suspect.>"], 1, "old", True)
        assert bus.stream("ANIME_EVENTS").config.max_msgs_per_subject == -1
        letters = json.loads(bus.request("$JS.API.STREAM.INFO.ANIME_DLQ").data)["config"]
        assert (letters["max_msgs_per_subject"], letters["discard_new_per_subject"]) == (250_000, True)
        # A fleet of before that stream, with the max deliver of then.
        bus.wait(bus.js.delete_stream("WORKER_SUSPECTS"))
        consumer.max_deliver = 100
        bus.wait(bus.js.add_consumer("ANIME_EVENTS", consumer))
        assert changes(admin("streams", "apply", "--json")) == {
            "WORKER_SUSPECTS": "create", "ANIME_EVENTS/catalog-episode-aired": "update"}
        assert bus.consumer("ANIME_EVENTS", "catalog-episode-aired").config.max_deliver == 100_000
        # Drift by hand.
        raw = json.loads(bus.request("$JS.API.STREAM.INFO.ANIME_EVENTS").data)["config"]
        raw["max_age"] = 3600 * 10**9
        raw["duplicate_window"] = 60 * 10**9
        assert "error" not in json.loads(bus.request("$JS.API.STREAM.UPDATE.ANIME_EVENTS",
                                                     json.dumps(raw).encode()).data)
        drift = admin("streams", "check", "--json", ok=False)
        assert drift.code == 1 and changes(drift) == {"ANIME_EVENTS": "update"}
        admin("streams", "apply")
        assert admin("streams", "check").code == 0
        # Room that an operator has given stays, also when another field is mended; what was taken away comes back.
        mended = json.loads(bus.request("$JS.API.STREAM.INFO.ANIME_EVENTS").data)["config"]
        for step, drift, differs in ((2**20, {}, 0), (2**20, {"max_age": 48 * 3600 * 10**9}, 1), (-2**20, {}, 1)):
            by_hand = {**mended, **drift, "max_bytes": mended["max_bytes"] + step}
            assert "error" not in json.loads(bus.request("$JS.API.STREAM.UPDATE.ANIME_EVENTS",
                                                         json.dumps(by_hand).encode()).data)
            assert admin("streams", "check", ok=False).code == differs
            admin("streams", "apply")
            now = bus.stream("ANIME_EVENTS").config
            assert (now.max_bytes, now.max_age) == (mended["max_bytes"] + max(step, 0), config.max_age)
        raised = {**letters, "max_msgs_per_subject": 300_000, "max_msgs": 2_000_000}
        assert "error" not in json.loads(bus.request("$JS.API.STREAM.UPDATE.ANIME_DLQ", json.dumps(raised).encode()).data)
        admin("streams", "apply")
        now = bus.stream("ANIME_DLQ").config
        assert (now.max_msgs_per_subject, now.max_msgs) == (300_000, 2_000_000)
    finally:
        bus.close()


def test_no_right_no_streams(fresh_nats):
    result = Echora(nats=fresh_nats, user="viewer")("streams", "apply", ok=False)
    assert result.code in (1, 3)


def test_nobody_there_is_exit_3():
    from ops.fleet import system
    port = system.free_port()
    result = Echora()("streams", "check", "--nats-url", f"nats://127.0.0.1:{port}", "--timeout", "300ms", ok=False)
    assert result.code == 3
    result = Echora()("migrate", "--pg-url", f"postgresql://echora_owner@127.0.0.1:{port}/echora",
                      "--timeout", "300ms", ok=False)
    assert result.code == 3
