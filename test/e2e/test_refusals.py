"""Every refusal of an event, from bytes on the subject to a dead letter with its code.

Bad events of every kind stand between good ones in the same batches of the real catalogue writer. The good ones
are committed; each bad one becomes one dead letter that tells what a person needs and no value. Messages are
built from the published wire tables (harness/wire.py), the list of codes is read from events/base/codes.def: a
code that can refuse an event and has no row here fails the coverage test.
"""
import collections
import math
import re
import time
import uuid

import pytest

from harness import wire
from harness.process import eventually
from harness.settings import ROOT

MARK = "zqMARKzq"  # in every value that a refusal must not repeat
NOW = int(time.time())
Subject = collections.namedtuple("Subject", "durable event entity field id_field")
SUBJECTS = {
    "anime.enriched": Subject("catalog-enriched", "AnimeEnrichedEvent", "Anime", "anime", "anime_id"),
    "anime.updated": Subject("catalog-updated", "AnimeUpdatedEvent", "Anime", "anime", "anime_id"),
    "anime.episode.aired": Subject("catalog-episode-aired", "EpisodeAiredEvent", "Episode", "episode", "anime_id"),
    "character.updated": Subject("catalog-character-updated", "CharacterUpdatedEvent", "Character", "character",
                                 "character_id"),
    "episode.updated": Subject("catalog-episode-updated", "EpisodeUpdatedEvent", "Episode", "episode", "episode_id"),
}
SPARSE = ("anime.updated", "character.updated", "episode.updated")
FULL = ("anime.enriched", "anime.episode.aired")
# Where the text that tells events apart is stored: table, column and field, which id finds the row.
PLACES = {"Anime": ("anime", "title_japanese", "anime"), "Character": ("character", "name_native", "character"),
          "Episode": ("episode", "title_romaji", "episode")}

# Codes of class reject that no event on these subjects can meet, each with the reason.
NOT_BY_AN_EVENT = {
    "too-deep": "no message of these subjects is recursive (test below)",
    "unreadable-header": "of the headers, not of the message (chaos/test_headers.py)",
    "crash": "class crash: of the deliveries, not of the message (integration/test_runtime.py)",
    "foreign-message": "of what lies on ANIME_SYNC (chaos/test_relays.py)",
    "header": "headers of outbox rows, which the writer makes itself",
    "unknown-entity": "class expired: an update that waited 7 days, not refused on arrival",
    "bad-reference": "a source that is no reference stays an ordinary value; requests only",
    **dict.fromkeys(("too-many", "bad-kind", "bad-cursor", "missing-header", "unknown-subject", "unknown-consumer",
                     "reply-too-large", "revision-conflict", "not-found", "alias", "superseded",
                     "bad-survivor", "bad-request", "bad-filter", "no-letter", "no-plan", "already-decided",
                     "review-expired", "decision-reused", "idempotency-conflict", "anime-deleted", "anime-merged", "route-unset", "unknown-route",
                     "no-event"), "refusals of requests"),
    **dict.fromkeys(("incomplete", "duplicate", "not-in-catalogue"), "outcomes of replays (integration/test_replay.py)"),
    **dict.fromkeys(("bad-advisory", "bad-record"), "of ANIME_ADVISORY and AUDIT, no events"),
    **dict.fromkeys(("embed-reply", "http-too-large"), "the embedding provider's answers"),
    **dict.fromkeys(("json-syntax", "json-type", "json-range", "json-unknown-field"), "JSON of requests and of the CLI"),
    **dict.fromkeys(("migration", "snapshot-invalid", "snapshot-line"), "commands of the CLI"),
}


def uid():
    return str(uuid.uuid4())


def anime(**fields):
    return wire.classes()["Anime"](**{"title": "Title " + MARK, "type": 5, "status": 1, **fields})


class Made:
    """One event in the making: the message, and hands to change its bytes afterwards."""

    def __init__(self, subject, ids, n=0):
        self.subject, self.s, self.n = subject, SUBJECTS[subject], n
        c = wire.classes()
        self.m = m = c[self.s.event](event_id=uid())
        m.timestamp.seconds, m.timestamp.nanos = NOW - 1000 + n, 5000
        setattr(m, self.s.id_field, ids["character" if subject == "character.updated" else
                                        "episode" if subject == "episode.updated" else "anime"])
        if subject == "anime.enriched":
            m.anime.CopyFrom(anime())
            m.characters.add(name="Ch " + MARK, id=uid())
            m.episodes.add(title="Ep " + MARK, episode_number=1)
        elif subject == "anime.episode.aired":
            m.aired_at = "2024-05-17T12:30:00+09:00"
            m.episode.episode_number = 2
        else:
            getattr(m, self.s.field).SetInParent()
        self.entity = getattr(m, self.s.field)

    def listed(self, field, value=None):
        """Sets a field of the entity, and says so in a sparse event."""
        if value is not None:
            setattr(self.entity, field, value)
        if self.subject in SPARSE:
            self.m.changed_fields.append(field)
        return self

    def say(self, text):
        return self.listed(PLACES[self.s.entity][1], text)

    def bytes(self, old=None, new=None):
        payload = self.m.SerializeToString()
        if old is None:
            return payload
        assert len(old) == len(new) and payload.count(old) == 1
        return payload.replace(old, new)


# ---- the table: code -> [(subjects, function of a Made: payload, or None for the message as it is)] ----

def set_path(path, value):
    """A change of the message: path of attributes and indexes from the event, value."""
    def change(made):
        *way, last = path
        at = made.m
        for step in way:
            at = at[step] if isinstance(step, int) else getattr(at, step)
        setattr(at, last, value() if callable(value) else value)
    return change


def clear(path):
    def change(made):
        *way, last = path
        at = made.m
        for step in way:
            at = getattr(at, step)
        at.ClearField(last)
    return change


def listed(field, value=None):
    return lambda made: made.listed(field, value) and None


def changed(*names):
    return lambda made: made.m.changed_fields.extend(names)


def bad_bytes(text, raw):
    """A text field of the entity that holds bytes which Python would not write."""
    def change(made):
        made.say(f"{MARK}{text}")
        return made.bytes(text.encode(), raw)
    return change


def many_unknown(made):
    """2.8 MB of fields that nobody knows: each costs 40 bytes and more when decoded."""
    return made.bytes() + b"\xc2\x3e\x01m" * 700_000


def twice(made):
    number = made.m.DESCRIPTOR.fields_by_name[made.s.field].number
    made.say("x")
    return made.bytes() + bytes([number << 3 | 2, 0])


def longer(made):
    return made.bytes() + b"\x0a\x7f" + MARK.encode()


def wrong_type(made):
    return made.bytes() + b"\x08\x01"


def as_json(made):
    return b'{"event_id": "' + MARK.encode() + b'"}'


def owner_conflict(made):
    kind = {"Anime": "anime", "Character": "character"}[made.s.entity]
    made.entity.sources.append(f"https://example.org/{kind}/owned-by-another")
    if made.subject in SPARSE:
        made.m.changed_fields.append("sources")
    else:
        made.entity.sources.append(f"https://example.org/{kind}/owned-by-a-third")


ALL = tuple(SUBJECTS)
AFTER = 700  # seconds
ROWS = {
    "decode": [(ALL, lambda made: b"\xff\xff\xff" + MARK.encode()), (ALL, twice), (ALL, longer), (ALL, wrong_type),
               (ALL, as_json), (ALL, lambda made: made.bytes()[:-1])],
    "bad-utf8": [(ALL, bad_bytes("_1_", b"\xc3\x28\x41")), (ALL, bad_bytes("_2_", b"\xed\xa0\x80"))],
    "text-nul": [(ALL, lambda made: made.say(f"{MARK}\0{MARK}") and None)],
    "too-large": [(ALL, many_unknown)],
    "missing-id": [(ALL, set_path(["event_id"], "")), (ALL, lambda made: setattr(made.m, made.s.id_field, ""))],
    "bad-uuid": [(ALL, set_path(["event_id"], MARK)), (ALL, lambda made: setattr(made.m, made.s.id_field, MARK)),
                 (FULL[:1], set_path(["characters", 0, "id"], MARK)),
                 (FULL[:1], set_path(["episodes", 0, "id"], MARK)),
                 (ALL, lambda made: setattr(made.entity, "id", MARK)),
                 (("character.updated",), lambda made: made.m.changed_fields.append("anime_ids")
                  or made.entity.anime_ids.append(MARK))],
    "id-mismatch": [(("anime.enriched", *SPARSE), lambda made: setattr(made.entity, "id", uid())),
                    (FULL[:1], set_path(["episodes", 0, "anime_id"], uid)),
                    (("anime.episode.aired",), set_path(["episode", "anime_id"], uid))],
    "unknown-field": [(SPARSE, changed(MARK)), (SPARSE, changed("Title")), (SPARSE, changed("images.cover")),
                      (SPARSE, changed(""))],
    "forbidden-field": [(SPARSE, changed("id")), (SPARSE, changed("entity_type")),
                        (("anime.updated",), changed("similarity_score"))],
    "missing-required": [(ALL, clear(["timestamp"])), (FULL[:1], clear(["anime"])), (FULL[:1], clear(["anime", "title"])),
                         (FULL[:1], clear(["anime", "type"])), (FULL[:1], clear(["anime", "status"])),
                         (("anime.updated",), changed("title")), (("anime.updated",), changed("type")),
                         (("anime.updated",), changed("status")), (FULL[1:], clear(["episode"])),
                         (FULL[1:], clear(["aired_at"]))],
    "out-of-range": [(("anime.enriched", "anime.updated"), listed("year", 1899)),
                     (("anime.enriched", "anime.updated"), listed("year", 2101)),
                     (FULL[:1], set_path(["episodes", 0, "episode_number"], -1)),
                     (FULL[:1], set_path(["anime", "score", "median"], 10.5)),
                     (("anime.episode.aired", "episode.updated"), listed("episode_number", -1)),
                     (("anime.episode.aired", "episode.updated"), listed("score", -0.5))],
    "not-finite": [(FULL[:1], set_path(["anime", "score", "arithmetic_mean"], math.nan)),
                   (("anime.updated",), lambda made: made.listed("score") and
                    setattr(made.entity.score, "median", math.inf)),
                   (("anime.episode.aired", "episode.updated"), listed("score", -math.inf))],
    "bad-timestamp": [(ALL, set_path(["timestamp", "seconds"], -62135596801)),
                      (ALL, set_path(["timestamp", "nanos"], -1)),
                      (FULL[1:], set_path(["aired_at"], "yesterday " + MARK)),
                      (FULL[1:], set_path(["aired_at"], "2024-05-17T12:30:00")),
                      (FULL[:1], set_path(["anime", "aired_dates", "aired_from", "seconds"], 253402300800))],
    "future-timestamp": [(ALL, set_path(["timestamp", "seconds"], lambda: int(time.time()) + AFTER))],
    "identity-conflict": [(("anime.enriched", "anime.updated", "character.updated"), owner_conflict)],
}


def cases(subject):
    return [(code, i, change) for code, rows in ROWS.items() for i, (subjects, change) in enumerate(rows)
            if subject in subjects]


def reject_codes():
    text = (ROOT / "events/base/codes.def").read_text()
    codes = dict(re.findall(r'^X\("([^"]+)",\s*(ERR_\w+)', text, flags=re.M))
    assert len(codes) > 50
    return {code for code, kind in codes.items() if kind == "ERR_REJECT"}


def test_every_code_has_a_row():
    codes = reject_codes()
    assert codes - set(ROWS) - set(NOT_BY_AN_EVENT) == set(), "give each a row, or a reason why no event meets it"
    assert set(ROWS) <= codes and not set(ROWS) & set(NOT_BY_AN_EVENT)
    assert {subject for rows in ROWS.values() for subjects, _ in rows for subject in subjects} == set(SUBJECTS)


def test_no_message_is_deep():
    """Why too-deep has no row: nothing that these subjects carry can be nested in itself."""
    def depth(message, above=()):
        assert message.full_name not in above, message.full_name
        return 1 + max([depth(f.message_type, (*above, message.full_name)) for f in message.fields if f.message_type],
                       default=0)
    assert all(depth(wire.classes()[s.event].DESCRIPTOR) < 16 for s in SUBJECTS.values())


# ---- one subject at a time, through the real writer ----

class Good:
    """Good events: one each between two bad ones, on an anime of its own, with a mark to look for."""

    def __init__(self, subject):
        self.subject, self.all = subject, []

    def next(self):
        n = len(self.all)
        ids = {kind: uid() for kind in ("anime", "character", "episode")}
        made = Made(self.subject, ids, n).say(f"good {n}")
        self.all.append((ids, made.m.event_id))
        return made, ids

    def base(self, ids):
        """The record that a sparse event or an aired episode needs."""
        e = Made("anime.enriched", ids)
        e.m.timestamp.seconds -= 10_000
        e.m.characters[0].id = ids["character"]
        e.m.episodes[0].id = ids["episode"]
        return e.bytes()

    def check(self, db, durable):
        table, text, key = PLACES[SUBJECTS[self.subject].entity]
        where = "id"
        if self.subject == "anime.episode.aired":
            where, key = "episode_number = 2 AND anime_id", "anime"
        for n, (ids, event_id) in enumerate(self.all):
            assert db.all(f"SELECT {text} FROM catalog.{table} WHERE {where} = %s", ids[key]) == [(f"good {n}",)], n
            assert db.one("SELECT count(*) FROM catalog.inbox WHERE consumer = %s AND event_id = %s",
                          durable, event_id) == 1, n


def own_headers(made, n):
    return {"Content-Type": "application/protobuf", "Echora-Event-Id": made.m.event_id or uid(), "X-Kept": f"as is {n}",
            "Echora-Schema": "echora.events.v1." + made.s.event, "Nats-Expected-Stream": "ANIME_EVENTS",
            "traceparent": f"00-{n + 1:032x}-00f067aa0ba902b7-01", "tracestate": "a=b"}


def check_letter(letter, sent, durable, subject, created):
    code, payload, headers, sequence = sent
    h = letter.headers
    own = {k.removeprefix("Echora-Dlq-"): v for k, v in h.items() if k.startswith("Echora-Dlq-")}
    assert letter.subject == f"anime.dlq.{durable}"
    assert letter.data == payload
    assert {k: own[k] for k in ("Stream", "Consumer", "Subject", "Seq", "Deliveries", "Class", "Code", "Hop")} == {
        "Stream": "ANIME_EVENTS", "Consumer": durable, "Subject": subject, "Seq": str(sequence), "Deliveries": "1",
        "Class": "reject", "Code": code, "Hop": "0"}
    assert re.fullmatch(r"[0-9a-f]{16}", own["Fingerprint"])
    for moment in ("First-Seen", "Failed-At"):
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", own[moment]), own
    assert own["Worker"] and own["Reason"]
    assert len(own["Reason"]) <= 512 and MARK not in own["Reason"], own["Reason"]
    assert len(own.get("Entity", "")) <= 64
    assert sum(len(f"Echora-Dlq-{k}: {v}\r\n") for k, v in own.items()) <= 2048
    assert set(own) <= {"Stream", "Consumer", "Subject", "Seq", "Deliveries", "Class", "Code", "Reason", "Fingerprint",
                        "Entity", "First-Seen", "Failed-At", "Worker", "Hop"}
    for name, value in headers.items():
        if not name.startswith("Nats-"):
            assert h.get(name) == value, name
    assert h["Nats-Expected-Stream"] == "ANIME_DLQ"
    assert re.fullmatch(rf"ANIME_EVENTS:\d+:{durable}:{sequence}", h["Nats-Msg-Id"])
    assert abs(int(h["Nats-Msg-Id"].split(":")[1]) - created) < 120
    return own["Fingerprint"]


@pytest.mark.parametrize("subject", list(SUBJECTS))
def test_refused_and_neighbours_committed(subject, streams, db, spawn):
    bus, durable = streams.bus("admin"), SUBJECTS[subject].durable
    good = Good(subject)
    taken = []
    for kind, owner in (("owned-by-another", uid()), ("owned-by-a-third", uid())):
        e = Made("anime.enriched", {"anime": owner})
        e.m.anime.sources.append(f"https://example.org/anime/{kind}")
        e.m.characters[0].sources.append(f"https://example.org/character/{kind}")
        taken.append(e.bytes())
    for payload in taken:
        bus.publish("anime.enriched", payload)

    queue, sent = [], {}
    for code, row, change in cases(subject):
        for copy in range(2):
            made, ids = good.next()
            queue.append((made, made.bytes(), None))
            bad_ids = {kind: uid() for kind in ("anime", "character", "episode")}
            if code == "identity-conflict":
                bad_ids = ids
            bad = Made(subject, bad_ids, 500 + len(queue))
            payload = change(bad)
            queue.append((bad, bad.bytes() if payload is None else payload, (code, row)))
    made, _ = good.next()
    queue.append((made, made.bytes(), None))
    if subject != "anime.enriched":
        for ids, _ in good.all:
            bus.publish("anime.enriched", good.base(ids))
        # What the writer knows already is not what is tested here.
        first = spawn("catalogue")
        eventually(lambda: db.one("SELECT count(*) FROM catalog.inbox") == len(good.all) + len(taken), 20, "bases")
        first.stop()

    for n, (made, payload, case) in enumerate(queue):
        headers = own_headers(made, n)
        ack = bus.publish(subject, payload, headers={**headers, "Nats-Msg-Id": f"n{n}"})
        if case:
            sent[ack.seq] = (case[0], payload, headers, ack.seq)
    created = time.time()
    writer = spawn("catalogue")

    eventually(lambda: bus.settled("ANIME_EVENTS", durable), 30, "all events settled")

    letters = {int(m.headers["Echora-Dlq-Seq"]): m for m in bus.messages("ANIME_DLQ")}
    told = {seq: m.headers["Echora-Dlq-Code"] for seq, m in letters.items()}
    wanted = {seq: code for seq, (code, *_) in sent.items()}
    labels = {seq: case for (seq, _), (_, _, case) in zip(sorted(sent.items()), [q for q in queue if q[2]])}
    wrong = {labels.get(seq, "a good event"): (wanted.get(seq), told.get(seq)) for seq in wanted.keys() | told.keys()
             if wanted.get(seq) != told.get(seq)}
    assert not wrong, "row: (wanted, told)"
    assert bus.stream("ANIME_DLQ").state.messages == len(sent)

    prints = collections.defaultdict(list)
    for seq, facts in sent.items():
        prints[labels[seq]].append(check_letter(letters[seq], facts, durable, subject, created))
    for row, (one, other) in prints.items():
        assert one == other, f"{row}: the same failure twice, two fingerprints"
    by_print = collections.defaultdict(set)
    for (code, _), (one, _) in prints.items():
        by_print[one].add(code)
    assert all(len(codes) == 1 for codes in by_print.values()), by_print

    good.check(db, durable)
    # A refused event leaves no inbox row (its replay must be handled) and no other trace.
    assert db.one("SELECT count(*) FROM catalog.inbox WHERE consumer = %s", durable) == len(good.all) + (
        len(taken) if subject == "anime.enriched" else 0)
    assert writer.metric("echora_messages_processed_total", consumer=durable, outcome="reject") == len(sent)
    assert writer.metric("echora_batch_process_duration_seconds_count", consumer=durable) < len(good.all) / 2, "no batches"

    # The same checks, asked before publishing, say the same.
    for made, payload, case in queue:
        if case and case[0] in ("identity-conflict", "too-large"):
            continue
        reply = bus.request("contracts.validate", payload, headers={"Echora-Subject": subject})
        if case:
            assert case[0].encode() in reply.data, (case, reply.data)
        else:
            assert reply.data == b"", reply.data


@pytest.mark.parametrize("subject", SPARSE)
def test_an_absent_entity_is_an_empty_one(subject, streams, db, spawn):
    """Not a refusal: what a sparse event lists and does not carry is cleared, its whole entity included."""
    bus, good = streams.bus("admin"), Good(subject)
    made, ids = good.next()
    bus.publish("anime.enriched", good.base(ids))
    bus.publish(subject, made.bytes())
    table, text, key = PLACES[SUBJECTS[subject].entity]
    spawn("catalogue")

    def stored():
        return db.all(f"SELECT {text} FROM catalog.{table} WHERE id = %s", ids[key])
    eventually(lambda: stored() == [("good 0",)], 20, "the value")
    later = Made(subject, ids, 10).listed(text)
    later.m.ClearField(SUBJECTS[subject].field)
    bus.publish(subject, later.bytes())
    eventually(lambda: stored() == [(None,)], 20, "cleared")
    assert bus.stream("ANIME_DLQ").state.messages == 0
