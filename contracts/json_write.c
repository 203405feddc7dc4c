/* Message to JSON.
 *
 * Members come in field order and map members sorted by key, the last of equal keys alone (as
 * merging on the wire would have it): equal messages give equal text. The writer appends without
 * looking and reads the buffer's sticky failure once at the end. */
// SPDX-License-Identifier: Apache-2.0
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "contracts/json_names.h"
#include "events/base/clock.h"

/* Map entries that are sorted on the stack; larger maps take memory. */
#define SMALL_MAP 64
#define MAX_ENCODE_DEPTH 100

struct writer {
    struct buf *out;
    struct err *err;
    unsigned depth;
};

static int write_message(struct writer *w, const ProtobufCMessage *message);

static const void *member(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return (const char *)message + field->offset;
}

static int fail_range(struct writer *w, const char *what)
{
    return err_set(w->err, ERR_REJECT, "json-range", "write json", "%s", what);
}

static void put_quoted_i64(struct buf *out, int64_t v)
{
    buf_putc(out, '"');
    buf_put_i64(out, v);
    buf_putc(out, '"');
}

static int write_timestamp(struct writer *w, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    int64_t seconds = *(const int64_t *)member(message, &type->fields[0]);
    int32_t nanos = *(const int32_t *)member(message, &type->fields[1]);
    char text[RFC3339_MAX];

    if (seconds < JSON_TIMESTAMP_MIN || seconds > JSON_TIMESTAMP_MAX || nanos < 0 ||
        nanos > 999999999)
        return fail_range(w, "a timestamp lies outside the years 0001 to 9999");
    rfc3339_format(seconds, nanos, text);
    buf_putc(w->out, '"');
    buf_puts(w->out, text);
    buf_putc(w->out, '"');
    return 0;
}

/* Also for elements of repeated fields and both halves of a map entry: p points at the value. */
static int write_element(struct writer *w, const ProtobufCFieldDescriptor *field, const void *p)
{
    struct buf *out = w->out;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        buf_put_i64(out, *(const int32_t *)p);
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buf_put_i64(out, *(const uint32_t *)p);
        return 0;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        put_quoted_i64(out, *(const int64_t *)p);
        return 0;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_printf(out, "\"%llu\"", (unsigned long long)*(const uint64_t *)p);
        return 0;
    case PROTOBUF_C_TYPE_FLOAT: {
        /* The shortest form of the greatest float is a double above it, which readers refuse. */
        float v = *(const float *)p;
        if (fabsf(v) == FLT_MAX)
            buf_put_double(out, (double)v);
        else
            buf_put_float(out, v);
        return 0;
    }
    case PROTOBUF_C_TYPE_DOUBLE:
        buf_put_double(out, *(const double *)p);
        return 0;
    case PROTOBUF_C_TYPE_BOOL:
        buf_puts(out, *(const protobuf_c_boolean *)p ? "true" : "false");
        return 0;
    case PROTOBUF_C_TYPE_ENUM: {
        const ProtobufCEnumDescriptor *type = field->descriptor;
        int value = *(const int *)p;
        const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);
        if (json_is_null_enum(type)) {
            buf_puts(out, "null");
        } else if (known) {
            buf_putc(out, '"');
            buf_puts(out, known->name);
            buf_putc(out, '"');
        } else {
            buf_put_i64(out, value);
        }
        return 0;
    }
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)p;
        buf_put_json_string(out, view_of(text ? text : ""));
        return 0;
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *data = p;
        buf_putc(out, '"');
        buf_put_base64(out, (struct bytes){data->data, data->len});
        buf_putc(out, '"');
        return 0;
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *message = *(ProtobufCMessage *const *)p;
        if (message)
            return write_message(w, message);
        /* A map entry without its value: the type's empty message. */
        static const char *const empty[] = {"{}", "\"1970-01-01T00:00:00Z\"", "{}", "null", "[]"};
        buf_puts(out, empty[json_form_of(field->descriptor)]);
        return 0;
    }
    }
    return fail_range(w, "a field has an unknown type");
}

/* Map keys are quoted whatever their type. */
static void write_key(struct buf *out, const ProtobufCFieldDescriptor *field, const void *p)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(char *const *)p;
        buf_put_json_string(out, view_of(text ? text : ""));
        break;
    }
    case PROTOBUF_C_TYPE_BOOL:
        buf_puts(out, *(const protobuf_c_boolean *)p ? "\"true\"" : "\"false\"");
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_printf(out, "\"%llu\"", (unsigned long long)*(const uint64_t *)p);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        put_quoted_i64(out, *(const uint32_t *)p);
        break;
    default:
        put_quoted_i64(out,
                       field_value_size(field) == 8 ? *(const int64_t *)p : *(const int32_t *)p);
        break;
    }
}

static int key_cmp(const ProtobufCMessage *a, const ProtobufCMessage *b)
{
    const ProtobufCFieldDescriptor *key = &a->descriptor->fields[0];
    const void *pa = member(a, key), *pb = member(b, key);

    if (key->type == PROTOBUF_C_TYPE_STRING) {
        const char *sa = *(char *const *)pa, *sb = *(char *const *)pb;
        return strcmp(sa ? sa : "", sb ? sb : "");
    }
    /* By bits: any fixed order will do, and equal keys must meet. */
    return memcmp(pa, pb, field_value_size(key));
}

struct entry_ref {
    const ProtobufCMessage *entry;
    size_t position;
};

static int entry_cmp(const void *va, const void *vb)
{
    const struct entry_ref *a = va, *b = vb;
    int c = key_cmp(a->entry, b->entry);

    return c ? c : (a->position > b->position) - (a->position < b->position);
}

static int write_map(struct writer *w, ProtobufCMessage *const *entries, size_t n)
{
    struct entry_ref small[SMALL_MAP], *refs = small;

    if (n > SMALL_MAP) {
        refs = calloc(n, sizeof(*refs));
        if (!refs)
            return err_set(w->err, ERR_RETRY, "no-memory", "write json", "a map of %zu entries", n);
    }
    for (size_t i = 0; i < n; i++)
        refs[i] = (struct entry_ref){entries[i], i};
    if (n > 1)
        qsort(refs, n, sizeof(*refs), entry_cmp);

    int r = 0;
    bool first = true;
    buf_putc(w->out, '{');
    for (size_t i = 0; i < n && r == 0; i++) {
        if (i + 1 < n && key_cmp(refs[i].entry, refs[i + 1].entry) == 0)
            continue;
        const ProtobufCMessage *entry = refs[i].entry;
        const ProtobufCFieldDescriptor *fields = entry->descriptor->fields;
        if (!first)
            buf_putc(w->out, ',');
        first = false;
        write_key(w->out, &fields[0], member(entry, &fields[0]));
        buf_putc(w->out, ':');
        r = write_element(w, &fields[1], member(entry, &fields[1]));
    }
    buf_putc(w->out, '}');
    if (refs != small)
        free(refs);
    return r;
}

static int write_list(struct writer *w, const ProtobufCFieldDescriptor *field, const void *elements,
                      size_t n)
{
    size_t size = field_value_size(field);

    buf_putc(w->out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i)
            buf_putc(w->out, ',');
        if (write_element(w, field, (const char *)elements + i * size) < 0)
            return -1;
    }
    buf_putc(w->out, ']');
    return 0;
}

static int write_field(struct writer *w, const ProtobufCMessage *message,
                       const ProtobufCFieldDescriptor *field)
{
    const void *p = member(message, field);

    if (field->label != PROTOBUF_C_LABEL_REPEATED)
        return write_element(w, field, p);
    size_t n = *(const size_t *)((const char *)message + field->quantifier_offset);
    const void *elements = *(void *const *)p;
    if (json_field_is_map(field))
        return write_map(w, elements, n);
    return write_list(w, field, elements, n);
}

/* google.protobuf.Value: the one member that is set, or null. */
static int write_value(struct writer *w, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;

    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (!field_is_set(message, field))
            continue;
        if (field->type == PROTOBUF_C_TYPE_DOUBLE &&
            !isfinite(*(const double *)member(message, field)))
            return fail_range(w, "a number inside a Struct or Value is not finite");
        return write_field(w, message, field);
    }
    buf_puts(w->out, "null");
    return 0;
}

static void write_name(struct buf *out, const char *name)
{
    char camel[128];

    buf_putc(out, '"');
    buf_puts(out, json_name(name, camel, sizeof(camel)) ? camel : name);
    buf_puts(out, "\":");
}

static int write_fields(struct writer *w, const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    bool first = true;

    buf_putc(w->out, '{');
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (!field_is_set(message, field))
            continue;
        if (!first)
            buf_putc(w->out, ',');
        first = false;
        write_name(w->out, field->name);
        if (write_field(w, message, field) < 0)
            return -1;
    }
    buf_putc(w->out, '}');
    return 0;
}

static int write_message(struct writer *w, const ProtobufCMessage *message)
{
    int r;

    if (w->depth >= MAX_ENCODE_DEPTH)
        return err_set(w->err, ERR_REJECT, "too-deep", "write json", "more than %d levels",
                       MAX_ENCODE_DEPTH);
    w->depth++;
    switch (json_form_of(message->descriptor)) {
    case JSON_FORM_TIMESTAMP:
        r = write_timestamp(w, message);
        break;
    case JSON_FORM_VALUE:
        r = write_value(w, message);
        break;
    case JSON_FORM_STRUCT:
    case JSON_FORM_LIST: /* the one field is the whole form */
        r = write_field(w, message, &message->descriptor->fields[0]);
        break;
    default:
        r = write_fields(w, message);
        break;
    }
    w->depth--;
    return r;
}

static int finish(const struct buf *out, struct err *err)
{
    return buf_failed(out) ? buf_error(out, "write json", "the JSON form", err) : 0;
}

int json_encode(const ProtobufCMessage *message, struct buf *out, struct err *err)
{
    struct writer w = {.out = out, .err = err};

    if (write_message(&w, message) < 0)
        return -1;
    return finish(out, err);
}

int json_encode_field(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
                      struct buf *out, struct err *err)
{
    struct writer w = {.out = out, .err = err};

    if (!field_is_set(message, field))
        buf_puts(out, "null");
    else if (write_field(&w, message, field) < 0)
        return -1;
    return finish(out, err);
}
