"""What an existing producer sends is what the catalogue answers, field by field.

Random messages with every field set, built from the published wire tables (harness/wire.py), go through the real
catalogue writer and come back by request, as protobuf and as JSON. The lists below name every field that may
differ, each with its reason; anything else is a fault of the writer.
"""
import re

import pytest
from google.protobuf import json_format
from google.protobuf.unknown_fields import UnknownFieldSet

from harness import wire
from harness.process import eventually
from harness.settings import ROOT

# Given back from the row's key or position, whatever was sent.
BY_THE_ROW = {"Anime": {"id", "entity_type"}, "Character": {"id", "entity_type"},
              "Episode": {"id", "entity_type", "anime_id", "episode_number"}}
# Deliberately not stored: the answer of one search, never of the anime.
NOT_STORED = {"Anime": {"similarity_score"}, "Character": set(), "Episode": set()}
ENTITY_TYPE = {"Anime": 1, "Character": 2, "Episode": 3}


class Sent:
    """One anime.enriched with everything set, and what the catalogue has to say about it."""

    def __init__(self, seed, characters=3, episodes=3):
        r = self.random = wire.Random(f"roundtrip-{seed}")
        self.id = r.uuid()
        self.anime = self.domain("Anime", "anime", self.id)
        self.characters = [self.domain("Character", "character", r.uuid()) for _ in range(characters)]
        for c in self.characters:
            c.anime_ids.append(self.id)
        self.episodes = [self.domain("Episode", "episode", r.uuid()) for _ in range(episodes)]
        for number, e in enumerate(self.episodes, 1):
            e.anime_id, e.episode_number = self.id, number

    def domain(self, name, kind, uid):
        m = self.random.domain(name, id=uid)
        del m.sources[:]
        m.sources.extend(self.random.sources(kind))
        return m

    def event(self):
        e = wire.classes()["AnimeEnrichedEvent"](event_id=self.random.uuid(), anime_id=self.id, anime=self.anime,
                                                 characters=self.characters, episodes=self.episodes)
        e.timestamp.seconds, e.timestamp.nanos = 1_700_000_000, 123_456_789
        return e.SerializeToString()

    def wanted(self):
        """An AnimeRecord as it should be answered."""
        record = wire.classes()["AnimeRecord"](anime=self.anime, characters=self.characters, episodes=self.episodes)
        for m in (record.anime, *record.characters, *record.episodes):
            expected(m)
        return record


def expected(message):
    name = message.DESCRIPTOR.name
    message.entity_type = ENTITY_TYPE[name]
    for field in NOT_STORED[name]:
        message.ClearField(field)
    return message


class Reader:
    def __init__(self, streams):
        self.bus, self.pages = streams.bus("admin"), 0

    def get(self, subject, ids, as_json=False, **more):
        c = wire.classes()
        request, reply = c["CatalogGetRequest"](ids=ids, **more), c["CatalogGetReply"]()
        if as_json:
            body, headers = json_format.MessageToJson(request).encode(), {"Content-Type": "application/json"}
        else:
            body, headers = request.SerializeToString(), None
        answer = self.bus.request(subject, body, headers=headers, timeout=10)
        assert "Nats-Service-Error-Code" not in (answer.headers or {}), answer.headers
        if as_json:
            json_format.Parse(answer.data, reply)
        else:
            reply.ParseFromString(answer.data)
            assert reply.SerializeToString() and not unknown(reply)
        return reply

    def record(self, uid, as_json=False):
        """The whole record, page by page."""
        whole, cursor = None, ""
        while whole is None or cursor:
            reply = self.get("catalog.record.get", [uid], as_json, members_cursor=cursor)
            (entry,), cursor = reply.entries, reply.entries[0].next_members
            assert not reply.missing and not reply.unread
            assert len(entry.members) == len(entry.record.characters) + len(entry.record.episodes)
            self.pages += 1
            if whole is None:
                whole = entry.record
            else:
                whole.characters.extend(entry.record.characters)
                whole.episodes.extend(entry.record.episodes)
        return whole


def unknown(message):
    if len(UnknownFieldSet(message)):
        return True
    inner = []
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.full_name.startswith("google."):
            continue
        if wire.is_map(field):
            inner += [v for v in value.values() if hasattr(v, "DESCRIPTOR")]
        else:
            inner += value if field.label == field.LABEL_REPEATED else [value]
    return any(unknown(m) for m in inner)


def differences(want, got):
    """The names of the top-level fields that differ."""
    return [f.name for f in want.DESCRIPTOR.fields if getattr(want, f.name) != getattr(got, f.name)
            or (f.has_presence and want.HasField(f.name) != got.HasField(f.name))]


def check(want, got):
    assert differences(want.anime, got.anime) == []
    for name in ("characters", "episodes"):
        wanted = {m.id: m for m in getattr(want, name)}
        answered = {m.id: m for m in getattr(got, name)}
        assert wanted.keys() == answered.keys()
        for key, m in wanted.items():
            assert differences(m, answered[key]) == [], (name, key)
    assert [c.id for c in got.characters] == [c.id for c in want.characters], "billing order"
    assert [e.episode_number for e in got.episodes] == sorted(e.episode_number for e in want.episodes)


@pytest.fixture
def reader(streams, db, spawn):
    spawn("catalogue")
    return Reader(streams)


def publish(reader, db, *sent):
    before = db.one("SELECT count(*) FROM catalog.inbox")
    for number, (subject, payload) in enumerate(sent):
        reader.bus.publish(subject, payload, headers={"Nats-Msg-Id": f"{before}-{number}"})
    eventually(lambda: db.one("SELECT count(*) FROM catalog.inbox") == before + len(sent), 20, "events committed")
    assert reader.bus.stream("ANIME_DLQ").state.messages == 0


def test_every_field_comes_back(reader, db):
    sent = [Sent(seed) for seed in range(40)]
    publish(reader, db, *[("anime.enriched", s.event()) for s in sent])
    for number, s in enumerate(sent):
        check(s.wanted(), reader.record(s.id, as_json=number % 2 == 1))
    reply = reader.get("catalog.anime.get", [s.id for s in sent])
    assert {e.id: e.anime.SerializeToString(deterministic=True) for e in reply.entries} == {
        s.id: s.wanted().anime.SerializeToString(deterministic=True) for s in sent}
    c, e = sent[0].wanted().characters[1], sent[0].wanted().episodes[1]
    (entry,) = reader.get("catalog.character.get", [c.id]).entries
    assert differences(c, entry.character) == [] and list(entry.anime_ids) == [sent[0].id]
    (entry,) = reader.get("catalog.episode.get", [e.id]).entries
    assert differences(e, entry.episode) == [] and list(entry.anime_ids) == [sent[0].id]


def test_a_long_series_comes_in_pages(reader, db):
    """1,600 members with everything set pass what one reply may hold."""
    s = Sent("long", characters=800, episodes=800)
    payload = s.event()
    assert len(payload) > 1 << 20
    publish(reader, db, ("anime.enriched", payload))
    check(s.wanted(), reader.record(s.id))
    assert reader.pages > 1


@pytest.mark.parametrize("subject, event, field", [("character.updated", "CharacterUpdatedEvent", "character"),
                                                   ("episode.updated", "EpisodeUpdatedEvent", "episode")])
def test_sparse_events_set_every_field(reader, db, subject, event, field):
    s = Sent(subject)
    publish(reader, db, ("anime.enriched", s.event()))
    old = s.characters[0] if field == "character" else s.episodes[0]
    name = old.DESCRIPTOR.name
    new = s.random.domain(name, id=old.id)
    del new.sources[:]
    new.sources.extend([*old.sources, *s.random.sources(field)])
    if field == "character":
        new.anime_ids.append(s.id)
    else:
        new.anime_id, new.episode_number = s.id, old.episode_number
    fields = [f.name for f in new.DESCRIPTOR.fields if f.name not in ("id", "entity_type")]
    m = wire.classes()[event](event_id=s.random.uuid(), changed_fields=fields, **{f"{field}_id": old.id, field: new})
    m.timestamp.seconds = 1_700_000_100
    publish(reader, db, (subject, m.SerializeToString()))
    old.CopyFrom(new)
    check(s.wanted(), reader.record(s.id))


def test_the_lists_are_the_writers():
    """The fields that this test lets differ are those that the writer's table says it does not store."""
    text = (ROOT / "workers/catalogue/kind.c").read_text()
    for name, lower in (("Anime", "anime"), ("Character", "character"), ("Episode", "episode")):
        table = re.search(rf"{lower}_fields\[\] = \{{(.*?)\n\}};", text, flags=re.S)[1]
        homes = dict(re.findall(r'\{"(\w+)", (HOME_\w+)\}', table))
        assert set(homes) == {f.name for f in wire.classes()[name].DESCRIPTOR.fields}
        assert {f for f, home in homes.items() if home == "HOME_NONE"} == NOT_STORED[name]
        assert {f for f, home in homes.items() if home == "HOME_KEY"} == BY_THE_ROW[name]
