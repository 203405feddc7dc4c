// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "contracts/json_names.h"
#include "ops/cli/asyncapi.h"
#include "ops/cli/comments.h"

static json_t *integer(double least, double most)
{
    return json_pack("{s:s, s:f, s:f}", "type", "integer", "minimum", least, "maximum", most);
}

/* Canonical JSON writes 64-bit integers as text; numbers are taken too. */
static json_t *long_integer(void)
{
    return json_pack("{s:[s, s], s:s}", "type", "string", "integer", "pattern", "^-?[0-9]+$");
}

static json_t *real(void)
{
    return json_pack("{s:[{s:s}, {s:[s, s, s]}]}", "oneOf", "type", "number", "enum", "NaN",
                     "Infinity", "-Infinity");
}

static json_t *names_of(const ProtobufCEnumDescriptor *type)
{
    json_t *names = json_array();

    for (unsigned i = 0; i < type->n_values; i++)
        json_array_append_new(names, json_string(type->values[i].name));
    return json_pack("{s:[{s:s, s:o}, {s:s}]}", "anyOf", "type", "string", "enum", names, "type",
                     "integer");
}

static json_t *element(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return integer(INT32_MIN, INT32_MAX);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return integer(0, UINT32_MAX);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return real();
    case PROTOBUF_C_TYPE_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case PROTOBUF_C_TYPE_ENUM:
        return names_of(field->descriptor);
    case PROTOBUF_C_TYPE_STRING:
        return json_pack("{s:s}", "type", "string");
    case PROTOBUF_C_TYPE_BYTES:
        return json_pack("{s:s, s:s}", "type", "string", "contentEncoding", "base64");
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessageDescriptor *type = field->descriptor;
        switch (json_form_of(type)) {
        case JSON_FORM_TIMESTAMP:
            return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
        case JSON_FORM_STRUCT:
            return json_pack("{s:s}", "type", "object");
        case JSON_FORM_LIST:
            return json_pack("{s:s}", "type", "array");
        case JSON_FORM_VALUE:
            return json_object();
        default:
            return json_pack("{s:s+}", "$ref", "#/components/schemas/", type->name);
        }
    }
    default: /* 64 bits */
        return long_integer();
    }
}

static int by_name(const void *key, const void *row)
{
    return strcmp(key, ((const struct comment *)row)->name);
}

bool asyncapi_describe(json_t *schema, const char *name)
{
    const struct comment *row =
        bsearch(name, proto_comments, n_proto_comments, sizeof(*row), by_name);

    if (row)
        json_object_set_new(schema, "description", json_string(row->text));
    return row != NULL;
}

static json_t *member(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *field)
{
    json_t *schema;
    char name[256];

    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        schema = element(field);
    } else if (field_is_map(field)) {
        const ProtobufCMessageDescriptor *entry = field->descriptor;
        schema = json_pack("{s:s, s:o}", "type", "object", "additionalProperties",
                           element(&entry->fields[1]));
    } else {
        schema = json_pack("{s:s, s:o}", "type", "array", "items", element(field));
    }
    json_object_set_new(schema, "x-protobuf-field", json_integer(field->id));
    snprintf(name, sizeof(name), "%s.%s", type->name, field->name);
    if (!asyncapi_describe(schema, name) && field->type == PROTOBUF_C_TYPE_ENUM)
        asyncapi_describe(schema, ((const ProtobufCEnumDescriptor *)field->descriptor)->name);
    return schema;
}

json_t *asyncapi_schema(const ProtobufCMessageDescriptor *type)
{
    json_t *members = json_object(), *schema;

    for (unsigned i = 0; i < type->n_fields; i++) {
        char name[128];
        if (json_name(type->fields[i].name, name, sizeof(name)))
            json_object_set_new(members, name, member(type, &type->fields[i]));
    }
    schema = json_pack("{s:s, s:s, s:o, s:b}", "title", type->short_name, "type", "object",
                       "properties", members, "additionalProperties", 0);
    asyncapi_describe(schema, type->name);
    return schema;
}
