/* One pass over the wire before protobuf-c sees it, and the decoded size on the way.
 *
 * The pass walks nested messages with a stack of its own, so its depth is bounded by
 * WIRE_MAX_DEPTH and its time by the payload's length. What it accepts is narrower than what
 * protobuf-c accepts and never wider:
 *  - a known field has its own wire type (or is a packed list of it); groups don't exist;
 *  - a varint has at most 10 bytes and 64 bits, a tag or length at most 5 and 32;
 *  - a singular message occurs once. The format would have them merged, but protobuf-c 1.4 and 1.5
 *    read before the start of the field table when both occurrences leave a oneof unset, and no
 *    encoder writes one field twice.
 * Unknown fields stay, well-framed; unknown enum numbers stay as they are.
 *
 * The size mirrors what protobuf-c asks of its allocator, each request rounded to the arena's 16
 * bytes: the struct, one array per repeated field (here: one rounding per array and its elements'
 * sizes, an upper bound), text with its NUL, unknown fields with their table, and the tables of 32,
 * 64, ... scanned members that it makes for a message of more than 16 fields. Since freeing does
 * nothing, a text that is overwritten by a later occurrence counts as well. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/wire.h"

#include <stdio.h>

#include "contracts/field.h"

#define ALIGNED(n) (((n) + 15) & ~(size_t)15)
/* Of the scanned members that protobuf-c keeps: on its stack, and the size of one. */
#define SCANNED_ON_STACK 16
#define SCANNED_SIZE 32
/* Fields of one message that a frame can mark as seen. */
#define MAX_FIELDS 128
/* Keeps lengths within int and members within what protobuf-c can scan. */
#define MAX_PAYLOAD ((size_t)1 << 28)

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 };

struct frame {
    const uint8_t *end;
    const ProtobufCMessageDescriptor *type;
    const ProtobufCFieldDescriptor *entered_by; /* field of the frame below; NULL at the bottom */
    unsigned last;                              /* index of the field read last */
    unsigned members, members_room;
    bool has_unknown;
    uint64_t seen[MAX_FIELDS / 64];
};

struct check {
    const uint8_t *start, *p;
    size_t size, decode_max;
    int depth; /* index of the top frame */
    struct err *err;
    const ProtobufCFieldDescriptor *field; /* being read, NULL = unknown or none */
    struct frame frames[WIRE_MAX_DEPTH];
};

static const uint8_t wire_types[] = {
    [PROTOBUF_C_TYPE_INT32] = VARINT,     [PROTOBUF_C_TYPE_SINT32] = VARINT,
    [PROTOBUF_C_TYPE_SFIXED32] = FIXED32, [PROTOBUF_C_TYPE_INT64] = VARINT,
    [PROTOBUF_C_TYPE_SINT64] = VARINT,    [PROTOBUF_C_TYPE_SFIXED64] = FIXED64,
    [PROTOBUF_C_TYPE_UINT32] = VARINT,    [PROTOBUF_C_TYPE_FIXED32] = FIXED32,
    [PROTOBUF_C_TYPE_UINT64] = VARINT,    [PROTOBUF_C_TYPE_FIXED64] = FIXED64,
    [PROTOBUF_C_TYPE_FLOAT] = FIXED32,    [PROTOBUF_C_TYPE_DOUBLE] = FIXED64,
    [PROTOBUF_C_TYPE_BOOL] = VARINT,      [PROTOBUF_C_TYPE_ENUM] = VARINT,
    [PROTOBUF_C_TYPE_STRING] = LENGTH,    [PROTOBUF_C_TYPE_BYTES] = LENGTH,
    [PROTOBUF_C_TYPE_MESSAGE] = LENGTH,
};

/* Fails with the path of field names to where reading stands. */
__attribute__((cold, noinline)) static int refuse(const struct check *c, const char *code,
                                                  const char *rule)
{
    char path[200] = "";
    size_t n = 0;
    for (int i = 1; i <= c->depth + 1; i++) {
        const ProtobufCFieldDescriptor *f = i <= c->depth ? c->frames[i].entered_by : c->field;
        if (!f || n >= sizeof(path))
            break;
        n += (size_t)snprintf(path + n, sizeof(path) - n, "%s%s", n ? "." : "", f->name);
    }
    return err_set(c->err, ERR_REJECT, code, "wire check", "%s%s%s at byte %zu", path,
                   *path ? ": " : "", rule, (size_t)(c->p - c->start));
}

/* Reads a varint of at most max bytes; false when it is cut off, too long or above 64 bits. */
static inline bool read_varint(const uint8_t **at, const uint8_t *end, unsigned max, uint64_t *ret)
{
    const uint8_t *p = *at;
    uint64_t v = 0;
    for (unsigned i = 0; i < max && p < end; i++) {
        uint8_t byte = *p++;
        if (i == 9 && byte > 1)
            return false;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *at = p;
            *ret = v;
            return true;
        }
    }
    return false;
}

static inline bool read_u32(const uint8_t **at, const uint8_t *end, uint32_t *ret)
{
    uint64_t v;
    if (*at < end && **at < 0x80) {
        *ret = *(*at)++;
        return true;
    }
    if (!read_varint(at, end, 5, &v) || v > UINT32_MAX)
        return false;
    *ret = (uint32_t)v;
    return true;
}

/* Index of the field, or -1. Numbers mostly rise one by one, so the next one is tried first. */
static inline int find_field(const ProtobufCMessageDescriptor *type, uint32_t number, unsigned last)
{
    for (unsigned i = last; i < type->n_fields && i < last + 2; i++) {
        if (type->fields[i].id == number)
            return (int)i;
    }
    for (unsigned i = 0; i < type->n_field_ranges; i++) {
        const ProtobufCIntRange *range = &type->field_ranges[i];
        unsigned n = range[1].orig_index - range->orig_index;
        if (number >= (uint32_t)range->start_value && number - (uint32_t)range->start_value < n)
            return (int)(number - (uint32_t)range->start_value + range->orig_index);
    }
    return -1;
}

static inline bool mark_seen(struct frame *f, unsigned index)
{
    uint64_t bit = 1ull << (index % 64);
    bool before = f->seen[index / 64] & bit;
    f->seen[index / 64] |= bit;
    return before;
}

static int push(struct check *c, const ProtobufCMessageDescriptor *type,
                const ProtobufCFieldDescriptor *by, const uint8_t *end)
{
    if (c->depth + 1 >= WIRE_MAX_DEPTH)
        return refuse(c, "too-deep", "messages are nested too deep");
    if (type->n_fields > MAX_FIELDS)
        return err_set(c->err, ERR_FATAL, "internal", "wire check", "%s has over %d fields",
                       type->name, MAX_FIELDS);
    c->size += ALIGNED(type->sizeof_message);
    if (c->size > c->decode_max)
        return refuse(c, "too-large", "the decoded message passes the limit");
    struct frame *f = &c->frames[++c->depth];
    f->end = end;
    f->type = type;
    f->entered_by = by;
    f->last = 0;
    f->members = 0;
    f->members_room = SCANNED_ON_STACK;
    f->has_unknown = false;
    memset(f->seen, 0, sizeof(f->seen));
    return 0;
}

static int skip_unknown(struct check *c, struct frame *f, unsigned wire)
{
    const uint8_t *from = c->p;
    uint64_t ignored;
    uint32_t n = wire == FIXED64 ? 8 : wire == FIXED32 ? 4 : 0;
    switch (wire) {
    case VARINT:
        if (!read_varint(&c->p, f->end, 10, &ignored))
            return refuse(c, "decode", "varint is cut off or too long");
        break;
    case LENGTH:
        if (!read_u32(&c->p, f->end, &n))
            return refuse(c, "decode", "length is cut off or too long");
        break;
    case FIXED32:
    case FIXED64:
        break;
    default:
        return refuse(c, "decode", "groups and wire types above 5 don't exist here");
    }
    if (n > (size_t)(f->end - c->p))
        return refuse(c, "decode", "value runs over the end of its message");
    c->p += n;
    if (!f->has_unknown)
        c->size += 16; /* rounding of the table */
    f->has_unknown = true;
    c->size += sizeof(ProtobufCMessageUnknownField) + ALIGNED((size_t)(c->p - from));
    return 0;
}

static int packed(struct check *c, const ProtobufCFieldDescriptor *field, const uint8_t *end)
{
    size_t n = (size_t)(end - c->p), width = field_value_size(field), count = 0;
    unsigned wire = wire_types[field->type];
    if (wire != VARINT) {
        if (n % width)
            return refuse(c, "decode", "length of a packed list is no multiple of its values");
        c->size += n;
        c->p = end;
        return 0;
    }
    while (c->p < end) {
        uint64_t v;
        if (!read_varint(&c->p, end, 10, &v))
            return refuse(c, "decode", "varint is cut off or too long");
        /* protobuf-c takes one byte per packed bool */
        if (field->type == PROTOBUF_C_TYPE_BOOL && (c->p[-1] & 0x80 || v > 1))
            return refuse(c, "decode", "a packed bool is 0 or 1");
        count++;
    }
    if (field->type == PROTOBUF_C_TYPE_BOOL && count != n)
        return refuse(c, "decode", "a packed bool is one byte");
    c->size += count * width;
    return 0;
}

static int text(struct check *c, const uint8_t *p, size_t n)
{
    if (!utf8_is_valid((struct bytes){p, n})) {
        if (memchr(p, 0, n))
            return refuse(c, "text-nul", "text holds NUL");
        return refuse(c, "bad-utf8", "text is not valid UTF-8");
    }
    c->size += ALIGNED(n + 1);
    return 0;
}

/* A known field that is length-prefixed on the wire. */
static int length_field(struct check *c, struct frame *f, const ProtobufCFieldDescriptor *field,
                        bool again)
{
    uint32_t n;
    if (!read_u32(&c->p, f->end, &n))
        return refuse(c, "decode", "length is cut off or too long");
    if (n > (size_t)(f->end - c->p))
        return refuse(c, "decode", "value runs over the end of its message");
    const uint8_t *end = c->p + n;
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        if (text(c, c->p, n) < 0)
            return -1;
        c->p = end;
        break;
    case PROTOBUF_C_TYPE_BYTES:
        c->size += n ? ALIGNED(n) : 0;
        c->p = end;
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        if (again && !repeated)
            return refuse(c, "decode", "a singular message occurs twice");
        if (repeated)
            c->size += sizeof(void *);
        return push(c, field->descriptor, field, end);
    default:
        if (!repeated)
            return refuse(c, "decode", "wire type is not the field's");
        return packed(c, field, end);
    }
    if (repeated)
        c->size += field_value_size(field);
    return 0;
}

static int known_field(struct check *c, struct frame *f, const ProtobufCFieldDescriptor *field,
                       unsigned wire)
{
    bool again = mark_seen(f, (unsigned)(field - f->type->fields));
    bool repeated = field->label == PROTOBUF_C_LABEL_REPEATED;
    if (repeated && !again)
        c->size += 16; /* rounding of the array */
    if (wire == LENGTH)
        return length_field(c, f, field, again);
    if (wire != wire_types[field->type])
        return refuse(c, "decode", "wire type is not the field's");
    if (repeated)
        c->size += field_value_size(field);
    if (wire == VARINT) {
        uint64_t ignored;
        if (c->p < f->end && *c->p < 0x80)
            c->p++;
        else if (!read_varint(&c->p, f->end, 10, &ignored))
            return refuse(c, "decode", "varint is cut off or too long");
        return 0;
    }
    size_t width = wire == FIXED32 ? 4 : 8;
    if ((size_t)(f->end - c->p) < width)
        return refuse(c, "decode", "value runs over the end of its message");
    c->p += width;
    return 0;
}

static int one_field(struct check *c, struct frame *f)
{
    uint32_t tag;
    c->field = NULL;
    if (!read_u32(&c->p, f->end, &tag))
        return refuse(c, "decode", "tag is cut off or too long");
    uint32_t number = tag >> 3;
    if (number == 0)
        return refuse(c, "decode", "field number 0");
    if (++f->members > f->members_room) {
        f->members_room *= 2; /* rooms of 16, 32, 64, ... : 16, then 48, 112, ... in all */
        f->members_room += SCANNED_ON_STACK;
        c->size += (size_t)SCANNED_SIZE * (f->members_room + SCANNED_ON_STACK) / 2;
    }
    int index = find_field(f->type, number, f->last);
    if (index < 0)
        return skip_unknown(c, f, tag & 7);
    f->last = (unsigned)index;
    c->field = &f->type->fields[index];
    return known_field(c, f, c->field, tag & 7);
}

int wire_check(const ProtobufCMessageDescriptor *type, struct bytes payload, size_t decode_max,
               size_t *ret_size, struct err *err)
{
    struct check c; /* frames are set up when they are entered */
    c.start = c.p = payload.p;
    c.size = 0;
    c.decode_max = decode_max;
    c.depth = -1;
    c.err = err;
    c.field = NULL;
    if (payload.n > MAX_PAYLOAD)
        return refuse(&c, "too-large", "the payload passes the limit");
    if (push(&c, type, NULL, payload.n ? payload.p + payload.n : payload.p) < 0)
        return -1;
    while (c.depth >= 0) {
        struct frame *f = &c.frames[c.depth];
        if (c.p == f->end) {
            c.depth--;
            continue;
        }
        if (one_field(&c, f) < 0)
            return -1;
    }
    if (c.size > decode_max)
        return refuse(&c, "too-large", "the decoded message passes the limit");
    *ret_size = c.size;
    return 0;
}

static void *from_arena(void *arena, size_t n)
{
    return arena_alloc(arena, n);
}

static void free_nothing(void *arena, void *p)
{
}

int wire_decode(const ProtobufCMessageDescriptor *type, struct bytes payload, size_t decode_max,
                struct arena *arena, ProtobufCMessage **ret, struct err *err)
{
    size_t size = 0;
    if (wire_check(type, payload, decode_max, &size, err) < 0)
        return -1;
    ProtobufCAllocator allocator = {from_arena, free_nothing, arena};
    ProtobufCMessage *m = protobuf_c_message_unpack(type, &allocator, payload.n, payload.p);
    if (!m && arena_overflowed(arena))
        return err_set(err, ERR_RETRY, "no-memory", "unpack", "%s needs %zu bytes", type->name,
                       size);
    if (!m)
        return err_set(err, ERR_REJECT, "decode", "unpack", "%s was refused after a good check",
                       type->name);
    *ret = m;
    return 0;
}

int wire_encode(const ProtobufCMessage *message, struct buf *out, struct err *err)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *p = buf_extend(out, size);
    if (!p)
        return buf_error(out, "pack", message->descriptor->name, err);
    protobuf_c_message_pack(message, p);
    return 0;
}
