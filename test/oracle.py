"""The oracle of the whole chain: what PostgreSQL, ANIME_SYNC, ANIME_DLQ and Qdrant must hold, from the events that
went in. It shares no code with the product: published wire tables, the stores' own protocols, the rules once more.

usage: oracle.py --pg URL --nats URL [--qdrant URL] [INPUT.ndjson]
  INPUT  a line {"subject": ..., "payload": base64, "headers": {...}} of every event that was acknowledged (none: what
         ANIME_EVENTS holds) and of every deletion or restore that was answered well: the request, its JSON with asOf.
  Exit code 0 = all is as it must be, 1 = it is not (up to 20 differences are printed), 2 = usage.
The system must be at rest: events settled, outbox relayed, ANIME_SYNC consumed.

Rules: every field has the value of the newest event (time in microseconds, then event id) that set it. anime.enriched
and anime.episode.aired set what is on the wire and never clear; a sparse event sets its changed_fields, absent values
clear. Existence is one more such value. Entities are the classes of what events join: ids and references of anime and
characters (a character without either: its name in its anime), number in its anime of episodes. An event whose entity
nobody made waits in pending_update. An event counts once, however often it came.
Not modelled: updates that the risk policy parks; events that join two entities (identity-conflict); merge_into;
expired waiting updates; an event id used for two contents; a character named now by name alone and now with id or
reference, or renamed while it is; a reference claimed by two episodes; requests at the very time of an event on the
same anime; relations, materials, companies and search texts (graph_edge, vectors); outbox rows already rotated away.
"""
import argparse
import collections
import json
import re
import sys
import urllib.parse

from harness import remote, wire

EVENTS = {"anime.enriched": ("AnimeEnrichedEvent", "catalog-enriched"),
          "anime.updated": ("AnimeUpdatedEvent", "catalog-updated"),
          "anime.episode.aired": ("EpisodeAiredEvent", "catalog-episode-aired"),
          "character.updated": ("CharacterUpdatedEvent", "catalog-character-updated"),
          "episode.updated": ("EpisodeUpdatedEvent", "catalog-episode-updated")}
WITH_MEMBERS = {"anime.enriched", "anime.episode.aired"}
NOT_FIELDS = {"id", "entity_type", "similarity_score", "anime_id", "episode_number", "@exists"}
COLUMNS = {"duration": "duration_seconds", "favorites": "favourites"}
POINT_FIELDS = {
    "anime": "title title_english title_japanese type status rating season year month source_material duration genres "
             "tags demographics content_warnings sources nsfw",
    "character": "name name_native favorites roles traits",
    "episode": "title title_japanese title_romaji season_number episode_number duration score filler recap"}
POINT_DEFAULTS = {"nsfw": False, "filler": False, "recap": False, "episode_number": 0}
HOSTS = wire.rows("../hosts.csv")  # read as its own comments say
ALIASES = {row["host"]: row["reference"] for row in HOSTS if row["names"] == "alias"}
MANY = {row["reference"] for row in HOSTS if row["names"] == "many"}


def regex(pattern, names):
    """For a path and each parameter on a line of its own; at most one more segment, a name, may follow an id."""
    pattern = re.escape(pattern).replace(r"\{number\}", r"0*(\d+)(?!\w)/?[^/\n]*")
    path, *query = re.split(r"\\[?&]", pattern.replace(r"\{slug\}", r"([^/\n]+)(?:/[^/\n]*)?"))
    return "(?m)" + path + "(/.*)?" * (names == "none") + "$" + "".join(rf"(?=(?s:.*?)\n{part}$)" for part in query)


def reference(source):
    """The reference that a source makes, None when it makes none or names no single thing."""
    source = source.strip()
    if not source or re.search(r"[\x00-\x20\x7f]", source):
        return None
    if re.match(r"(url:[^/]|[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*:.)", source):
        return None if ":".join(source.split(":")[:2]) in MANY else source
    url = urllib.parse.urlsplit(source if re.match("https?://", source, re.I) else "https://" + source)
    host = url.netloc.lower().removesuffix(":443").removesuffix(":80").removesuffix(".").removeprefix("www.")
    host, path, given = ALIASES.get(host, host), url.path.rstrip("/"), url.query.split("&")
    for row in HOSTS:
        if row["host"] == host and (found := re.match(regex(row["pattern"], row["names"]), "\n".join([path, *given]))):
            if row["names"] != "none":
                return None if row["names"] == "many" else f"{row['reference']}:{found[1]}"
            break
    kept = sorted(p for p in given if not re.match("(utm_|(fbclid|gclid|igshid|msclkid)(=|$)|$)", p))
    return f"url:{host}{path}" + ("?" + "&".join(kept) if kept else "") if "." in host[1:] else None


def names_of(kind, ident, sources):
    return [(kind, "id", ident.lower())] * bool(ident) + [(kind, "ref", r) for s in sources if (r := reference(s))]


class Thing:
    """One entity: what it is known by, and its values with the clocks that set them."""

    def __init__(self):
        self.names, self.values = set(), {}

    def take(self, clock, values):
        """Those that nothing newer has set."""
        for name in values.keys() - NOT_FIELDS:
            if name not in self.values or self.values[name][0] < clock:
                self.values[name] = (clock, values[name])

    def key(self):
        """By the smallest reference, else by id, else by what makes it known within its anime."""
        kind, _, *what = min(self.names, key=lambda n: (("number", "ref", "id", "name").index(n[1]), str(n[2:])))
        return kind, *(part.key() if isinstance(part, Thing) else part for part in what)


class Expectation:
    """Tables from events: `rows` and `inbox` under the keys by which they are read, and all `ids` that events name."""

    def __init__(self, inputs, dead=()):
        self.things = {}
        events = list(self.read(inputs, dead))
        made = {self.things[name] for *_, name, fields in events if "exists" in fields}
        members = [list(self.members(message, self.things[name])) if self.things[name] in made else ()
                   for _, _, message, name, _ in events]
        for (_, clock, _, name, fields), told in zip(events, members):
            self.things[name].take(clock, fields)
            for member, fields in told:
                self.things[member].take(clock, {**fields, "exists": True})
        self.inbox = {("inbox", clock[1], consumer): {"stands": 1, "waits": "exists" not in self.things[name].values}
                      for consumer, clock, _, name, _ in events if consumer}
        self.ids = {name[2] for name in self.things if name[1] == "id"}
        self.rows, episodes = {}, collections.Counter(name[2] for name in self.things if name[1] == "number")
        for thing in {thing for thing in self.things.values() if "exists" in thing.values}:
            key, row = thing.key(), {name: value for name, value in thing.values.items() if isinstance(name, str)}
            self.rows |= {("cast", key, a.key()): {"is": thing.values[a]} for a in thing.values.keys() - row.keys()}
            clock, alive = row.pop("exists")
            self.rows[key] = row | {how: {name[2] for name in thing.names if name[1] == how} for how in ("id", "ref")}
            if key[0] == "anime":
                self.rows[key] |= {"exists": clock[0], "deleted": not alive, "episode_rows": episodes[thing]}

    def read(self, inputs, dead):
        """(consumer, clock, message, name, fields) of each event; a request is like an update of nothing else."""
        for subject, payload, headers in inputs:
            (name, consumer), headers = EVENTS.get(subject, ("AnimeUpdatedEvent", None)), headers or {}
            if payload in dead or "Echora-Review" in headers or headers.get("Echora-Replay-For", consumer) != consumer:
                continue
            if consumer:
                message = wire.classes()[name].FromString(payload)
                clock = (message.timestamp.ToMicroseconds(), message.event_id.lower())
            else:
                asked = json.loads(payload)
                message, clock = wire.classes()[name](anime_id=asked["animeId"]), (wire.micros(asked["asOf"]), "")
            kind = subject.removeprefix("catalog.").split(".")[0]
            given = wire.fields(getattr(message, kind, message))  # an aired episode's event has the status beside it
            given |= {"status": None} if given.get("status") == "UNSPECIFIED" else {}
            known = set(wire.classes()[kind.capitalize()].DESCRIPTOR.fields_by_name)
            fields = {field: given.get(field) for field in known & set(getattr(message, "changed_fields", given))}
            if subject in ("anime.enriched", "catalog.anime.delete", "catalog.anime.restore"):
                fields["exists"] = subject != "catalog.anime.delete"
            yield consumer, clock, message if subject in WITH_MEMBERS else None, self.join(
                names_of(kind, getattr(message, kind + "_id"), fields.get("sources") or ())), fields

    def members(self, message, anime):
        """(name, fields) of the characters, with their place in the cast, and episodes of an event's anime."""
        for place, c in enumerate(getattr(message, "characters", ())):
            fields = wire.fields(c)
            roles = fields.get("roles", ["UNSPECIFIED"])
            role = [roles[0], *(r for r, of in zip(roles, c.anime_ids) if of.lower() == message.anime_id.lower())][-1]
            yield self.join(names_of("character", c.id, c.sources) or [("character", "name", anime, c.name)]), {
                **fields, anime: (place, role if isinstance(role, str) else "UNKNOWN")}
        aired = getattr(message, "aired_at", None)
        for e in getattr(message, "episodes", ()) if aired is None else [message.episode]:
            if aired and not e.HasField("aired"):
                e.aired.FromJsonString(aired)
            names = [("episode", "number", anime, e.episode_number), *names_of("episode", e.id, e.sources)]
            yield self.join(names), wire.fields(e)

    def join(self, names):
        """All of them name one thing; returns the first."""
        thing = self.things.get(names[0]) or Thing()
        thing.names.update(names, *(self.things[name].names for name in names if name in self.things))
        self.things |= dict.fromkeys(thing.names, thing)
        return names[0]


class Tables:
    """The catalogue's `rows` as `Expectation` has them; beside them `entities` by id."""

    def __init__(self, db, ids=frozenset()):
        self.rows, self.entities = {}, {}
        for kind in POINT_FIELDS:
            for row, refs, aliases, casts in db.all(f"""
                    SELECT to_jsonb(t), ARRAY(SELECT ref FROM catalog.{kind}_xref WHERE {kind}_id = t.id ORDER BY 1),
                           ARRAY(SELECT alias_id::text FROM catalog.entity_alias WHERE entity_id = t.id),
                           ARRAY(SELECT to_jsonb(c) FROM catalog.anime_character AS c WHERE c.character_id = t.id)
                      FROM catalog.{kind} AS t"""):
                ident, owners = row["id"], [self.entities[c["anime_id"]] for c in [row, *casts] if "anime_id" in c]
                key = (kind, [*refs, ident][0])
                if kind == "episode" or owners and not refs and ident not in ids:
                    key = (kind, owners[0]["key"], row.get("episode_number", row.get("name")))
                fields = wire.kept(kind.capitalize(), row, COLUMNS)
                clocks = {name: (int(c.split(":")[0]), c.split(":")[1]) for name, c in (row["clocks"] or {}).items()}
                base = (wire.micros(row["clock_time"]), row["clock_event"])
                gone = row.get("deleted_at") is not None or bool(owners) and all(owner["gone"] for owner in owners)
                entry = {name: (clocks.get(name, base), fields.get(name)) for name in {*fields, *clocks} - NOT_FIELDS}
                self.rows[key] = entry | {"ref": set(refs), "id": {*aliases, ident} if ident in ids else set(aliases)}
                if kind == "anime":
                    self.rows[key] |= {"exists": clocks.get("@exists", base)[0], "deleted": gone,
                                       "episode_rows": row["episode_rows"]}
                self.rows |= {("cast", key, owner["key"]): {
                    "is": ((wire.micros(c["clock_time"]), c["clock_event"]), (c["billing_order"], c["role"]))}
                    for c, owner in zip(casts, owners)}
                self.entities[ident] = row | dict(kind=kind, key=key, fields=fields, gone=gone, owners=owners)


def differences(want, have):
    """Lines for two dicts of rows."""
    for key in sorted(want.keys() | have.keys(), key=str):
        if key not in have or key not in want:
            yield f"{key}: " + ("missing" if key not in have else "surplus")
        else:
            yield from (f"{key} {part}: {have[key].get(part)} instead of {want[key].get(part)}"
                        for part in sorted({*want[key], *have[key]}) if want[key].get(part) != have[key].get(part))


class Wrong(AssertionError):
    """What is not as it must be, one difference a line."""


class Oracle:
    """db: .all(sql); bus: .read(stream), .each(stream), .events(); qdrant: .url, or None without index."""

    def __init__(self, db, bus, qdrant=None, most=20):
        self.db, self.bus, self.qdrant, self.most = db, bus, qdrant, most

    def check(self, inputs=None, dead_letters=()):
        """Of [(subject, payload, headers)], None = what ANIME_EVENTS holds, and [(payload, code)]. Raises Wrong."""
        inputs = self.bus.events() if inputs is None else inputs
        expected = Expectation(inputs, {payload for payload, _ in dead_letters})
        tables = Tables(self.db, expected.ids)
        inbox = {("inbox", *key): {"stands": stands, "waits": waits} for *key, stands, waits in self.db.all(
            "SELECT event_id::text, consumer, count(i.outcome), count(p.subject) > 0 FROM catalog.inbox AS i "
            "FULL JOIN catalog.pending_update AS p USING (event_id, consumer) GROUP BY 1, 2")}
        letters = [(payload, headers["Echora-Dlq-Code"]) for _, _, headers, payload in self.bus.read("ANIME_DLQ")]
        letters = [{("ANIME_DLQ", *letter): {"times": n} for letter, n in collections.Counter(side).items()}
                   for side in (dead_letters, letters)]
        wrong = [*differences(expected.rows, tables.rows), *differences(expected.inbox, inbox),
                 *self.outbox(tables), *(self.points(tables) if self.qdrant else ()), *differences(*letters)]
        if wrong:
            raise Wrong("\n".join([f"{len(wrong)} differences", *wrong[:self.most]]))
        return tables

    def outbox(self, tables):
        """Each row is one message, in each entity's order, and of each entity the newest revision is told."""
        last, told, covers, rows = collections.Counter(), collections.Counter(), {}, {
            event: row for event, *row in self.db.all(
                "SELECT event_id::text, id, entity_id::text, headers, subject, payload, count(*) OVER (PARTITION BY "
                "event_id) FROM catalog.outbox WHERE stream = 'ANIME_SYNC' ORDER BY id")}
        for sequence, subject, headers, payload in self.bus.each("ANIME_SYNC"):
            what = f"ANIME_SYNC {sequence} {subject}"
            if headers.get("Echora-Event-Id") not in rows:
                yield f"{what}: of no outbox row, or a second time"
                continue
            number, entity, given, *content = rows.pop(headers["Echora-Event-Id"])
            given = dict(line.split(": ", 1) for line in given.split("\n"))
            if content != [subject, payload, 1] or not given.items() <= headers.items():
                yield f"{what}: differs from outbox row {number}, or that one's event has two rows"
            revision = wire.classes()["EntityEvent"].FromString(content[1]).revision
            if last[entity] >= number:
                yield f"{what}: outbox row {number} of {entity} came late"
            if told[entity] >= revision + ("Echora-Repair" in headers):  # drift repair tells a revision again
                yield f"{what}: revision of {entity} did not rise"
            last[entity], told[entity] = number, revision
            if subject in ("anime.created", "anime.deleted"):
                covers[entity] = revision
        yield from (f"outbox row {number} of {entity}: in no message" for number, entity, *_ in rows.values())
        for ident, entity in tables.entities.items():  # what became of an anime tells of its members as well
            now = entity["revision"]
            if told[ident] != now and not any(told[ident] < now > covers.get(a["id"], now) for a in entity["owners"]):
                yield f"{entity['key']}: revision {now}, last told {told[ident]}"

    def points(self, tables):
        """Each living entity has its point; of a deleted one, none but a deleted one is left."""
        want, have = {}, {}
        for entity in tables.entities.values():
            kind, fields, owners = entity["kind"], entity["fields"], entity["owners"]
            row = {name: fields.get(name, POINT_DEFAULTS.get(name)) for name in POINT_FIELDS[kind].split()}
            row |= {"entity_type": kind, "rev": entity["revision"], "deleted": None, "emb": True}
            if kind == "anime":
                row["episode_count"] = max(fields.get("episode_count", 0), entity["episode_rows"]) or None
            else:
                row["nsfw"] = any(owner["fields"].get("nsfw") and not owner["gone"] for owner in owners)
                row["anime_ids"] = sorted(owner["id"] for owner in owners) or None
            want |= {} if entity["gone"] else {("point", *entity["key"]): row}
        for ident, payload in remote.points(self.qdrant).items():
            entity = tables.entities.get(ident, {"gone": False, "key": (ident,)})
            if not (entity["gone"] and payload.get("deleted")):
                key = ("point", *entity["key"])
                have[key] = {name: payload.get(name) for name in want.get(key, ())} | {"emb": bool(payload.get("emb"))}
        return differences(want, have)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     usage=argparse.SUPPRESS)
    parser.add_argument("--pg", required=True)
    parser.add_argument("--nats", required=True)
    parser.add_argument("--qdrant", type=remote.index)
    parser.add_argument("input", nargs="?", type=remote.inputs)
    args = parser.parse_args()
    try:
        tables = Oracle(remote.Database(args.pg), remote.bus(args.nats), args.qdrant).check(args.input)
    except Wrong as wrong:
        print(wrong)
        return 1
    print(f"as it must be: {len(tables.entities)} entities")


if __name__ == "__main__":
    sys.exit(main())
