"""Protobuf messages built at run time from the published wire tables, never from our .proto files.

The tables (contracts/wire/*.csv) say which fields the catalogue's existing producers put on the wire.
So what this module encodes is what such a producer would send: an oracle for our decoder. The event
envelopes are the numbers that the contract fixes, typed in here once more.
"""
import csv
import functools
import random
import re
import struct
import uuid

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory, timestamp_pb2

from .settings import ROOT

TABLES = ROOT / "contracts/wire"


SCALARS = {name: getattr(descriptor_pb2.FieldDescriptorProto, "TYPE_" + name.upper())
           for name in ("string", "int32", "int64", "float", "double", "bool", "bytes")}

# message -> [(number, name, type, repeated)]
ENVELOPES = {
    "AnimeEnrichedEvent": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                           (3, "anime_id", "string", 0), (4, "anime", "Anime", 0),
                           (5, "characters", "Character", 1), (6, "episodes", "Episode", 1)],
    "AnimeUpdatedEvent": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                          (3, "anime_id", "string", 0), (4, "changed_fields", "string", 1), (5, "anime", "Anime", 0),
                          (6, "risk_reasons", "string", 1), (7, "source", "string", 0)],
    "EpisodeAiredEvent": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                          (3, "anime_id", "string", 0), (4, "aired_at", "string", 0), (5, "episode", "Episode", 0),
                          (6, "status", "AnimeStatus", 2), (7, "source", "string", 0)],
    "EpisodeUpdatedEvent": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                            (3, "episode_id", "string", 0), (4, "changed_fields", "string", 1),
                            (5, "episode", "Episode", 0), (7, "source", "string", 0)],
    "CharacterUpdatedEvent": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                              (3, "character_id", "string", 0), (4, "changed_fields", "string", 1),
                              (5, "character", "Character", 0), (7, "source", "string", 0)],
    "IngestionReviewReadyEvent": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                                  (3, "run_id", "int64", 0), (4, "entry_count", "int32", 0),
                                  (5, "review_ref", "string", 0)],
}
# Reading the catalogue: the numbers that the contract fixes for requests.
READS = {
    "CatalogGetRequest": [(1, "ids", "string", 1), (2, "include_deleted", "bool", 0), (3, "fields", "string", 1),
                          (4, "revisions_only", "bool", 0), (5, "members_cursor", "string", 0)],
    "CatalogEntry": [(1, "id", "string", 0), (2, "canonical_id", "string", 0), (3, "revision", "int64", 0),
                     (4, "deleted", "bool", 0), (5, "record", "AnimeRecord", 0), (6, "anime", "Anime", 0),
                     (7, "character", "Character", 0), (8, "episode", "Episode", 0), (9, "anime_ids", "string", 1),
                     (10, "members", "CatalogEntry", 1), (11, "next_members", "string", 0)],
    "CatalogGetReply": [(1, "entries", "CatalogEntry", 1), (2, "missing", "string", 1), (3, "unread", "string", 1)],
}
# What the five messages of ANIME_SYNC have in common.
SYNC = {"EntityEvent": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                        (3, "entity_id", "string", 0), (4, "changed_fields", "string", 1), (6, "revision", "int64", 0)]}
# What the catalogue tells the stream AUDIT.
AUDITS = {"CatalogAudit": [(1, "event_id", "string", 0), (2, "timestamp", "google.protobuf.Timestamp", 0),
                           (3, "action", "string", 0), (4, "actor", "string", 0), (5, "anime_id", "string", 0),
                           (6, "review_id", "string", 0), (7, "update_id", "string", 0), (8, "fields", "string", 1),
                           (9, "superseded_fields", "string", 1), (10, "note", "string", 0),
                           (11, "revision", "int64", 0)]}
OPTIONAL = 2


def rows(name):
    with open(TABLES / name, encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if line[0] != "#"))


def camel(text):
    return "".join(part.capitalize() for part in text.split("_"))


class Builder:
    """One FileDescriptorProto of all domain messages and envelopes."""

    def __init__(self):
        self.file = descriptor_pb2.FileDescriptorProto(name="wiretest.proto", package="wiretest", syntax="proto3",
                                                       dependency=["google/protobuf/timestamp.proto"])
        self.enums, self.messages = set(), {}

    def enum(self, name, values):
        self.enums.add(name)
        self.file.enum_type.add(name=name).value.extend(
            descriptor_pb2.EnumValueDescriptorProto(name=value, number=number) for value, number in values)

    def message(self, name):
        if name not in self.messages:
            self.messages[name] = self.file.message_type.add(name=name)
        return self.messages[name]

    def set_type(self, field, type_name):
        if type_name in SCALARS:
            field.type = SCALARS[type_name]
        elif type_name in self.enums:
            field.type, field.type_name = field.TYPE_ENUM, f".wiretest.{type_name}"
        else:
            qualified = type_name if "." in type_name else f"wiretest.{type_name}"
            field.type, field.type_name = field.TYPE_MESSAGE, "." + qualified

    def field(self, message, number, name, type_name, presence):
        target = self.message(message)
        field = target.field.add(name=name, number=number, label=1)
        if presence == "map":
            value_type = re.fullmatch(r"map<string, (.+)>", type_name)[1]
            entry = target.nested_type.add(name=camel(name) + "Entry")
            entry.options.map_entry = True
            self.set_type(entry.field.add(name="key", number=1, label=1), "string")
            self.set_type(entry.field.add(name="value", number=2, label=1), value_type)
            field.label, field.type = 3, field.TYPE_MESSAGE
            field.type_name = f".wiretest.{message}.{entry.name}"
            return
        self.set_type(field, type_name)
        if presence == "repeated":
            field.label = 3
        elif presence == "optional":
            field.proto3_optional = True
            field.oneof_index = len(target.oneof_decl)
            target.oneof_decl.add(name="_" + name)


@functools.cache
def classes():
    """name -> message class, for every domain message, event envelope and read request."""
    builder = Builder()
    values = {}
    for row in rows("enums.csv"):
        values.setdefault(row["enum"], []).append((row["value"], int(row["number"])))
    for name, members in values.items():
        builder.enum(name, members)
    for row in rows("fields.csv"):
        builder.field(row["message"], int(row["number"]), row["field"], row["type"], row["presence"])
    for name, fields in {**ENVELOPES, **READS, **SYNC, **AUDITS}.items():
        for number, field, type_name, how in fields:
            builder.field(name, number, field, type_name, ("singular", "repeated", "optional")[how])
    pool = descriptor_pool.DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto.FromString(timestamp_pb2.DESCRIPTOR.serialized_pb))
    pool.Add(builder.file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"wiretest.{name}"))
            for name in builder.messages}


def is_map(field):
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def micros(text):
    """Microseconds since 1970 of an RFC 3339 time."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromJsonString(text)
    return stamp.ToMicroseconds()


def prefix(field):
    """Of the names of an enum's values, "" for other fields."""
    return field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED") if field.enum_type else ""


def plain(field, value):
    """A field's JSON with enum names without their prefix and 64-bit numbers as numbers."""
    if isinstance(value, list):
        return [plain(field, v) for v in value]
    if field.enum_type and isinstance(value, str):
        return value.removeprefix(prefix(field))
    return int(value) if field.type == field.TYPE_INT64 else value


def fields(message):
    """{name: plain value} of what is on the wire."""
    found = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return {field.name: plain(field, found[field.name]) for field, _ in message.ListFields()}


def kept(name, row, columns):
    """The fields of a message whose plain values are columns of a row, `columns` naming those that are called
    otherwise, and that has the JSON of all others in column meta, which wins."""
    message, given = classes()[name](), {}
    for field in message.DESCRIPTOR.fields:
        value = row.get(columns.get(field.name, field.name))
        if value is not None:
            given[field.json_name] = prefix(field) + value if field.enum_type else value
    return fields(json_format.ParseDict(given | row["meta"], message))


LETTERS = "abcXYZ 0123456789_-\"\\/<>&\t\n\u00e9\u00df\u5fcd\u8005\u30ca\u30eb\u30c8\u0416\U0001f600\u2028"


class Random:
    """Random messages with every field set, within the limits that validation knows."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def uuid(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def text(self):
        return "".join(self.random.choices(LETTERS, k=self.random.randint(1, 24)))

    def float32(self, low, high):
        return struct.unpack("<f", struct.pack("<f", self.random.uniform(low, high)))[0] or 1.0

    def scalar(self, field):
        r, name = self.random, field.name
        if field.type == field.TYPE_ENUM:
            return r.choice([v.number for v in field.enum_type.values if v.number])
        if field.type == field.TYPE_BOOL:
            return True
        if field.type in (field.TYPE_FLOAT, field.TYPE_DOUBLE):
            return self.float32(0.001, 10)
        if field.type == field.TYPE_INT64:
            return r.choice([1, -1, 2**53 + 1, 2**63 - 1, -2**63, r.getrandbits(40)])
        if field.type == field.TYPE_INT32:
            if name == "year":
                return r.randint(1900, 2100)
            if name in ("episode_number", "episode_count", "duration", "sub_delay_days", "dub_delay_days"):
                return r.randint(1, 2**31 - 1)
            return r.choice([1, 2**31 - 1, r.getrandbits(20) + 1])
        return self.text()

    def timestamp(self, message):
        message.seconds = self.random.randint(-62135596800, 253402300799)
        message.nanos = self.random.randint(1, 999999999)

    def value(self, field, message):
        """Fills a sub-message."""
        if field.message_type.full_name == "google.protobuf.Timestamp":
            self.timestamp(message)
        else:
            self.fill(message)

    def fill(self, message, skip=()):
        """Sets every field of the message, depth first. Ids stay empty: the caller knows them."""
        for field in message.DESCRIPTOR.fields:
            if field.name in skip:
                continue
            if is_map(field):
                value = field.message_type.fields_by_name["value"]
                target = getattr(message, field.name)
                for _ in range(self.random.randint(1, 2)):
                    key = self.text()
                    if value.message_type is not None:
                        self.value(value, target[key])
                    else:
                        target[key] = self.scalar(value)
            elif field.label == field.LABEL_REPEATED:
                target = getattr(message, field.name)
                for _ in range(self.random.randint(1, 2)):
                    if field.message_type is not None:
                        self.value(field, target.add())
                    else:
                        target.append(self.scalar(field))
            elif field.message_type is not None:
                self.value(field, getattr(message, field.name))
            else:
                setattr(message, field.name, self.scalar(field))
        return message

    def domain(self, name, **ids):
        """A full Anime, Character, Episode or AnimeRecord whose ids are as given, else empty."""
        message = self.fill(classes()[name](), skip=("id", "anime_id", "anime_ids") if name != "AnimeRecord" else ())
        for key, value in ids.items():
            setattr(message, key, value)
        return message

    def sources(self, kind, n=2):
        """References that nobody else has."""
        return [f"https://example.org/{kind}/{self.random.getrandbits(64):x}" for _ in range(n)]
