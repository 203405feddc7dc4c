"""The given catalogue files through the whole chain: import, second import, Kitsu on top, rich records.

One fleet for the whole module: each test goes on from the state of the one before, in file order. All
expected numbers are counted from the files by real_data.py, all observed ones read from PostgreSQL,
the streams and Qdrant over their own protocols.
"""
import json
import time

import pytest

from e2e import real_data
from harness import fleet
from harness.bus import Bus
from harness.process import eventually
from harness.settings import data_folder

DATA = data_folder()
pytestmark = pytest.mark.skipif(DATA is None, reason="no real catalogue data beside the checkout")


class Chain:
    """Real servers and the three workers on an empty catalogue."""

    def __init__(self, pg, nats, qdrant, folder):
        self.db = pg.database()
        self.nats, self.qdrant, self.bus = nats, qdrant, Bus(nats, "admin")
        self.echora = fleet.Echora(nats=nats, database=self.db, qdrant=qdrant)
        self.echora("streams", "apply", user="admin")
        self.workers = [fleet.Worker(kind, folder, nats=nats, database=self.db, qdrant=qdrant,
                                     env={"ECHORA_LOG_LEVEL": "info"})
                        for kind in ("catalogue", "relay", "qdrant")]
        for worker in self.workers:
            worker.start(timeout=30)

    def counts(self):
        """What the catalogue, the outbox and the index hold."""
        number = self.db.one
        return {
            "anime": number("SELECT count(*) FROM anime"),
            "references": number("SELECT count(*) FROM anime_xref"),
            "relations": number("SELECT count(*) FROM anime_relation"),
            "unresolved": number("SELECT count(*) FROM anime_relation WHERE to_id IS NULL"),
            "outbox": number("SELECT count(*) FROM outbox"),
            "revision": number("SELECT max(revision) FROM anime"),
            "points": self.points(),
        }

    def points(self, **filters):
        must = [{"key": key, "match": {"value": value}} for key, value in filters.items()]
        body = {"exact": True}
        if must:
            body["filter"] = {"must": must}
        status, reply = self.qdrant.call("POST", "/collections/anime_database/points/count", body)
        assert status == 200, reply
        return reply["result"]["count"]

    def settled(self, timeout=240):
        """Every event handled, everything committed relayed and indexed."""
        def done():
            if not self.bus.settled("ANIME_EVENTS", *self.consumers("ANIME_EVENTS")):
                return False
            return (self.db.one("SELECT count(*) FROM outbox") == self.published()
                    and self.bus.settled("ANIME_SYNC", *self.consumers("ANIME_SYNC")))
        eventually(done, timeout, "the chain settled")

    def account(self):
        return self.nats.get("/jsz?streams=true&consumers=true&accounts=true")["account_details"]

    def stream(self, name):
        return next(s for a in self.account() for s in a["stream_detail"] if s["name"] == name)

    def consumers(self, stream):
        return [consumer["name"] for consumer in self.stream(stream).get("consumer_detail") or []]

    def published(self):
        """Messages ever stored by the relay, purges included."""
        return self.stream("ANIME_SYNC")["state"]["last_seq"]

    def publish(self, events):
        lines = "\n".join(json.dumps(event) for event in events)
        return self.echora("publish", "anime.enriched", "--json", input=lines, user="publisher", timeout=120)

    def dead_letters(self):
        """code -> list of headers, read from the stream itself."""
        found = {}
        for message in self.bus.messages("ANIME_DLQ"):
            found.setdefault(message.headers["Echora-Dlq-Code"], []).append(message)
        return found

    def stop(self):
        self.bus.close()
        for worker in self.workers:
            if worker.alive():
                worker.stop()


@pytest.fixture(scope="module")
def chain(pg_server, nats_server, qdrant_server, session_folder):
    bus = Bus(nats_server, "admin")
    bus.delete_streams()
    bus.close()
    qdrant_server.wipe()
    running = Chain(pg_server, nats_server, qdrant_server, session_folder)
    yield running
    running.stop()


def manami():
    return str(next(DATA.glob("anime-offline-database_*.jsonl.zst")))


def test_snapshot_is_imported_whole(chain):
    expected = real_data.snapshot_expected(DATA)
    started = time.monotonic()
    chain.echora("import", "manami", manami(), "--wait", "indexed", timeout=300)
    print(f"\nimported and indexed in {time.monotonic() - started:.1f} s")
    chain.settled()
    counts = chain.counts()
    assert {key: counts[key] for key in expected} == expected
    assert counts["points"] == expected["anime"] == counts["outbox"]
    assert not chain.dead_letters()


def test_relations_are_edges_in_both_directions(chain):
    entries = real_data.snapshot(DATA)
    owner = {url: i for i, entry in enumerate(entries) for url in entry["sources"]}
    pairs = {(i, owner[url]) for i, entry in enumerate(entries) for url in entry["relatedAnime"] if url in owner}
    both = pairs | {(b, a) for a, b in pairs}
    assert chain.db.one("SELECT count(*) FROM (SELECT DISTINCT from_id, to_id FROM graph_edge"
                        " WHERE family = 'relation') AS e") == len(both)


def test_reconcile_finds_no_drift(chain):
    report = chain.echora("reconcile", "--json", timeout=120).json
    assert int(report["compared"]) >= 33581
    assert not any(int(report.get(key, 0)) for key in ("missing", "stale", "surplus", "pending"))


def test_second_import_changes_nothing(chain):
    before = chain.counts()
    rows = chain.db.one("SELECT sum(hashtext(a::text)::bigint) FROM anime a")
    chain.bus.purge("ANIME_EVENTS")  # so that the broker's duplicate window does not do the work
    chain.echora("import", "manami", manami(), "--wait", "indexed", timeout=300)
    chain.settled()
    assert chain.counts() == before
    assert chain.db.one("SELECT sum(hashtext(a::text)::bigint) FROM anime a") == rows


def test_kitsu_records_join_what_is_known(chain):
    known, new, conflicts = real_data.kitsu_expected(DATA)
    assert (known, new, len(conflicts)) == (7163, 273, 13)
    before = chain.counts()
    chain.publish(real_data.kitsu_events(DATA))
    chain.settled()
    after = chain.counts()
    assert after["anime"] - before["anime"] == new
    assert after["points"] - before["points"] == new
    refused = chain.dead_letters()
    assert set(refused) == {"identity-conflict"}
    by_event = {real_data.event_id(f"kitsu-event:{n}"): n for n in conflicts}
    assert sorted(by_event[m.headers["Echora-Event-Id"]] for m in refused["identity-conflict"]) == conflicts
    # No second row for the same thing: each reference has one owner, each known record an alias.
    assert chain.db.one("SELECT count(*) FROM entity_alias WHERE entity_kind = 'anime'") == known


def test_rich_records_with_their_children(chain):
    events = real_data.rich_events(DATA)
    before = chain.counts()
    chain.publish(events)
    chain.settled()
    assert set(chain.dead_letters()) == {"identity-conflict"}, "the rich records are fine"
    known = {url for entry in real_data.snapshot(DATA) for url in entry["sources"]}
    known |= {url for record in real_data.kitsu_file(DATA)["catalog"] for url in real_data.kitsu_sources(record)}
    fresh = [e for e in events if not known & set(e["anime"]["sources"])]
    assert chain.counts()["anime"] - before["anime"] == len(fresh)
    episodes = sum(len(e["episodes"]) for e in events)
    assert chain.db.one("SELECT count(*) FROM episode") == episodes
    for event in events:
        ids = [c["id"] for c in event["characters"]] + [e["id"] for e in event["episodes"]]
        for character in event["characters"]:
            got = chain.echora("get", "character", character["id"], "--json").json
            assert got["character"]["name"], character["name"]
        assert len(ids) == len(set(ids))
    assert chain.points(entity_type="episode") == episodes
    assert chain.points(entity_type="character") == chain.db.one("SELECT count(*) FROM character")
    report = chain.echora("reconcile", "--json", timeout=120).json
    assert not any(int(report.get(key, 0)) for key in ("missing", "stale", "surplus", "pending"))
