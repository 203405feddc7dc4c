/* See column.h. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "workers/catalogue/column.h"

enum pg_array_kind column_array_kind(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        return PG_I32S;
    case PROTOBUF_C_TYPE_INT64:
        return PG_I64S;
    case PROTOBUF_C_TYPE_BOOL:
        return PG_BOOLS;
    case PROTOBUF_C_TYPE_FLOAT:
        return PG_FLOAT4S;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_ENUM:
        return PG_TEXTS;
    default: /* a kind of field that no column holds: a fault of the table in kind.c */
        abort();
    }
}

static bool has_presence(const ProtobufCFieldDescriptor *field)
{
    return field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;
}

static const void *value_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field)
{
    return (const char *)m + field->offset;
}

/* Every enum's value 0 is <PREFIX>UNSPECIFIED. */
static size_t prefix_length(const ProtobufCEnumDescriptor *type)
{
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(type, 0);
    return strlen(zero->name) - (sizeof("UNSPECIFIED") - 1);
}

static const char *enum_name(const ProtobufCFieldDescriptor *field, int number)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, number);
    return v ? v->name + prefix_length(type) : NULL;
}

bool column_is_unknown_enum(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_ENUM && field->label != PROTOBUF_C_LABEL_REPEATED &&
           field_is_set(message, field) &&
           !enum_name(field, *(const int *)value_of(message, field));
}

void column_write(struct pg_array *a, const ProtobufCMessage *message,
                  const ProtobufCFieldDescriptor *field)
{
    if (has_presence(field) && !field_is_set(message, field)) {
        pg_array_null(a);
        return;
    }
    const void *v = value_of(message, field);
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        pg_array_i64(a, *(const int32_t *)v);
        break;
    case PROTOBUF_C_TYPE_INT64:
        pg_array_i64(a, *(const int64_t *)v);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        pg_array_bool(a, *(const protobuf_c_boolean *)v);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        pg_array_float(a, *(const float *)v);
        break;
    case PROTOBUF_C_TYPE_STRING:
        pg_array_text(a, view_of(*(const char *const *)v));
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        const char *name = enum_name(field, *(const int *)v);
        pg_array_text(a, view_of(name ? name : "UNKNOWN"));
        break;
    }
    default:
        abort();
    }
}

static int enum_number(const ProtobufCFieldDescriptor *field, struct view name, int *ret)
{
    const ProtobufCEnumDescriptor *type = field->descriptor;
    size_t skip = prefix_length(type);
    for (unsigned i = 0; i < type->n_values; i++)
        if (view_is(name, type->values[i].name + skip)) {
            *ret = type->values[i].value;
            return 0;
        }
    return -1;
}

int column_read(const PGresult *r, int row, int column, ProtobufCMessage *message,
                const ProtobufCFieldDescriptor *field, struct arena *arena, struct err *err)
{
    if (pg_is_null(r, row, column) || field_is_set(message, field))
        return 0;
    void *v = (char *)message + field->offset;
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
        *(int32_t *)v = (int32_t)pg_get_i64(r, row, column);
        break;
    case PROTOBUF_C_TYPE_INT64:
        *(int64_t *)v = pg_get_i64(r, row, column);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)v = pg_get_bool(r, row, column);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)v = (float)pg_get_double(r, row, column);
        break;
    case PROTOBUF_C_TYPE_STRING:
        *(char **)v = arena_strdup(arena, pg_get_text(r, row, column));
        if (!*(char **)v)
            return err_set(err, ERR_RETRY, "no-memory", "load", "the batch's memory is spent");
        break;
    case PROTOBUF_C_TYPE_ENUM: {
        /* The arrays of enums are ints in protobuf-c, whatever the type is called. */
        int number = 0;
        if (enum_number(field, pg_get_text(r, row, column), &number) < 0)
            return err_set(err, ERR_FATAL, "internal", "load", "%s holds a value without number",
                           field->name);
        *(int *)v = number;
        break;
    }
    default:
        abort();
    }
    if (has_presence(field))
        *(uint32_t *)((char *)message + field->quantifier_offset) = field->id;
    return 0;
}

int meta_encode(const struct kind *kind, const ProtobufCMessage *message, struct buf *out,
                unsigned *ret_unknown, struct err *err)
{
    char comma = '{';
    unsigned unknown = 0;
    for (unsigned i = 0; i < kind->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kind->message->fields[i];
        bool odd = kind->fields[i].home == HOME_COLUMN && column_is_unknown_enum(message, field);
        unknown += odd;
        if (!odd && (kind->fields[i].home != HOME_META || !field_is_set(message, field)))
            continue;
        char name[64];
        if (!json_name(field->name, name, sizeof(name)))
            return err_set(err, ERR_FATAL, "internal", "store", "field name of %zu characters",
                           strlen(field->name));
        buf_printf(out, "%c\"%s\":", comma, name);
        comma = ',';
        if (json_encode_field(message, field, out, err) < 0)
            return -1;
    }
    buf_puts(out, comma == '{' ? "{}" : "}");
    if (ret_unknown)
        *ret_unknown = unknown;
    return buf_failed(out) ? buf_error(out, "store", "meta", err) : 0;
}
