#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What of the protos may not change between releases, and whether it did.

usage: evolution.py freeze DESCRIPTOR_SET        the shape of a set, as JSON (contracts/released/shape.json)
       evolution.py check DESCRIPTOR_SET SHAPE   every breaking change since SHAPE; exit 1 when there is one

DESCRIPTOR_SET is what protoc --include_imports --descriptor_set_out writes (build/contracts/gen/published.desc).
Adding messages, fields with new numbers and enum values is free. A removed field or value must leave its number and
its name reserved. Everything else that a consumer of the wire or of the JSON form could see is breaking. Freeze at
each release, never in between.
"""
import json
import sys

from google.protobuf import descriptor_pb2

FIELD = descriptor_pb2.FieldDescriptorProto


def _type(field):
    name = FIELD.Type.Name(field.type)[len("TYPE_"):].lower()
    return field.type_name.lstrip(".") if field.type_name else name


def _field(field, message):
    presence = "repeated" if field.label == FIELD.LABEL_REPEATED else "optional" if field.proto3_optional else "singular"
    shape = {"name": field.name, "json": field.json_name, "type": _type(field), "presence": presence}
    if field.HasField("oneof_index") and not field.proto3_optional:
        shape["oneof"] = message.oneof_decl[field.oneof_index].name
    return shape


def _reserved(thing, end_is_inside):
    numbers = [[r.start, r.end if end_is_inside else r.end - 1] for r in thing.reserved_range]
    return {"numbers": sorted(numbers), "names": sorted(thing.reserved_name)}


def _add_message(shape, prefix, message):
    name = f"{prefix}.{message.name}"
    shape["messages"][name] = {"fields": {str(f.number): _field(f, message) for f in message.field},
                               "reserved": _reserved(message, False), "map": message.options.map_entry}
    for inner in message.nested_type:
        _add_message(shape, name, inner)
    for enum in message.enum_type:
        _add_enum(shape, name, enum)


def _add_enum(shape, prefix, enum):
    shape["enums"][f"{prefix}.{enum.name}"] = {"values": {v.name: v.number for v in enum.value},
                                               "reserved": _reserved(enum, True)}


def shape_of(files):
    """The shape of a FileDescriptorSet, google's own files left out."""
    shape = {"messages": {}, "enums": {}}
    for file in files.file:
        if file.name.startswith("google/"):
            continue
        for message in file.message_type:
            _add_message(shape, file.package, message)
        for enum in file.enum_type:
            _add_enum(shape, file.package, enum)
    return shape


def _is_reserved(reserved, number, name):
    return any(low <= number <= high for low, high in reserved["numbers"]), name in reserved["names"]


def _gone(what, reserved, number, name):
    by_number, by_name = _is_reserved(reserved, number, name)
    if not by_number:
        yield f"{what}: removed, and its number {number} is not reserved"
    if not by_name:
        yield f"{what}: removed, and its name is not reserved"


def _freed(what, old, new):
    for low, high in old["numbers"]:
        for number in range(low, high + 1):
            if not any(a <= number <= b for a, b in new["numbers"]):
                yield f"{what}: number {number} is no longer reserved"
    for name in old["names"]:
        if name not in new["names"]:
            yield f"{what}: name {name} is no longer reserved"


def _message_breaks(name, old, new):
    if old["map"] != new["map"]:
        yield f"{name}: a map entry became a message, or the other way round"
    yield from _freed(name, old["reserved"], new["reserved"])
    for number, field in old["fields"].items():
        what = f"{name}.{field['name']}"
        now = new["fields"].get(number)
        if now is None:
            yield from _gone(what, new["reserved"], int(number), field["name"])
            continue
        for part in ("name", "json", "type", "presence", "oneof"):
            if field.get(part) != now.get(part):
                yield f"{what} = {number}: {part} was {field.get(part)}, is {now.get(part)}"


def _enum_breaks(name, old, new):
    yield from _freed(name, old["reserved"], new["reserved"])
    for value, number in old["values"].items():
        now = new["values"].get(value)
        if now is None:
            yield from _gone(f"{name}.{value}", new["reserved"], number, value)
        elif now != number:
            yield f"{name}.{value}: number was {number}, is {now}"


def breaks(old, new):
    """Every breaking change from one shape to another, as sentences."""
    found = []
    for kind, compare in (("messages", _message_breaks), ("enums", _enum_breaks)):
        for name, thing in old[kind].items():
            if name not in new[kind]:
                found.append(f"{name}: removed")
            else:
                found += compare(name, thing, new[kind][name])
    return found


def read_set(path):
    with open(path, "rb") as f:
        return descriptor_pb2.FileDescriptorSet.FromString(f.read())


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "freeze":
        json.dump(shape_of(read_set(sys.argv[2])), sys.stdout, indent=1, sort_keys=True)
        print()
        return 0
    if len(sys.argv) == 4 and sys.argv[1] == "check":
        with open(sys.argv[3], encoding="utf-8") as f:
            found = breaks(json.load(f), shape_of(read_set(sys.argv[2])))
        for line in found:
            print(line)
        return 1 if found else 0
    sys.stderr.write(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main())
