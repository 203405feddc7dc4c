"""Random messages of any type, odd corners included, and types from protoc's descriptor sets.

(harness/wire.py makes messages that the catalogue takes; these are for codecs.)
"""
import struct
from pathlib import Path

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, struct_pb2, timestamp_pb2


def types_of(*files):
    """Full message name → class, for FileDescriptorProtos in the order of their dependencies."""
    pool = descriptor_pool.DescriptorPool()
    for known in (timestamp_pb2, struct_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    for file in files:
        if not file.name.startswith("google/protobuf/"):
            pool.Add(file)
    found = {}
    for file in files:
        descriptor = pool.FindFileByName(file.name)
        for name, message in descriptor.message_types_by_name.items():
            found[f"{file.package}.{name}"] = message_factory.GetMessageClass(message)
    return found


def types_of_set(path):
    """The same from a file that protoc --include_imports --descriptor_set_out wrote."""
    files = descriptor_pb2.FileDescriptorSet.FromString(Path(path).read_bytes()).file
    return types_of(*files)


_INT32 = (0, 1, -1, 2**31 - 1, -2**31)
_INT64 = (0, 1, -1, 2**53, 2**53 + 1, 2**63 - 1, -2**63)
_WORDS = ("", "a", "Frieren", "葬送のフリーレン", "tab\tnewline\nquote\"back\\slash/", "\x01\x1f\x7f", "é̂", "🎌🗡️",
          "\u2028\u2029", "</script>", "\U0010ffff", "ﬁ", "x" * 300)


def _text(rng, every):
    if rng.random() < 0.4:
        word = rng.choice(_WORDS)
        return word or ("ok" if every else word)
    n = rng.randint(1, 12)
    return "".join(chr(rng.choice((rng.randint(32, 126), rng.randint(0xa0, 0xd7ff), rng.randint(0xe000, 0xffff),
                                   rng.randint(0x10000, 0x10ffff)))) for _ in range(n))


def _float32(rng):
    v = rng.choice((0.1, 1.5, -2.25, 1e-45, 3.4028234663852886e38, 16777217.0, rng.uniform(-10, 10),
                    rng.uniform(-1, 1) * 10.0 ** rng.randint(-37, 37)))
    return struct.unpack("f", struct.pack("f", v))[0]


def _float64(rng):
    return rng.choice((0.1, 5e-324, 1.7976931348623157e308, 1e22, 1e21, 123456789012345680.0, rng.uniform(-1e6, 1e6),
                       rng.uniform(-1, 1) * 10.0 ** rng.randint(-300, 300)))


def _nonzero(rng, values, low, high, every):
    v = rng.choice((rng.choice(values), rng.randint(low, high), rng.randint(-1000, 1000) if low < 0 else
                    rng.randint(0, 1000)))
    return 1 if every and v == 0 else v


def _scalar(field, rng, every, odd):
    cpp = field.cpp_type
    if cpp == field.CPPTYPE_STRING:
        if field.type == field.TYPE_BYTES:
            return rng.randbytes(rng.randint(1 if every else 0, 20))
        return _text(rng, every)
    if cpp == field.CPPTYPE_BOOL:
        return True if every else rng.random() < 0.5
    if cpp == field.CPPTYPE_ENUM:
        if odd and len(field.enum_type.values) > 1 and rng.random() < 0.05:
            return rng.choice((77, 2**31 - 1, -5))
        numbers = [v.number for v in field.enum_type.values]
        return rng.choice([n for n in numbers if n != 0] if every and len(numbers) > 1 else numbers)
    if cpp == field.CPPTYPE_INT32:
        return _nonzero(rng, _INT32, -2**31, 2**31 - 1, every)
    if cpp == field.CPPTYPE_INT64:
        return _nonzero(rng, _INT64, -2**63, 2**63 - 1, every)
    if cpp == field.CPPTYPE_UINT32:
        return _nonzero(rng, (0, 1, 2**32 - 1), 0, 2**32 - 1, every)
    if cpp == field.CPPTYPE_UINT64:
        return _nonzero(rng, (0, 1, 2**53 + 1, 2**64 - 1), 0, 2**64 - 1, every)
    special = (float("inf"), float("-inf"), float("nan"))
    if odd and rng.random() < 0.05:
        return rng.choice(special)
    return _float32(rng) if cpp == field.CPPTYPE_FLOAT else _float64(rng)


def _fill_value(value, rng, depth):
    kind = rng.randint(0, 5 if depth > 0 else 3)
    if kind == 0:
        value.null_value = 0
    elif kind == 1:
        value.number_value = _float64(rng)
    elif kind == 2:
        value.string_value = _text(rng, False)
    elif kind == 3:
        value.bool_value = rng.random() < 0.5
    elif kind == 4:
        value.struct_value.SetInParent()
        for _ in range(rng.randint(0, 3)):
            _fill_value(value.struct_value.fields[_text(rng, False)], rng, depth - 1)
    else:
        value.list_value.SetInParent()
        for _ in range(rng.randint(0, 3)):
            _fill_value(value.list_value.values.add(), rng, depth - 1)


def _fill_special(message, rng, depth):
    name = message.DESCRIPTOR.full_name
    if name == "google.protobuf.Timestamp":
        message.seconds = rng.choice((rng.randint(-62135596800, 253402300799), rng.randint(0, 1800000000),
                                      -62135596800, 253402300799))
        message.nanos = rng.choice((0, 500000000, 123000, 999999999, rng.randint(0, 999999999)))
    elif name == "google.protobuf.Value":
        _fill_value(message, rng, depth)
    elif name == "google.protobuf.Struct":
        for _ in range(rng.randint(0, 3)):
            _fill_value(message.fields[_text(rng, False)], rng, depth - 1)
    elif name == "google.protobuf.ListValue":
        for _ in range(rng.randint(0, 3)):
            _fill_value(message.values.add(), rng, depth - 1)
    else:
        return False
    return True


def _fill(message, rng, every, odd, depth):
    if _fill_special(message, rng, min(depth, 2)):
        return
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof and len(field.containing_oneof.fields) > 1 \
                and message.WhichOneof(field.containing_oneof.name):
            continue
        if not every and rng.random() < 0.5:
            continue
        is_message = field.cpp_type == field.CPPTYPE_MESSAGE
        if is_message and depth <= 0 and not field.message_type.full_name.startswith("google.protobuf."):
            continue
        n = rng.randint(1 if every else 0, 3)
        if field.label != field.LABEL_REPEATED:
            if is_message:
                getattr(message, field.name).SetInParent()
                _fill(getattr(message, field.name), rng, every, odd, depth - 1)
            else:
                setattr(message, field.name, _scalar(field, rng, every, odd))
        elif is_message and field.message_type.GetOptions().map_entry:
            key, value = (field.message_type.fields_by_name[k] for k in ("key", "value"))
            target = getattr(message, field.name)
            for _ in range(n):
                k = _scalar(key, rng, False, False)
                if value.cpp_type == value.CPPTYPE_MESSAGE:
                    if depth > 0 or value.message_type.full_name.startswith("google.protobuf."):
                        _fill(target[k], rng, every, odd, depth - 1)
                else:
                    target[k] = _scalar(value, rng, every, odd)
        elif is_message:
            for _ in range(n):
                _fill(getattr(message, field.name).add(), rng, every, odd, depth - 1)
        else:
            getattr(message, field.name).extend(_scalar(field, rng, every, odd) for _ in range(n))


def random_message(cls, rng, every=False, odd=False, depth=6):
    """A random message. every: each field set, to something else than its default. odd: also NaN, infinities and
    enum numbers that nobody knows."""
    message = cls()
    _fill(message, rng, every, odd, depth)
    return message
