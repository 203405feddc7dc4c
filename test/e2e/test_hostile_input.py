"""Whatever bytes arrive, each event is committed or refused by name on its first delivery, and the writer lives.

Two kinds of input: random damage to real messages, and messages that are well formed and hold the utmost that a
field can hold, one field at a time. Nothing may be refused by the database instead of by a rule (pg-… codes),
be retried, or be answered otherwise than it was sent.
"""
import json
import random
import socket
import uuid

import pytest
from google.protobuf import json_format

from harness import wire
from harness.process import eventually

SUBJECTS = {"anime.enriched": "AnimeEnrichedEvent", "anime.updated": "AnimeUpdatedEvent",
            "anime.episode.aired": "EpisodeAiredEvent", "character.updated": "CharacterUpdatedEvent",
            "episode.updated": "EpisodeUpdatedEvent"}
DURABLE = {subject: "catalog-" + subject.removeprefix("anime.").replace(".", "-") for subject in SUBJECTS}
# Codes by which a rule of the contract refuses (test_refusals.py has each of them).
RULES = {"decode", "bad-utf8", "text-nul", "too-large", "missing-id", "bad-uuid", "id-mismatch", "unknown-field",
         "forbidden-field", "missing-required", "out-of-range", "not-finite", "bad-timestamp", "future-timestamp",
         "identity-conflict"}
T0 = 1_700_000_000


class House:
    def __init__(self, streams, db, spawn):
        self.nats, self.bus, self.db, self.spawn, self.sent = streams, streams.bus("admin"), db, spawn, {}

    def publish(self, subject, payload):
        ack = self.bus.publish(subject, payload)
        self.sent[ack.seq] = (subject, payload)
        return ack.seq

    def run(self):
        self.writer = self.spawn("catalogue", env={"ECHORA_LOG_LEVEL": "info"})

        eventually(lambda: self.bus.settled("ANIME_EVENTS", *DURABLE.values()), 60, "all events settled")
        assert self.writer.alive()
        letters = {int(m.headers["Echora-Dlq-Seq"]): m for m in self.bus.messages("ANIME_DLQ")}
        strange = [(h["Echora-Dlq-Code"], h["Echora-Dlq-Class"], h["Echora-Dlq-Reason"]) for h in
                   (m.headers for m in letters.values())
                   if h["Echora-Dlq-Code"] not in RULES or h["Echora-Dlq-Class"] != "reject"
                   or h["Echora-Dlq-Deliveries"] != "1"]
        assert strange == []
        assert all(m.data == self.sent[seq][1] for seq, m in letters.items())
        count = {o: sum(self.writer.metric("echora_messages_processed_total", consumer=d, outcome=o)
                        for d in DURABLE.values()) for o in ("done", "skip", "reject")}
        assert sum(count.values()) == len(self.sent), count
        assert count["reject"] == len(letters)
        return letters


@pytest.fixture
def house(streams, db, spawn):
    return House(streams, db, spawn)


# ---- damage ----

def full_event(subject, seed):
    r = wire.Random(f"{subject}-{seed}")
    m = r.fill(wire.classes()[SUBJECTS[subject]](), skip=("changed_fields", "timestamp"))
    m.event_id, m.timestamp.seconds = r.uuid(), T0
    for field, _ in list(m.ListFields()):
        if field.name.endswith("_id"):
            setattr(m, field.name, r.uuid())
    for name in ("anime", "character", "episode"):
        if name in m.DESCRIPTOR.fields_by_name:
            entity = getattr(m, name)
            for key in ("id", "anime_id"):
                if key in entity.DESCRIPTOR.fields_by_name:
                    entity.ClearField(key)
            if "anime_ids" in entity.DESCRIPTOR.fields_by_name:
                del entity.anime_ids[:]
    for member in (*getattr(m, "characters", ()), *getattr(m, "episodes", ())):
        member.ClearField("id")
        for key in ("anime_id", "anime_ids"):
            if key in member.DESCRIPTOR.fields_by_name:
                member.ClearField(key)
    if "changed_fields" in m.DESCRIPTOR.fields_by_name:
        entity = getattr(m, subject.split(".")[0])
        m.changed_fields.extend(f.name for f, _ in entity.ListFields()
                                if f.name not in ("id", "entity_type", "similarity_score"))
    if subject == "anime.episode.aired":
        m.aired_at = "2024-05-17T12:30:00Z"
    return m


def damage(payload, rng):
    data = bytearray(payload)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        if not data:
            break
        at = rng.randrange(len(data))
        how = rng.randrange(6)
        if how == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at] = rng.choice((0, 0x7F, 0x80, 0xFF))
        elif how == 2:
            del data[at:at + rng.randint(1, 40)]
        elif how == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 10))
        elif how == 4:
            data[at:at] = data[at:at + rng.randint(1, 200)]
        else:
            del data[at:]
    return bytes(data)


def test_damaged_bytes(house):
    rng, whole = random.Random(20260101), set()
    for subject in SUBJECTS:
        events = [full_event(subject, seed).SerializeToString() for seed in range(20)]
        whole |= {house.publish(subject, payload) for payload in events}
        for n in range(200):
            house.publish(subject, damage(events[n % len(events)], rng))
    letters = house.run()
    assert {house.sent[seq][0] for seq in letters} == set(SUBJECTS)
    assert [letters[seq].headers["Echora-Dlq-Reason"] for seq in whole & letters.keys()] == []


# ---- the utmost of each field ----

LONG = "".join(random.Random(5).choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 \u5fcd\U0001f600",
                                        k=20_000))  # beyond a page of PostgreSQL, and of an index row
ODD = "\u0001\u007f\u0085\u2028\ud7ff\ufeff\uffff\U0010ffff\u202e'\"\\{}[],%s$1;--\t\r\n"
TEXTS = ("", LONG, ODD, " ", "{}", "null", "\\", "\\N")


def extremes(field):
    if field.type == field.TYPE_ENUM:
        return (0, -1, 2**31 - 1, -2**31)
    if field.type == field.TYPE_BOOL:
        return (False, True)
    if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
        return (0.0, 3.4028234663852886e38, -3.4028234663852886e38, 1e-45)  # PostgreSQL's numbers know no -0.0
    if field.type == field.TYPE_INT32:
        return (0, 2**31 - 1, -2**31)
    if field.type == field.TYPE_INT64:
        return (0, 2**63 - 1, -2**63)
    return TEXTS


def leaves(descriptor, path=()):
    """(path of field names, values to try) for every leaf below a message."""
    for field in descriptor.fields:
        here = (*path, field.name)
        inner = field.message_type
        if not path and field.name in ("id", "anime_id", "anime_ids"):
            continue  # ids, which rules know
        if wire.is_map(field):
            value = inner.fields_by_name["value"]
            for key in (LONG, ODD, ""):
                yield here, ("key", key)
            if value.message_type is None:
                yield from ((here, ("value", v)) for v in extremes(value))
        elif inner is not None and inner.full_name == "google.protobuf.Timestamp":
            yield from ((here, ("time", t)) for t in ((-62135596800, 0), (253402300799, 999999999), (0, 1)))
        elif inner is not None:
            yield from leaves(inner, here)
        else:
            yield from ((here, ("set", v)) for v in extremes(field))


def put(message, path, how, value):
    for i, name in enumerate(path):
        field = message.DESCRIPTOR.fields_by_name[name]
        last = i == len(path) - 1
        target = getattr(message, name)
        if wire.is_map(field):
            plain = field.message_type.fields_by_name["value"].message_type is None
            key = value if how == "key" else "k"
            if plain:
                target[key] = value if how == "value" else "x"
            else:
                target[key].SetInParent()
            if last:
                return
            message = target[key]
        elif field.label == field.LABEL_REPEATED:
            if last and how == "set":
                target.append(value)
            else:
                message = target.add()
        elif not last:
            target.SetInParent()
            message = target
        elif how == "time":
            target.seconds, target.nanos = value
        else:
            setattr(message, name, value)


def minimal(name):
    c = wire.classes()
    if name == "Anime":
        return c[name](title="T", type=5, status=1)
    return c[name](name="C") if name == "Character" else c[name](title="E", episode_number=1)


@pytest.mark.parametrize("name", ["Anime", "Character", "Episode"])
def test_the_utmost_of_each_field(house, name):
    c, wanted = wire.classes(), {}
    for path, (how, value) in leaves(c[name].DESCRIPTOR):
        anime_id = str(uuid.uuid4())
        m = minimal(name)
        put(m, path, how, value)
        e = c["AnimeEnrichedEvent"](event_id=str(uuid.uuid4()), anime_id=anime_id, anime=minimal("Anime"))
        e.timestamp.seconds = T0
        if name == "Anime":
            e.anime.CopyFrom(m)
        else:
            getattr(e, name.lower() + "s").add().CopyFrom(m)
        seq = house.publish("anime.enriched", e.SerializeToString())
        wanted[seq] = (anime_id, m, (path, how, value if len(str(value)) < 50 else "long"))
    letters = house.run()
    for seq in letters:
        path, how, value = wanted[seq][2]
        assert letters[seq].headers["Echora-Dlq-Code"] in ("out-of-range", "missing-required"), wanted[seq][2]
    wrong = []
    for seq, (anime_id, m, what) in wanted.items():
        if seq in letters:
            continue
        request = c["CatalogGetRequest"](ids=[anime_id])
        answer = house.bus.request("catalog.record.get", request.SerializeToString(), timeout=10)
        assert "Nats-Service-Error-Code" not in (answer.headers or {}), (what, answer.headers)
        (entry,) = c["CatalogGetReply"].FromString(answer.data).entries
        (got,) = [entry.record.anime] if name == "Anime" else getattr(entry.record, name.lower() + "s")
        for field in ("id", "entity_type", "anime_id", "similarity_score"):
            for side in (m, got):
                if field in side.DESCRIPTOR.fields_by_name:
                    side.ClearField(field)
        if m != got:
            wrong.append((what, json_format.MessageToDict(got, preserving_proto_field_name=True).get(what[0][0])))
    assert not wrong, [str(w)[:300] for w in wrong][:20]


# ---- headers ----

def raw_publish(server, subject, headers, payload):
    """Core publish of header bytes that no client library would send; returns when the server has it."""
    host, port = server.url.removeprefix("nats://").split(":")
    block = b"NATS/1.0\r\n" + b"".join(n + b": " + v + b"\r\n" for n, v in headers) + b"\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as s:
        lines = s.makefile("rb")
        assert lines.readline().startswith(b"INFO")
        login = {"user": "admin", "pass": server.passwords["admin"], "headers": True, "verbose": False}
        s.sendall(b"CONNECT " + json.dumps(login).encode() + b"\r\nPING\r\n")
        assert lines.readline() == b"PONG\r\n"
        s.sendall(f"HPUB {subject} {len(block)} {len(block) + len(payload)}\r\n".encode() + block + payload + b"\r\nPING\r\n")
        assert lines.readline() == b"PONG\r\n"


VALUES = (b"", b" ", b"\xff\xfe\x80", b"\xc3\x28" * 30, b"\xed\xa0\x80", b"\x01\x02\x7f\x1b[31m", "\u5fcd\u8005".encode(),
          b"x" * 20_000, b",,,,", b"{}'\"\\", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01")
NAMES = (b"traceparent", b"tracestate", b"Content-Type", b"Echora-Event-Id", b"Echora-Schema", b"Echora-Risk",
         b"Echora-Replay-Id", b"Echora-Replay-Hop", b"Echora-Repair", b"Echora-Expires", b"Echora-Dlq-Hop", b"X-\xff")


def test_headers_are_only_text(house):
    """No header makes a good event fail: an update of a known anime, of an unknown one, and a full record."""
    known, c = str(uuid.uuid4()), wire.classes()
    e = c["AnimeEnrichedEvent"](event_id=str(uuid.uuid4()), anime_id=known, anime=minimal("Anime"))
    e.timestamp.seconds = T0
    house.publish("anime.enriched", e.SerializeToString())
    first = house.spawn("catalogue")
    eventually(lambda: house.db.one("SELECT count(*) FROM catalog.anime") == 1, 20, "the anime")
    first.stop()
    n = 0
    for name in NAMES:
        for value in VALUES:
            for subject, target in (("anime.updated", known), ("anime.updated", str(uuid.uuid4())),
                                    ("anime.enriched", str(uuid.uuid4()))):
                e = c[SUBJECTS[subject]](event_id=str(uuid.uuid4()), anime_id=target, anime=minimal("Anime"))
                e.anime.year = 2000
                e.timestamp.seconds = T0 + 1 + n
                if subject == "anime.updated":
                    e.changed_fields.append("year")
                raw_publish(house.nats, subject, [(name, value), (b"traceparent", b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01")],
                            e.SerializeToString())
                n += 1
    assert house.bus.stream("ANIME_EVENTS").state.messages == n + 1
    house.sent = dict.fromkeys(range(2, n + 2), ("", b""))
    assert house.run() == {}
    # What waited for its anime comes out of the table as whole as it went in.
    waiting = [row[0] for row in house.db.all("SELECT anime_id::text FROM (SELECT entity_id AS anime_id FROM "
                                              "catalog.pending_update) p")]
    assert len(waiting) > 100
    for anime_id in waiting:
        e = c["AnimeEnrichedEvent"](event_id=str(uuid.uuid4()), anime_id=anime_id, anime=minimal("Anime"))
        e.timestamp.seconds = T0
        house.publish("anime.enriched", e.SerializeToString())
    eventually(lambda: house.db.one("SELECT count(*) FROM catalog.pending_update") == 0, 30, "nothing waits")
    assert house.bus.stream("ANIME_DLQ").state.messages == 0


LARGEST = 8 * 1024 * 1024 - 64 * 1024 - 400  # what a text may hold in the largest message that the stream takes


@pytest.mark.parametrize("waits", [False, True], ids=["known", "waiting"])
def test_the_largest_events(house, waits):
    """A full record as large as can be is stored; an update whose flagged copy fits no stream is refused alone, also
    when it waits for its anime: never the record that it waits for."""
    anime_id, c = str(uuid.uuid4()), wire.classes()
    full = c["AnimeEnrichedEvent"](event_id=str(uuid.uuid4()), anime_id=anime_id, anime=minimal("Anime"))
    full.timestamp.seconds, full.anime.synopsis = T0, "s" * LARGEST
    update = c["AnimeUpdatedEvent"](event_id=str(uuid.uuid4()), anime_id=anime_id, anime=minimal("Anime"),
                                    changed_fields=["title", "synopsis"], risk_reasons=["odd"])
    update.timestamp.seconds, update.anime.title = T0 + 5, "Other"
    update.anime.synopsis = "t" * LARGEST
    events = [("anime.enriched", full), ("anime.updated", update)]
    for n, (subject, e) in enumerate(reversed(events) if waits else events):
        house.publish(subject, e.SerializeToString())
        if n == 0:
            first = house.spawn("catalogue")
            eventually(lambda: house.db.one("SELECT count(*) FROM catalog.inbox") == 1, 20, "the first one")
            first.stop()
    if waits:  # what waited is given up by a chore, sooner or later
        house.spawn("catalogue")
        eventually(lambda: house.bus.stream("ANIME_DLQ").state.messages == 1, 30, "given up")
        letters = house.bus.messages("ANIME_DLQ")
    else:
        sent, house.sent = house.sent, {k: v for k, v in house.sent.items() if k == max(house.sent)}
        letters, house.sent = house.run().values(), sent
    assert [(m.headers["Echora-Dlq-Consumer"], m.headers["Echora-Dlq-Code"], m.data == update.SerializeToString())
            for m in letters] == [("catalog-updated", "too-large", True)]
    assert house.db.all("SELECT title, length(synopsis) FROM catalog.anime") == [("T", LARGEST)]
    eventually(lambda: house.db.one("SELECT count(*) FROM catalog.pending_update") == 0, 10, "nothing waits")
    # Whatever the writer put into the outbox, the broker takes.
    house.spawn("relay")
    rows = house.db.one("SELECT count(*) FROM catalog.outbox")
    assert rows == 1
    eventually(lambda: house.bus.stream("ANIME_SYNC").state.messages == rows, 20, "relayed")


# ---- bombs: small on the wire, large in memory ----

MIB = 1024 * 1024
# Above what the writer holds when it has had an ordinary event: what one decoded message may take (decode-max, 32 MiB);
# a pull's bytes (16 MiB) twice, for the batch in work and the one fetched ahead; and as much again for copies of the
# largest messages (8 MiB): in a dead letter, in the client's buffers, in what goes to PostgreSQL. Seen: 95 MiB.
BOMB_BOUND = 32 * MIB + 4 * 16 * MIB + 32 * MIB


def length(n):
    out = b""
    while n > 127:
        out, n = out + bytes([n & 127 | 128]), n >> 7
    return out + bytes([n])


def field(number, body):
    return length(number << 3 | 2) + length(len(body)) + body


def nested(number, depth):
    body = b""
    for _ in range(depth):
        body = field(number, body)
    return body


def head(anime_id):
    """Envelope and anime of a good event; what is put behind it belongs to the envelope."""
    e = wire.classes()["AnimeEnrichedEvent"](event_id=str(uuid.uuid4()), anime_id=anime_id)
    e.timestamp.seconds = T0
    return e.SerializeToString()


def number_of(message, name):
    return wire.classes()[message].DESCRIPTOR.fields_by_name[name].number


def bombs():
    """(name, payload, codes that may refuse it; none: it must be stored)."""
    title = minimal("Anime").SerializeToString()
    genres, streaming = number_of("Anime", "genres"), number_of("Episode", "streaming")
    roles = number_of("Character", "roles")

    def anime(more):
        return head(str(uuid.uuid4())) + field(4, title + more)

    def member(number, name, more):
        return head(str(uuid.uuid4())) + field(4, title) + field(number, minimal(name).SerializeToString() + more)
    entry, most = field(streaming, field(1, b"k")), 8 * MIB - 80 * 1024
    yield "nested unknown", anime(nested(1000, 3000)), None
    yield "groups", anime(b"\x0b" * MIB), {"decode"}
    yield "a million characters", anime(b"") + b"\x2a\x00" * 1_000_000, {"too-large"}
    yield "empty texts", anime((length(genres << 3 | 2) + b"\x00") * (most // 3)), {"too-large"}
    yield "one text again and again", anime(field(1, b"x" * 100) * (most // 103)), None
    yield "a packed list", member(5, "Character", field(roles, b"\x01" * most)), {"too-large", "out-of-range"}
    yield "a million equal keys", member(6, "Episode", entry * (most // len(entry))), {"too-large"}
    yield "equal keys that fit", member(6, "Episode", entry * 100_000), None
    yield "unknown fields", anime(b"\xf8\x7f\x01" * (most // 3)), {"too-large"}
    yield "empty bytes unknown", anime(b"\xfa\x7f\x00" * 200_000), None


def test_bombs(house):
    """Refused by name or stored, within bounded memory and time, and the neighbours are stored."""
    c = wire.classes()
    writer = house.spawn("catalogue")
    house.publish("anime.enriched", head(str(uuid.uuid4())) + field(4, minimal("Anime").SerializeToString()))
    eventually(lambda: house.bus.settled("ANIME_EVENTS", *DURABLE.values()), 20, "the first one")
    before, wanted, good = writer.memory(), {}, []
    for name, payload, codes in bombs():
        wanted[house.publish("anime.enriched", payload)] = (name, codes)
        good.append(str(uuid.uuid4()))
        house.publish("anime.enriched", head(good[-1]) + field(4, minimal("Anime").SerializeToString()))
    eventually(lambda: house.bus.settled("ANIME_EVENTS", *DURABLE.values()), 60, "all settled")
    most = writer.memory("VmHWM")
    assert writer.alive()
    letters = {int(m.headers["Echora-Dlq-Seq"]): m.headers["Echora-Dlq-Code"] for m in house.bus.messages("ANIME_DLQ")}
    print(f"resident: {before >> 20} MiB, at most {most >> 20} MiB; refused: "
          f"{[(wanted[s][0], code) for s, code in letters.items()]}")
    assert letters.keys() <= wanted.keys()
    for seq, (name, codes) in wanted.items():
        assert (letters[seq] in codes) if codes else seq not in letters, (name, letters.get(seq))
    reply = house.bus.request("catalog.record.get", c["CatalogGetRequest"](ids=good).SerializeToString(), timeout=10)
    assert {e.id for e in c["CatalogGetReply"].FromString(reply.data).entries} == set(good)
    assert most - before < BOMB_BOUND, f"{before >> 20} MiB -> {most >> 20} MiB"


def test_header_bombs(house):
    """The stream takes no more than 64 KiB of headers; what it takes is handled, and a refused event's letter fits."""
    c, stored = wire.classes(), []
    for size in (60 * 1024, 70 * 1024, 256 * 1024, MIB):
        for broken in (False, True):
            anime_id = str(uuid.uuid4())
            e = c["AnimeEnrichedEvent"](event_id=str(uuid.uuid4()), anime_id=anime_id, anime=minimal("Anime"))
            e.timestamp.seconds = T0
            payload = e.SerializeToString() + (b"\xff" if broken else b"")
            lines = [(b"X-%d" % n, b"v" * 1000) for n in range(size // 1010)]
            last = house.bus.stream("ANIME_EVENTS").state.last_seq
            raw_publish(house.nats, "anime.enriched", lines, payload)
            if house.bus.stream("ANIME_EVENTS").state.last_seq > last:
                house.sent[last + 1] = ("anime.enriched", payload)
                stored.append((size, broken, anime_id, last + 1))
    assert {size for size, *_ in stored} == {60 * 1024}, "only what JetStream takes"
    letters = house.run()
    assert set(letters) == {seq for _, broken, _, seq in stored if broken}
    assert house.db.one("SELECT count(*) FROM catalog.anime") == sum(not broken for _, broken, _, _ in stored)


@pytest.mark.parametrize("body", [b"[" * MIB, b'{"anime":' * 100_000, b'{"a":"' + b"x" * (4 * MIB),
                                  b'{"ids":[' + b'"",' * MIB],
                         ids=["brackets", "objects", "a text without end", "empty texts"])
def test_json_bombs(house, body):
    """A request that is a bomb is answered with an error by name, and the next one as ever."""
    writer = house.spawn("catalogue")
    headers = {"Content-Type": "application/json"}
    before = writer.memory()
    answer = house.bus.request("catalog.record.get", body, timeout=20, headers=headers)
    assert answer.headers["Nats-Service-Error-Code"] in {"json-syntax", "too-deep"}, answer.headers
    good = house.bus.request("catalog.record.get", b'{"ids":["%s"]}' % str(uuid.uuid4()).encode(), headers=headers)
    assert "Nats-Service-Error-Code" not in (good.headers or {})
    assert writer.alive() and writer.memory("VmHWM") - before < BOMB_BOUND
