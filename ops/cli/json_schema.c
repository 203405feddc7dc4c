/* A JSON Schema that stands alone: the message and those inside it as $defs. */
// SPDX-License-Identifier: Apache-2.0
#include "contracts/field.h"
#include "contracts/json_names.h"
#include "ops/cli/asyncapi.h"

/* The one place that AsyncAPI's references lead to, and ours. */
static void repoint(json_t *node)
{
    const char *there = "#/components/schemas/", *key;
    const char *ref = json_string_value(json_object_get(node, "$ref"));
    json_t *value;
    size_t i;

    if (ref && strncmp(ref, there, strlen(there)) == 0)
        json_object_set_new(node, "$ref", json_sprintf("#/$defs/%s", ref + strlen(there)));
    json_object_foreach(node, key, value) repoint(value);
    json_array_foreach(node, i, value) repoint(value);
}

json_t *json_schema_document(const ProtobufCMessageDescriptor *type, const char *id,
                             const char *title)
{
    json_t *all = json_object(), *document;

    asyncapi_learn(all, type);
    repoint(all);
    document = json_pack("{s:s, s:s, s:s, s:s+, s:o}", "$schema",
                         "https://json-schema.org/draft/2020-12/schema", "$id", id, "title", title,
                         "$ref", "#/$defs/", type->name, "$defs", all);
    return document;
}
