#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails unless the copies that protoc-c got mean on the wire what the published protos mean.

usage: compare_descriptors.py PUBLISHED.desc TRANSFORMED.desc

Every message, field (number, type, label, JSON name) and enum value must be the same. The one
difference allowed: an `optional` field f of the published set is the only member of a oneof `_f`.
"""
import sys


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data):
    """Field number to its values; enough of the wire format for descriptors."""
    found, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        elif tag & 7 == 2:
            size, at = varint(data, at)
            value, at = data[at:at + size], at + size
        else:
            raise ValueError(f"wire type {tag & 7} in a descriptor")
        found.setdefault(tag >> 3, []).append(value)
    return found


def text(found, number):
    return found.get(number, [b""])[-1].decode()


def number(found, n):
    return found.get(n, [None])[-1]


def read_enum(data, prefix, out):
    enum = fields(data)
    name = f"{prefix}.{text(enum, 1)}"
    for value in map(fields, enum.get(2, [])):
        out[f"{name}.{text(value, 1)}"] = ("value", number(value, 2) or 0)


def read_message(data, prefix, out, marked):
    message = fields(data)
    name = f"{prefix}.{text(message, 1)}"
    out[name] = ("message",)
    oneofs = [text(fields(o), 1) for o in message.get(8, [])]
    members = [fields(f) for f in message.get(2, [])]
    for field in members:
        index = number(field, 9)
        oneof = oneofs[index] if index is not None else None
        # The compiler itself puts a proto3 optional field f into a synthetic oneof `_f`.
        alone = oneof is not None and sum(number(m, 9) == index for m in members) == 1
        out[f"{name}.{text(field, 1)}"] = (
            "field", number(field, 3), number(field, 4), number(field, 5), text(field, 6),
            text(field, 10), oneof, alone and oneof == f"_{text(field, 1)}")
        if number(field, 17):
            marked.append(text(field, 1))
    for nested in message.get(3, []):
        read_message(nested, name, out, marked)
    for enum in message.get(4, []):
        read_enum(enum, name, out)


def read(path):
    """All names with what they are, and the fields marked as proto3 optional."""
    out, marked = {}, []
    with open(path, "rb") as source:
        descriptor_set = fields(source.read())
    for data in descriptor_set[1]:
        file = fields(data)
        for message in file.get(4, []):
            read_message(message, text(file, 2), out, marked)
        for enum in file.get(5, []):
            read_enum(enum, text(file, 2), out)
    return out, marked


def main():
    published, marks = read(sys.argv[1])
    transformed, marks_left = read(sys.argv[2])
    wrong = [f"{key}: published {published.get(key)}, copy {transformed.get(key)}"
             for key in sorted(published.keys() | transformed.keys())
             if published.get(key) != transformed.get(key)]
    synthetic = sum(1 for v in published.values() if v[0] == "field" and v[7])
    if not synthetic or len(marks) != synthetic:
        wrong.append(f"{synthetic} optional fields found, {len(marks)} marked as such")
    if marks_left:
        wrong.append(f"{len(marks_left)} proto3 optional fields left in the copies")
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(published)} names compared, {synthetic} optional fields")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
