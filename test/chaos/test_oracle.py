"""The oracle itself: silent about a right chain, and red for each single thing that is tampered with."""
import base64
import json
import subprocess
import urllib.parse

import pytest
from harness import wire
from harness.catalogue import anime, event, new_id
from harness.history import Recorder
from harness.settings import ROOT, VENV
from oracle import Oracle, Wrong, reference


def small_history(chain):
    """Something of every kind; returns (anime, its episode)."""
    c, e = wire.classes()["Character"], wire.classes()["Episode"]
    one, two, gone, hero, first = (new_id() for _ in range(5))
    sources = ["https://www.anidb.net/anime/0012/", "https://example.org/x?utm_source=a&b=2"]
    made = chain.enriched(one, anime(sources=sources, tags=["a"], year=2001, source_material=3, season=2),
                          characters=[c(id=hero, name="Hero", roles=[1]), c(name="Other", roles=[2], favorites=5)],
                          episodes=[e(id=first, episode_number=1, title="One", score=7.3), e(episode_number=0)])
    chain.publish("anime.enriched", made)
    chain.enriched(two, anime(nsfw=True), characters=[c(id=hero, name="Hero", roles=[2])], at=3)
    chain.enriched(new_id(), anime(sources=["anidb:anime:12"]), at=1)
    chain.enriched(gone, anime(), at=1, episodes=[e(episode_number=1)])
    chain.updated(one, ["year", "month"], wire.classes()["Anime"](month="MAY"), at=5)
    chain.publish("episode.updated", event("EpisodeUpdatedEvent", 7, episode_id=first, episode=e(synopsis="x"),
                                           changed_fields=["synopsis", "score"]))
    chain.publish("character.updated", event("CharacterUpdatedEvent", 7, character_id=hero,
                                             changed_fields=["traits"], character=c(traits=["brave"])))
    chain.publish("anime.episode.aired", event("EpisodeAiredEvent", 8, anime_id=one, aired_at="2023-11-14T00:00:00Z",
                                               status=3, episode=e(episode_number=2, synopsis="It airs")))
    chain.updated(new_id(), ["year"], wire.classes()["Anime"](year=2010), at=5)
    chain.rest()
    assert chain.existence("delete", gone, 20) is None
    assert chain.existence("restore", gone, 10) == "superseded"
    chain.rest()
    return one, first


SQL = {  # what is done to the tables: what the oracle must say
    "UPDATE catalog.anime SET title = 'Other' WHERE id = %(one)s": "'Other') instead of ((",
    "UPDATE catalog.anime SET year = 1990 WHERE id = %(one)s": " 1990) instead of ((",
    "UPDATE catalog.anime SET meta = meta - 'tags' WHERE id = %(one)s": " tags: ",
    "UPDATE catalog.anime SET clocks = clocks - 'year' WHERE id = %(one)s": " year: ((1700000001000000, ",
    "UPDATE catalog.anime SET deleted_at = NULL WHERE deleted_at IS NOT NULL": "deleted: False instead of True",
    "UPDATE catalog.anime SET episode_rows = 9 WHERE id = %(one)s": "episode_rows: 9 instead of 3",
    "UPDATE catalog.anime SET revision = revision + 100000 WHERE id = %(one)s": "last told",
    "DELETE FROM catalog.episode WHERE id = %(first)s": "missing",
    "INSERT INTO catalog.character (id, name, revision, clock_time, clock_event) "
    "VALUES (gen_random_uuid(), 'Nobody', 1, now(), gen_random_uuid())": "surplus",
    "UPDATE catalog.anime_character SET role = 'BACKGROUND' WHERE anime_id = %(one)s AND billing_order = 0": "cast",
    "DELETE FROM catalog.anime_xref WHERE ref = 'url:example.org/x?b=2'": " ref: ",
    "DELETE FROM catalog.entity_alias": " id: ",
    "DELETE FROM catalog.pending_update": "waits: False instead of True",
    "DELETE FROM catalog.inbox WHERE outcome = 'pending'": "'catalog-updated'): missing",
    "INSERT INTO catalog.inbox (event_id, consumer, event_day, stream_sequence, revision, outcome) SELECT event_id, "
    "consumer, event_day + 1, 1, 0, 'applied' FROM catalog.inbox WHERE outcome = 'applied' LIMIT 1": "stands: 2 instead of 1",
    # The newest two of one entity change places.
    "WITH two AS (SELECT id, event_id, row_number() OVER (ORDER BY id) AS n FROM (SELECT id, event_id FROM "
    "catalog.outbox WHERE entity_id = %(one)s ORDER BY id DESC LIMIT 2) AS newest) UPDATE catalog.outbox AS o "
    "SET event_id = b.event_id FROM two AS a JOIN two AS b ON a.n + b.n = 3 WHERE o.id = a.id": "came late",
    "INSERT INTO catalog.outbox (stream, subject, entity_type, entity_id, event_id, headers, payload) "
    "VALUES ('ANIME_SYNC', 'anime.synced', 'anime', %(one)s, gen_random_uuid(), 'A: b', 'x')": "in no message",
    "UPDATE catalog.outbox SET payload = payload || '\\x30'::bytea || '\\x01'::bytea WHERE subject = 'episode.synced'":
        "differs from outbox row",
    "DELETE FROM catalog.outbox WHERE subject = 'anime.deleted'": "of no outbox row",
}


def point(qdrant, verb, body):
    status, text = qdrant.call("POST", f"/collections/anime_database/points/{verb}?wait=true", body)
    assert status == 200, text


@pytest.fixture
def chain(streams, db, qdrant, spawn):
    workers = [spawn(kind) for kind in ("catalogue", "relay", "qdrant")]
    chain = Recorder(streams, db)
    chain.one, chain.first = small_history(chain)
    for worker in workers:  # so that nothing mends what is tampered with
        worker.stop()
    return chain


@pytest.mark.chaos(fault="tampered: each single thing in a right chain", place="oracle", checks="the oracle names it")
def test_tampering_turns_it_red(chain, streams, db, qdrant):
    oracle = Oracle(db, chain.bus, qdrant, most=10**6)
    oracle.check(chain.inputs)
    known = set()

    def notices(what, needle, inputs=chain.inputs, dead_letters=()):
        with pytest.raises(Wrong) as wrong:
            oracle.check(inputs, dead_letters)
        lines = set(str(wrong.value).splitlines()[1:])
        assert any(needle in line for line in lines - known), f"{what}: {lines - known}"
        return lines

    notices("an event not handled", "'catalog-updated'): missing",
            [*chain.inputs, ("anime.updated", event("AnimeUpdatedEvent", anime_id=chain.one).SerializeToString(), {})])
    notices("an event lost from the input", "'catalog-updated'): surplus", chain.inputs[:-3])
    notices("a dead letter that should be", "('ANIME_DLQ', b'x', 'decode'): missing", dead_letters=[(b"x", "decode")])
    # From here on each thing comes on top of those before it, and must be told as well.
    body = {"points": [chain.one]}
    point(qdrant, "payload", {**body, "payload": {"title": "Stale"}})
    known = notices("a point's payload", "title: Stale instead of Title")
    point(qdrant, "payload", {**body, "payload": {"rev": 1}})
    known = notices("a point's revision", "rev: 1 instead of")
    point(qdrant, "delete", {"points": [chain.first]})
    known = notices("a point that is gone", f"('point', 'episode', ('anime', '{'anidb:anime:12'}'), 1): missing")
    stray = new_id()
    status, text = qdrant.call("PUT", "/collections/anime_database/points?wait=true",
                               {"points": [{"id": stray, "vector": {}, "payload": {"rev": 1}}]})
    assert status == 200, text
    known = notices("a point too many", f"('point', '{stray}'): surplus")
    relay = streams.bus("relay")
    second = chain.bus.message("ANIME_SYNC", 2)
    relay.publish(second.subject, second.data,
                  headers={name: value for name, value in second.headers.items() if "Expected" not in name})
    known = notices("a message twice", "a second time")
    chain.bus.wait(chain.bus.js.purge_stream("ANIME_SYNC", seq=2))
    known = notices("a message lost", "in no message")
    streams.bus("catalogue").publish("anime.dlq.catalog-updated", b"x", headers={"Echora-Dlq-Code": "decode"})
    known = notices("a dead letter too many", "('ANIME_DLQ', b'x', 'decode'): surplus")
    for sql, needle in SQL.items():
        with db.connect() as connection:
            assert connection.execute(sql, {"one": chain.one, "first": chain.first}).rowcount > 0, sql
        known = notices(sql, needle)


@pytest.mark.chaos(fault="tampered: as its command sees it", place="oracle", checks="exit codes, findings")
def test_the_command(chain, streams, db, qdrant, pg_server, tmp_path):
    """From a file, and from ANIME_EVENTS itself; exit codes 0, 1 and 2."""
    file = tmp_path / "input.ndjson"
    file.write_text("".join(json.dumps({"subject": subject, "payload": base64.b64encode(payload).decode(),
                                        "headers": headers}) + "\n" for subject, payload, headers in chain.inputs))
    password = urllib.parse.quote(streams.passwords["admin"])
    argv = [VENV / "bin/python", ROOT / "test/oracle.py", "--nats", streams.url.replace("//", f"//admin:{password}@"),
            "--pg", db.url("postgres").replace("postgres@", f"postgres:{pg_server.PASSWORD}@"), "--qdrant", qdrant.url]

    def run(*more):
        return subprocess.run([*map(str, argv), *map(str, more)], capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
    done = run(file)
    assert (done.returncode, done.stderr) == (0, "") and "as it must be" in done.stdout, done
    # The stream alone does not know of the deletion by request.
    done = run()
    assert done.returncode == 1 and "deleted: True instead of False" in done.stdout, done
    assert subprocess.run([*map(str, argv[:2])], capture_output=True, stdin=subprocess.DEVNULL).returncode == 2


@pytest.mark.chaos(fault="none: spellings of references", place="oracle", checks="hand-written table")
@pytest.mark.parametrize("source, want", [
    ("https://www.myanimelist.net/anime/0012/Some_Name", "mal:anime:12"),
    ("https://myanimelist.net/anime/12/Some_Name/episode", "url:myanimelist.net/anime/12/Some_Name/episode"),
    ("https://kitsu.io/anime/a-name", "kitsu:anime:a-name"),
    ("https://anidb.net/perl-bin/animedb.pl?aid=7&show=anime", "anidb:anime:7"),
    ("https://www.imdb.com/title/tt1", None), ("mal:anime:1", "mal:anime:1"), ("no address", None), ("word", None),
    ("http://Example.org:80/a/?utm_source=x&b=2&a=1#f", "url:example.org/a?a=1&b=2")])
def test_references(source, want):
    assert reference(source) == want
