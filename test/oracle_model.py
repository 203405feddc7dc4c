"""What the tables must hold, computed from events alone. Half of the oracle (oracle.py); no product code.

Rules: every field has the value of the newest event (time in microseconds, then event id) that set it. anime.enriched
and anime.episode.aired set what is on the wire and never clear; changed_fields says what a sparse event sets, absent
values clear. Existence is one more such value. Entities are the classes of what events join: ids and references of
anime and characters (a character without either: its name in its anime), number in its anime of episodes. An event
whose entity nobody made waits in pending_update. An event counts once, however often it came.

Not modelled: updates that the risk policy parks; events that join two entities (identity-conflict); merge_into;
expired waiting updates; an event id used for two contents; a character named now by name alone and now with id or
reference, or renamed while it is; a reference claimed by two episodes; requests at the very time of an event on the
same anime; relations, materials, companies and search texts (graph_edge, vectors); outbox rows already rotated away.
"""
import collections
import csv
import json
import re
import urllib.parse

from google.protobuf import json_format, timestamp_pb2
from harness import wire

EVENTS = {"anime.enriched": ("AnimeEnrichedEvent", "catalog-enriched"),
          "anime.updated": ("AnimeUpdatedEvent", "catalog-updated"),
          "anime.episode.aired": ("EpisodeAiredEvent", "catalog-episode-aired"),
          "character.updated": ("CharacterUpdatedEvent", "catalog-character-updated"),
          "episode.updated": ("EpisodeUpdatedEvent", "catalog-episode-updated")}
KINDS = {"anime": "Anime", "character": "Character", "episode": "Episode"}
NOT_STORED = {"anime": {"id", "entity_type", "similarity_score"}, "character": {"id", "entity_type"},
              "episode": {"id", "entity_type", "anime_id", "episode_number"}}


# --- references: contracts/hosts.csv read as its own comments say ---------------------------------------

HOSTS, ALIASES, MANY = [], {}, set()
for _row in csv.reader(line for line in open(wire.TABLES.parent / "hosts.csv", encoding="utf-8") if line[0] != "#"):
    if _row[3] == "alias":
        ALIASES[_row[0]] = _row[2]
    elif _row[0] != "host":
        HOSTS.append(_row)
        MANY |= {_row[2]} if _row[3] == "many" else set()


def slot(text):
    """A pattern's regular expression; at most one more segment, a name, may follow an id."""
    text = re.escape(text).replace(r"\{number\}", r"0*(\d+)(?!\w)/?[^/]*")
    return text.replace(r"\{slug\}", r"([^/]+)(?:/[^/]*)?") + r"\Z"


def reference(source):
    """The reference that a source makes, None when it makes none or names no single thing."""
    source = source.strip()
    if not source or re.search(r"[\x00-\x20\x7f]", source):
        return None
    if re.match(r"(url:[^/]|[a-z][a-z0-9_-]*:[a-z][a-z0-9_-]*:.)", source):
        return None if ":".join(source.split(":")[:2]) in MANY else source
    url = urllib.parse.urlsplit(source if re.match("https?://", source, re.I) else "https://" + source)
    host = url.netloc.lower().removesuffix(":443").removesuffix(":80").removesuffix(".").removeprefix("www.")
    host, path = ALIASES.get(host, host), url.path.rstrip("/")
    given = [p for p in url.query.split("&") if p]
    for name, pattern, kind, names in HOSTS:
        if name != host:
            continue
        want_path, _, want_query = pattern.partition("?")
        if names == "none" and (path == want_path or path.startswith(want_path + "/")):
            break
        found = [re.match(slot(want_path), path)]
        found += [next((m for p in given if (m := re.match(slot(q), p))), None) for q in want_query.split("&") if q]
        if names != "none" and all(found):
            return None if names == "many" else f"{kind}:" + next(m[1] for m in found if m.groups())
    kept = sorted(p for p in given if not re.match("utm_|(fbclid|gclid|igshid|msclkid)(=|$)", p))
    return f"url:{host}{path}" + ("?" + "&".join(kept) if kept else "") if "." in host[1:] else None


def references(sources):
    return sorted({r for s in sources if (r := reference(s))})


# --- what the input says ---------------------------------------------------------------------------------

Part = collections.namedtuple("Part", "kind names refs fields source place", defaults=(0,))


class Thing:
    """One entity: its fields with the clocks that set them."""

    def __init__(self, kind):
        self.kind, self.row, self.fields = kind, False, {}
        self.names, self.refs, self.exists, self.cast, self.episodes = set(), set(), None, {}, set()

    def set(self, fields, source, clock):
        for name in set(fields) - NOT_STORED[self.kind]:
            if name not in self.fields or self.fields[name][0] < clock:
                self.fields[name] = (clock, source)

    def content(self):
        message = wire.classes()[KINDS[self.kind]]()
        for name, (_, source) in self.fields.items():
            if name in on_wire(source):
                one = type(source)()
                one.CopyFrom(source)
                for other in on_wire(source) - {name}:
                    one.ClearField(other)
                message.MergeFrom(one)
        return {"fields": json_format.MessageToDict(message, preserving_proto_field_name=True),
                "clocks": {name: clock for name, (clock, _) in self.fields.items()}, "refs": sorted(self.refs)}


def on_wire(message):
    return {field.name for field, _ in message.ListFields()}


def named(kind, ident, sources):
    return [(kind, "id", ident.lower())] * bool(ident) + [(kind, "ref", r) for r in references(sources)]


def time_of(stamp):
    return stamp.seconds * 10**6 + stamp.nanos // 1000


class Expectation:
    """Tables from events: `rows` under the same keys as `Tables` reads them, `inbox` {(event, consumer): waits}."""

    def __init__(self, inputs, dead=()):
        self.up, self.things = {}, {}
        events = list(self.read(inputs, dead))
        for subject, _, message, _ in events:  # anime first: members are known by them
            self.join(self.main(subject, message).names)
        events = [(subject, consumer, [self.main(subject, message), *self.members(subject, message)], clock)
                  for subject, consumer, message, clock in events]
        for _, _, parts, _ in events:
            for part in parts:
                self.join(part.names)
        for subject, _, (main, *_), clock in events:
            if subject in ("anime.enriched", "catalog.anime.delete", "catalog.anime.restore"):
                thing = self.thing(main)
                thing.row |= subject != "catalog.anime.restore"
                thing.exists = max(thing.exists or (clock,), (clock, subject != "catalog.anime.delete"))
        for subject, _, parts, clock in events:
            self.apply(subject, parts, clock)
        self.inbox = {(clock[1], consumer): not self.thing(parts[0]).row
                      for _, consumer, parts, clock in events if consumer}
        self.ids = {name[2] for name in self.up if name[1] == "id"}
        self.rows = {self.key(thing): self.row(thing) for thing in self.things.values() if thing.row}

    def read(self, inputs, dead):
        seen = set()
        for subject, payload, headers in inputs:
            if subject.startswith("catalog.anime."):
                at, asked = timestamp_pb2.Timestamp(), json.loads(payload)
                at.FromJsonString(asked["asOf"])
                yield subject, None, asked["animeId"], (time_of(at), "")
                continue
            (name, consumer), headers = EVENTS[subject], headers or {}
            if payload in dead or "Echora-Review" in headers or headers.get("Echora-Replay-For", consumer) != consumer:
                continue
            message = wire.classes()[name].FromString(payload)
            clock = (time_of(message.timestamp), message.event_id.lower())
            if (consumer, clock) not in seen:
                seen.add((consumer, clock))
                yield subject, consumer, message, clock

    def find(self, name):
        while (up := self.up.setdefault(name, name)) != name:
            self.up[name] = name = self.up[up]
        return name

    def join(self, names):
        for name in names:
            self.up[self.find(name)] = self.find(names[0])

    def thing(self, part):
        return self.things.setdefault(self.find(part.names[0]), Thing(part.kind))

    @staticmethod
    def main(subject, message):
        """What an event is about."""
        if subject.startswith("catalog."):
            return Part("anime", named("anime", message, ()), (), (), None)
        if subject == "anime.episode.aired":
            return Part("anime", named("anime", message.anime_id, ()), (), ["status"] * message.HasField("status"),
                        wire.classes()["Anime"](status=message.status))
        kind = subject.split(".")[0]
        source = getattr(message, kind)
        fields = on_wire(source) if subject == "anime.enriched" else message.changed_fields
        sources = source.sources if "sources" in fields else ()
        names = named(kind, getattr(message, kind + "_id"), () if kind == "episode" else sources)
        return Part(kind, names, references(sources), fields, source)

    def members(self, subject, message):
        if subject not in ("anime.enriched", "anime.episode.aired"):
            return
        anime = self.find(("anime", "id", message.anime_id.lower()))
        for place, c in enumerate(getattr(message, "characters", ())):
            names = named("character", c.id, c.sources) or [("character", "name", anime, c.name)]
            yield Part("character", names, references(c.sources), on_wire(c), c, (place, role(c, message.anime_id)))
        for e in message.episodes if subject == "anime.enriched" else [message.episode]:
            if subject == "anime.episode.aired" and message.aired_at and not e.HasField("aired"):
                e.aired.FromJsonString(message.aired_at)
            names = [("episode", "number", anime, e.episode_number), *named("episode", e.id, ())]
            yield Part("episode", names, references(e.sources), on_wire(e), e)

    def apply(self, subject, parts, clock):
        anime = self.thing(parts[0])
        for part in parts if anime.row else parts[:1]:
            thing = self.thing(part)
            thing.names |= set(part.names)
            thing.refs |= set(part.refs)
            thing.set(part.fields, part.source, clock)
            if part is parts[0]:
                continue
            thing.row = True
            if part.kind == "episode":
                anime.episodes.add(part.names[0])
            elif thing.cast.get(parts[0].names[0], ((), 0))[0] < clock:
                thing.cast[parts[0].names[0]] = (clock, part.place)

    def key(self, thing):
        """By the smallest reference, else by id, else by what makes it known within its anime."""
        for name in sorted(thing.names, key=lambda n: (n[1] != "number", n[1] != "ref", str(n))):
            if name[1] in ("number", "name"):
                return (thing.kind, self.key(self.things[self.find(name[2])]), name[3])
            return (thing.kind, name[2])

    def row(self, thing):
        row = {**thing.content(), "ids": {n[2] for n in thing.names if n[1] == "id"}}
        if thing.kind == "anime":
            row |= {"exists": thing.exists[0][0], "deleted": not thing.exists[1], "episode_rows": len(thing.episodes)}
        if thing.kind == "character":
            newest = {}
            for anime, cast in thing.cast.items():
                key = self.key(self.things[self.find(anime)])
                newest[key] = max(newest.get(key, cast), cast)
            row["cast"] = {key: (*clock, *place) for key, (clock, place) in newest.items()}
        return row


def role(character, anime_id):
    """Of the one anime of the event."""
    at = max((i for i, a in enumerate(character.anime_ids[:len(character.roles)]) if a.lower() == anime_id.lower()),
             default=0)
    values = character.DESCRIPTOR.fields_by_name["roles"].enum_type.values_by_number
    if not character.roles:
        return "UNSPECIFIED"
    found = values.get(character.roles[at])
    return found.name.removeprefix("CHARACTER_ROLE_") if found else "UNKNOWN"
