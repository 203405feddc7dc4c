"""The oracle of the whole chain: what PostgreSQL, ANIME_SYNC, ANIME_DLQ and Qdrant must hold, computed from the
events that went in. It shares no code with the product: messages are built from the published wire tables, the
stores are read over their own protocols, the rules are written down once more.

usage: oracle.py --pg URL --nats URL [--qdrant URL] [INPUT.ndjson]
  INPUT  lines of {"subject": ..., "payload": base64, "headers": {...}}: every event that was acknowledged, in any
         order, doubles included. Without it, what ANIME_EVENTS holds is the input. A deletion or restore that was
         answered well is a line too: subject catalog.anime.delete or .restore, payload the request's JSON, with asOf.
  Exit code 0 = all is as it must be, 1 = it is not (up to 20 differences are printed), 2 = usage.

The system must be at rest: events settled, outbox relayed, ANIME_SYNC consumed.

The rules, and what they leave out, stand in oracle_model.py.
"""
import argparse
import asyncio
import base64
import collections
import json
import sys
import urllib.request
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[i]) for i in (1, 0)]

import nats  # noqa: E402
import psycopg  # noqa: E402
from google.protobuf import json_format  # noqa: E402
from harness import wire  # noqa: E402
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy  # noqa: E402
from oracle_model import KINDS, NOT_STORED, Expectation, on_wire  # noqa: E402

COLUMNS = {"duration": "duration_seconds", "favorites": "favourites"}
PAYLOAD = {"anime": ("title", "title_english", "title_japanese", "type", "status", "rating", "season", "year", "month",
                     "source_material", "duration", "genres", "tags", "demographics", "content_warnings", "sources"),
           "character": ("name", "name_native", "favorites", "roles", "traits"),
           "episode": ("title", "title_japanese", "title_romaji", "season_number", "duration", "score")}


class Wrong(AssertionError):
    """What is not as it must be, one difference a line."""


def read_stream(bus, stream, timeout=60):
    """[(sequence, subject, headers, payload)] of everything a stream holds."""
    async def go():
        if not (await bus.js.stream_info(stream)).state.messages:
            return []
        inbox, found = bus.nc.new_inbox(), []
        sub = await bus.nc.subscribe(inbox, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await bus.js.add_consumer(stream, ConsumerConfig(
            deliver_subject=inbox, ack_policy=AckPolicy.NONE, deliver_policy=DeliverPolicy.ALL, mem_storage=True))
        pending = True
        while pending:
            m = await sub.next_msg(timeout)
            found.append((m.metadata.sequence.stream, m.subject, dict(m.headers or {}), m.data))
            pending = m.metadata.num_pending
        await sub.unsubscribe()
        return found
    return bus.wait(go(), timeout + 60)


# --- what is stored --------------------------------------------------------------------------------------

MICROS = "(extract(epoch FROM {}) * 1000000)::bigint"


class Tables:
    """The catalogue's rows as `Expectation` has them; ids, revisions and what belongs to whom beside them."""

    def __init__(self, db, ids=frozenset()):
        self.rows, self.entities, self.keys = {}, {}, {}
        aliases = collections.defaultdict(set)
        for alias, entity in db.all("SELECT alias_id::text, entity_id::text FROM catalog.entity_alias"):
            aliases[entity].add(alias)
        refs = collections.defaultdict(list)
        for kind in KINDS:
            for ref, entity in db.all(f"SELECT ref, {kind}_id::text FROM catalog.{kind}_xref ORDER BY ref"):
                refs[entity].append(ref)
        casts = collections.defaultdict(dict)
        for character, anime, *cast in db.all(
                f"SELECT character_id::text, anime_id::text, {MICROS.format('clock_time')}, clock_event::text, "
                "billing_order, role FROM catalog.anime_character ORDER BY 1, 2"):
            casts[character][anime] = tuple(cast)
        for kind in KINDS:
            for time, deleted_at, row in db.all(
                    f"SELECT {MICROS.format('clock_time')}, "
                    f"{MICROS.format('deleted_at') if kind == 'anime' else 'NULL'}, to_jsonb(t) "
                    f"FROM catalog.{kind} AS t"):
                ident, message = row["id"], message_of(kind, row)
                clocks = {name: (int(c.split(":")[0]), c.split(":")[1]) for name, c in (row["clocks"] or {}).items()}
                base = (time, row["clock_event"])
                exists = clocks.pop("@exists", base)[0]
                entry = {"fields": json_format.MessageToDict(message, preserving_proto_field_name=True),
                         "clocks": {**dict.fromkeys(on_wire(message) - NOT_STORED[kind], base), **clocks},
                         "refs": refs[ident], "ids": aliases[ident] | ({ident} & ids)}
                if kind == "anime":
                    key, animes = (kind, (refs[ident] or [ident])[0]), ()
                    entry |= {"exists": exists, "deleted": deleted_at is not None, "episode_rows": row["episode_rows"]}
                    gone = deleted_at is not None
                elif kind == "episode":
                    key, animes = (kind, self.keys[row["anime_id"]], row["episode_number"]), (row["anime_id"],)
                else:
                    animes = tuple(casts[ident])
                    entry["cast"] = {self.keys[a]: cast for a, cast in casts[ident].items()}
                    key = (kind, refs[ident][0]) if refs[ident] else (kind, ident) if ident in ids or not animes \
                        else (kind, self.keys[animes[0]], message.name)
                if kind != "anime":
                    gone = bool(animes) and all(self.entities[a]["gone"] for a in animes)
                self.keys[ident], self.rows[key] = key, entry
                self.entities[ident] = {"kind": kind, "revision": row["revision"], "gone": gone, "animes": animes,
                                        "message": message, "row": row}


def message_of(kind, row):
    """Columns and meta give the message; meta wins."""
    message = json_format.ParseDict(row["meta"], wire.classes()[KINDS[kind]]())
    for field in message.DESCRIPTOR.fields:
        value = row.get(COLUMNS.get(field.name, field.name))
        if value is None or field.name in on_wire(message) | NOT_STORED[kind]:
            continue
        if field.enum_type:
            prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
            value = field.enum_type.values_by_name[prefix + value].number
        setattr(message, field.name, value)
    return message


# --- the checks ------------------------------------------------------------------------------------------

class Oracle:
    """db: .all(sql, *parameters); bus: .wait(coroutine, timeout), .nc, .js; qdrant: .url, or None without index."""

    def __init__(self, db, bus, qdrant=None, most=20):
        self.db, self.bus, self.qdrant, self.most = db, bus, qdrant, most

    def check(self, inputs=None, dead_letters=()):
        """inputs: [(subject, payload, headers)], None = what ANIME_EVENTS holds; dead_letters: [(payload, code)].
        Raises Wrong."""
        if inputs is None:
            inputs = [(subject, payload, headers) for _, subject, headers, payload in
                      read_stream(self.bus, "ANIME_EVENTS")]
        expected = Expectation(inputs, {payload for payload, _ in dead_letters})
        tables = Tables(self.db, expected.ids)
        wrong = [*self.tables(expected, tables), *self.inbox(expected), *self.outbox(tables), *self.points(tables),
                 *self.letters(dead_letters)]
        if wrong:
            raise Wrong("\n".join([f"{len(wrong)} differences", *wrong[:self.most]]))
        return tables

    def tables(self, expected, tables):
        return differences(expected.rows, tables.rows)

    def inbox(self, expected):
        seen = collections.Counter(self.db.all("SELECT event_id::text, consumer FROM catalog.inbox"))
        waiting = set(self.db.all("SELECT event_id::text, consumer FROM catalog.pending_update"))
        yield from (f"inbox: {key} stands {seen[key]} times" for key in seen.keys() | expected.inbox.keys()
                    if seen[key] != (key in expected.inbox))
        yield from (f"pending_update: {key} " + ("waits no longer" if key not in waiting else "still waits")
                    for key in waiting ^ {key for key, waits in expected.inbox.items() if waits})

    def outbox(self, tables):
        rows = {}
        for event, *row in self.db.all("SELECT event_id::text, id, subject, entity_id::text, headers, payload "
                                       "FROM catalog.outbox WHERE stream = 'ANIME_SYNC' ORDER BY id"):
            if event in rows:
                yield f"outbox rows {rows[event][0]} and {row[0]}: both are event {event}"
            rows[event] = row
        last, told, covers = {}, {}, {}
        for sequence, subject, headers, payload in read_stream(self.bus, "ANIME_SYNC"):
            what = f"ANIME_SYNC {sequence} {subject}"
            row = rows.pop(headers.get("Echora-Event-Id"), None)
            if row is None:
                yield f"{what}: of no outbox row, or a second time"
                continue
            ident, row_subject, entity, row_headers, row_payload = row
            if (subject, payload) != (row_subject, bytes(row_payload)) \
                    or any(headers.get(n) != v for n, v in (line.split(": ", 1) for line in row_headers.split("\n"))):
                yield f"{what}: differs from outbox row {ident}"
            message = wire.classes()["EntityEvent"].FromString(bytes(row_payload))
            key = tables.keys.get(entity, entity)
            if last.get(entity, 0) >= ident:
                yield f"{what}: outbox row {ident} of {key} came late"
            # Drift repair tells a revision again.
            if told.get(entity, 0) >= message.revision + ("Echora-Repair" in headers):
                yield f"{what}: revision of {key} did not rise"
            last[entity], told[entity] = ident, message.revision
            if subject in ("anime.created", "anime.deleted"):
                covers[entity] = message.revision
        yield from (f"outbox row {row[0]} {row[1]} {tables.keys.get(row[2], row[2])}: in no message" for row in rows.values())
        for ident, entity in tables.entities.items():
            if told.get(ident) != entity["revision"] and not any(
                    told.get(ident, 0) < entity["revision"] > covers.get(a, entity["revision"])
                    for a in entity["animes"]):
                yield f"{tables.keys[ident]}: revision {entity['revision']}, last told {told.get(ident)}"

    def points(self, tables):
        if self.qdrant is None:
            return
        points, page = {}, {"next_page_offset": None}
        while not points or page["next_page_offset"]:
            page = self.call("/collections/anime_database/points/scroll", limit=1000, with_payload=True,
                             offset=page["next_page_offset"])
            points |= {p["id"]: p["payload"] for p in page["points"]}
            if not page["points"]:
                break
        for ident in points.keys() | tables.entities.keys():
            entity, have = tables.entities.get(ident), points.get(ident)
            if entity is None:
                yield f"point {ident}: of nothing in the catalogue"
            elif entity["gone"] and have is not None and not have.get("deleted"):
                yield f"point {ident} of {tables.keys[ident]}: lives, the entity is deleted"
            elif not entity["gone"]:
                want = self.payload(tables, entity)
                got = {name: (have or {}).get(name) for name in want}
                if want != got or not have.get("emb"):
                    yield from differences({("point", *tables.keys[ident]): want},
                                           {("point", *tables.keys[ident]): got} if have else {})

    @staticmethod
    def payload(tables, entity):
        kind, message, nsfw = entity["kind"], entity["message"], None
        fields = json_format.MessageToDict(message, preserving_proto_field_name=True)
        want = {name: plain(message.DESCRIPTOR.fields_by_name[name], fields.get(name)) for name in PAYLOAD[kind]}
        want |= {"entity_type": kind, "rev": entity["revision"], "deleted": None}
        if kind == "anime":
            want["nsfw"] = message.nsfw
            want["episode_count"] = max(message.episode_count, entity["row"]["episode_rows"]) or None
        else:
            owners = [tables.entities[a] for a in entity["animes"]]
            want["nsfw"] = any(a["message"].nsfw and not a["gone"] for a in owners)
            want["anime_ids"] = sorted(entity["animes"]) or None
        if kind == "episode":
            want |= {"episode_number": entity["row"]["episode_number"], "filler": message.filler,
                     "recap": message.recap}
        return want

    def call(self, path, **body):
        request = urllib.request.Request(self.qdrant.url + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)["result"]

    def letters(self, expected):
        have = collections.Counter((payload, headers["Echora-Dlq-Code"])
                                   for _, _, headers, payload in read_stream(self.bus, "ANIME_DLQ"))
        want = collections.Counter(expected)
        yield from (f"ANIME_DLQ: {code} of {payload[:40]!r}: {have[payload, code]} instead of {want[payload, code]}"
                    for payload, code in have.keys() | want.keys() if have[payload, code] != want[payload, code])


def plain(field, value):
    """As the index has it: enum names without their prefix, 64-bit numbers as numbers."""
    if isinstance(value, list):
        return [plain(field, v) for v in value]
    if field.enum_type and isinstance(value, str):
        return value.removeprefix(field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED"))
    return int(value) if field.type == field.TYPE_INT64 and value is not None else value


def differences(want, have):
    """Lines for two dicts of rows."""
    for key in sorted(want.keys() | have.keys(), key=str):
        if key not in have or key not in want:
            yield f"{key}: " + ("missing" if key not in have else "surplus")
            continue
        a, b = want[key], have[key]
        for part in sorted(a.keys() | b.keys()):
            x, y = a.get(part), b.get(part)
            if isinstance(x, dict) and isinstance(y, dict):
                yield from (f"{key} {part} {name}: {y.get(name)} instead of {x.get(name)}"
                            for name in sorted(x.keys() | y.keys(), key=str) if x.get(name) != y.get(name))
            elif x != y:
                yield f"{key} {part}: {y} instead of {x}"


# --- the command line ------------------------------------------------------------------------------------

class Remote:
    """The adapters that `Oracle` asks for, over URLs."""

    def __init__(self, pg, nats_url, qdrant):
        self.connection, self.url = psycopg.connect(pg, autocommit=True), (qdrant or "").rstrip("/")
        self.loop = asyncio.new_event_loop()
        self.nc = self.wait(nats.connect(nats_url))
        self.js = self.nc.jetstream()

    def wait(self, coroutine, timeout=30):
        return self.loop.run_until_complete(asyncio.wait_for(coroutine, timeout))

    def close(self):
        self.wait(self.nc.close())
        self.connection.close()

    def all(self, query, *parameters):
        return self.connection.execute(query, parameters or None).fetchall()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS)
    parser.add_argument("--pg", required=True)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--qdrant")
    parser.add_argument("input", nargs="?")
    args = parser.parse_args()
    inputs = None
    if args.input:
        with open(args.input, encoding="utf-8") as file:
            inputs = [(row["subject"], base64.b64decode(row["payload"]), row.get("headers"))
                      for row in map(json.loads, file)]
    remote = Remote(args.pg, args.nats, args.qdrant)
    try:
        tables = Oracle(remote, remote, remote if args.qdrant else None).check(inputs)
    except Wrong as wrong:
        print(wrong)
        return 1
    finally:
        remote.close()
    print(f"as it must be: {len(tables.rows)} entities")
    return 0


if __name__ == "__main__":
    sys.exit(main())
