/* Fields by descriptor.
 *
 * Where presence lives: a oneof member (so also every proto3 `optional`, see gen/proto2c.py) is set
 * when the case member holds its number; a repeated field has a count; a message has a pointer; a
 * plain field is set when it is not zero. proto2 labels don't occur in our protos; a required field
 * counts as plain, an optional one as set when its has-flag or pointer says so. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"

#include <stdlib.h>

static const void *at(const ProtobufCMessage *m, unsigned offset)
{
    return (const char *)m + offset;
}

static void *at_rw(ProtobufCMessage *m, unsigned offset)
{
    return (char *)m + offset;
}

static bool in_oneof(const ProtobufCFieldDescriptor *f)
{
    return f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

static bool is_pointer(const ProtobufCFieldDescriptor *f)
{
    return f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
}

size_t field_value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_ENUM:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    }
    return 0;
}

/* Zero, empty or NULL. */
static bool value_is_zero(const ProtobufCFieldDescriptor *f, const void *v)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *s = *(const char *const *)v;
        return !s || !*s;
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)v)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return !*(const ProtobufCMessage *const *)v;
    case PROTOBUF_C_TYPE_FLOAT: /* -0.0 is zero, too: protobuf-c doesn't send it */
        return *(const float *)v == 0.0f;
    case PROTOBUF_C_TYPE_DOUBLE:
        return *(const double *)v == 0.0;
    default: {
        static const char zeros[8];
        return memcmp(v, zeros, field_value_size(f)) == 0;
    }
    }
}

bool field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)at(message, field->quantifier_offset) > 0;
    if (in_oneof(field))
        return *(const uint32_t *)at(message, field->quantifier_offset) == field->id;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL) {
        if (is_pointer(field))
            return *(const void *const *)at(message, field->offset) != NULL;
        return *(const protobuf_c_boolean *)at(message, field->quantifier_offset);
    }
    return !value_is_zero(field, at(message, field->offset));
}

void field_clear(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    void *value = at_rw(message, field->offset);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        *(size_t *)at_rw(message, field->quantifier_offset) = 0;
        *(void **)value = NULL;
        return;
    }
    if (in_oneof(field)) {
        uint32_t *which = at_rw(message, field->quantifier_offset);
        if (*which != field->id)
            return; /* another member of the oneof stands there */
        *which = 0;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !is_pointer(field)) {
        *(protobuf_c_boolean *)at_rw(message, field->quantifier_offset) = 0;
    }
    memset(value, 0, field_value_size(field));
    if (field->type == PROTOBUF_C_TYPE_STRING && !in_oneof(field) &&
        field->label != PROTOBUF_C_LABEL_OPTIONAL)
        *(const char **)value = protobuf_c_empty_string;
}

void field_share(ProtobufCMessage *to, const ProtobufCMessage *from,
                 const ProtobufCFieldDescriptor *field)
{
    if (!field_is_set(from, field)) {
        field_clear(to, field);
        return;
    }
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        *(size_t *)at_rw(to, field->quantifier_offset) =
            *(const size_t *)at(from, field->quantifier_offset);
        memcpy(at_rw(to, field->offset), at(from, field->offset), sizeof(void *));
        return;
    }
    if (in_oneof(field))
        *(uint32_t *)at_rw(to, field->quantifier_offset) = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !is_pointer(field))
        *(protobuf_c_boolean *)at_rw(to, field->quantifier_offset) = 1;
    memcpy(at_rw(to, field->offset), at(from, field->offset), field_value_size(field));
}

const ProtobufCFieldDescriptor *field_by_name(const ProtobufCMessageDescriptor *type,
                                              struct view snake_case_name)
{
    char name[64];
    if (snake_case_name.n >= sizeof(name) || !snake_case_name.n ||
        memchr(snake_case_name.p, 0, snake_case_name.n))
        return NULL;
    memcpy(name, snake_case_name.p, snake_case_name.n);
    name[snake_case_name.n] = 0;
    return protobuf_c_message_descriptor_get_field_by_name(type, name);
}

ProtobufCMessage *message_new(const ProtobufCMessageDescriptor *type, struct arena *arena)
{
    ProtobufCMessage *m = arena_alloc(arena, type->sizeof_message);
    if (m)
        protobuf_c_message_init(type, m);
    return m;
}

bool field_is_map(const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *entry = field->descriptor;
    if (entry->n_fields != 2 || entry->fields[0].id != 1 || entry->fields[1].id != 2 ||
        strcmp(entry->fields[0].name, "key") != 0 || strcmp(entry->fields[1].name, "value") != 0)
        return false;
    /* entry->name ends in ".RelatedAnimeEntry" for the field related_anime. */
    const char *tail = strrchr(entry->name, '.');
    if (!tail)
        return false;
    tail++;
    bool upper = true;
    for (const char *c = field->name; *c; c++) {
        if (*c == '_') {
            upper = true;
            continue;
        }
        char want = upper && *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        if (*tail++ != want)
            return false;
        upper = false;
    }
    return strcmp(tail, "Entry") == 0;
}

static bool value_equal(const ProtobufCFieldDescriptor *f, const void *a, const void *b)
{
    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *x = *(const char *const *)a, *y = *(const char *const *)b;
        return strcmp(x ? x : "", y ? y : "") == 0;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *x = a, *y = b;
        return x->len == y->len && (x->len == 0 || memcmp(x->data, y->data, x->len) == 0);
    }
    case PROTOBUF_C_TYPE_MESSAGE:
        return message_equal(*(const ProtobufCMessage *const *)a,
                             *(const ProtobufCMessage *const *)b);
    default:
        return memcmp(a, b, field_value_size(f)) == 0;
    }
}

static int key_cmp(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    const ProtobufCFieldDescriptor *key = &a->descriptor->fields[0];
    const void *x = at(a, key->offset), *y = at(b, key->offset);
    if (key->type != PROTOBUF_C_TYPE_STRING)
        return memcmp(x, y, field_value_size(key));
    const char *s = *(const char *const *)x, *t = *(const char *const *)y;
    return strcmp(s ? s : "", t ? t : "");
}

struct map_entry {
    const ProtobufCMessage *entry;
    size_t position;
};

static int entry_cmp(const void *a, const void *b)
{
    const struct map_entry *x = a, *y = b;
    int c = key_cmp(x->entry, y->entry);
    return c ? c : (x->position > y->position) - (x->position < y->position);
}

/* By key; of entries with one key the last stands, as on the wire. Returns how many are left. */
static size_t map_sort(const ProtobufCMessage *const *entries, size_t n, struct map_entry *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (struct map_entry){entries[i], i};
    qsort(out, n, sizeof(*out), entry_cmp);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (i + 1 == n || key_cmp(out[i].entry, out[i + 1].entry) != 0)
            out[kept++] = out[i];
    }
    return kept;
}

static bool is_empty(const ProtobufCMessage *m)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        if (field_is_set(m, &m->descriptor->fields[i]))
            return false;
    }
    return true;
}

/* A map's value that was not sent is an empty one. */
static bool map_value_equal(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    const ProtobufCFieldDescriptor *value = &a->descriptor->fields[1];
    if (value->type == PROTOBUF_C_TYPE_MESSAGE) {
        const ProtobufCMessage *x = *(const ProtobufCMessage *const *)at(a, value->offset);
        const ProtobufCMessage *y = *(const ProtobufCMessage *const *)at(b, value->offset);
        if (!x || !y)
            return (!x || is_empty(x)) && (!y || is_empty(y));
    }
    return value_equal(value, at(a, value->offset), at(b, value->offset));
}

static void free_entries(struct map_entry **p)
{
    free(*p);
}

/* When memory is out two maps differ, which costs a needless write and nothing else. */
static bool map_equal(const ProtobufCMessage *const *a, size_t na, const ProtobufCMessage *const *b,
                      size_t nb)
{
    struct map_entry small[64];
    struct map_entry *large CLEANUP(free_entries) = NULL;
    struct map_entry *sorted = small;
    if (na + nb > ARRAY_LEN(small)) {
        large = calloc(na + nb, sizeof(*large));
        if (!large)
            return false;
        sorted = large;
    }
    struct map_entry *other = sorted + na;
    na = map_sort(a, na, sorted);
    nb = map_sort(b, nb, other);
    if (na != nb)
        return false;
    for (size_t i = 0; i < na; i++) {
        if (key_cmp(sorted[i].entry, other[i].entry) != 0 ||
            !map_value_equal(sorted[i].entry, other[i].entry))
            return false;
    }
    return true;
}

bool field_equal(const ProtobufCMessage *a, const ProtobufCMessage *b,
                 const ProtobufCFieldDescriptor *field)
{
    bool set = field_is_set(a, field);
    if (set != field_is_set(b, field))
        return false;
    if (!set)
        return true;
    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return value_equal(field, at(a, field->offset), at(b, field->offset));

    size_t na = *(const size_t *)at(a, field->quantifier_offset);
    size_t nb = *(const size_t *)at(b, field->quantifier_offset);
    const char *x = *(const char *const *)at(a, field->offset);
    const char *y = *(const char *const *)at(b, field->offset);
    if (field_is_map(field))
        return map_equal((const ProtobufCMessage *const *)(const void *)x, na,
                         (const ProtobufCMessage *const *)(const void *)y, nb);
    if (na != nb)
        return false;
    size_t size = field_value_size(field);
    for (size_t i = 0; i < na; i++) {
        if (!value_equal(field, x + i * size, y + i * size))
            return false;
    }
    return true;
}

bool message_equal(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    if (!a || !b)
        return a == b;
    if (a->descriptor != b->descriptor)
        return false;
    for (unsigned i = 0; i < a->descriptor->n_fields; i++) {
        if (!field_equal(a, b, &a->descriptor->fields[i]))
            return false;
    }
    return true;
}
