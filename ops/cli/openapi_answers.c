/* Schemas of good answers. Those of workers that speak protobuf come from the descriptors, by the
 * rules that workers/command_api/bridge.c writes by. The others stand here alone, in a short
 * notation: name:kind, kinds s text, i integer, b boolean, o object, S list of texts, O list of
 * objects, a ? behind it: or null. Responders may add members. */
// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <stdio.h>

#include "contracts/field.h"
#include "contracts/json_names.h"
#include "contracts/registry.h"
#include "ops/cli/asyncapi.h"
#include "ops/cli/openapi.h"
#include "workers/command_api/bridge.h"

#define LONG "run_id:i,phase:s,state:s,"

static const struct {
    const char *call, *members;
} answers[] = {
    {"check-tag",
     "latest_tag:s,changed:b,latest_snapshot_id:i?,artifact_url:s?,artifact_sha256:s?"},
    {"start-incremental-run", "run_id:i,snapshot_id:i"},
    {"build-diff", LONG "candidate_count:i?,entries_ref:s?,issues_ref:s?,changes_ref:s?,counts:o?"},
    {"process-stages", LONG "processed_count:i?,failed_count:i?,stage_summary:o?"},
    {"build-stage6-review", LONG "review_ref:s?,alert_ref:s?"},
    {"submit-stage6-decisions", "accepted_count:i,rejected_count:i,sent_back_count:i,"
                                "pending_count:i,refused:O,decision_batch_id:s"},
    {"preview-stage6-batch", "rule_matches:O,conflicts:O,would_remain_pending:i"},
    {"replay-stage", LONG "replayed_count:i?,skipped_count:i?,failed_count:i?"},
    {"ingest-approved", LONG "ingested_count:i?,partial_count:i?,rejected_count:i?"},
    {"finalize-run", "final_status:s"},
    {"run-get", "run_id:i,phase:s,state:s,goal:s,counts:o,stage_summary:o"},
    {"run-entries", "entries:O,next_cursor:s?"},
};

static json_t *kind_schema(struct view kind)
{
    const char *type = kind.p[0] == 's'   ? "string"
                       : kind.p[0] == 'i' ? "integer"
                       : kind.p[0] == 'b' ? "boolean"
                       : kind.p[0] == 'o' ? "object"
                                          : "array";
    json_t *schema = kind.n > 1 ? json_pack("{s:[s,s]}", "type", type, "null")
                                : json_pack("{s:s}", "type", type);

    if (isupper((unsigned char)kind.p[0]))
        json_object_set_new(schema, "items",
                            json_pack("{s:s}", "type", kind.p[0] == 'S' ? "string" : "object"));
    return schema;
}

static json_t *noted_schema(const char *members)
{
    json_t *properties = json_object(), *required = json_array();
    struct view rest = view_of(members), part;

    while (view_split(&rest, ',', &part)) {
        struct view kind = part, name;

        if (!view_split(&kind, ':', &name) || kind.n == 0)
            continue;
        json_object_setn_new(properties, name.p, name.n, kind_schema(kind));
        json_array_append_new(required, json_stringn(name.p, name.n));
    }
    return json_pack("{s:s, s:o, s:o}", "type", "object", "properties", properties, "required",
                     required);
}

/* Messages ------------------------------------------------------------------------------------ */

static json_t *message_schema(const ProtobufCMessageDescriptor *type, const char *const names[],
                              bool sparse, json_t *schemas);

/* Of a message that stands inside another: described once, under its name. */
static json_t *message_ref(const ProtobufCMessageDescriptor *type, bool sparse, json_t *schemas)
{
    char name[128];

    snprintf(name, sizeof(name), "%s%s", sparse ? "Partial" : "", type->short_name);
    if (json_object_get(schemas, name) == NULL) {
        json_object_set_new(schemas, name, json_null()); /* a message may hold itself */
        json_object_set_new(schemas, name, message_schema(type, NULL, sparse, schemas));
    }
    return json_pack("{s:s+}", "$ref", "#/components/schemas/", name);
}

static json_t *enum_schema(const ProtobufCEnumDescriptor *type)
{
    json_t *names = json_array();

    for (unsigned i = 0; i < type->n_values; i++)
        json_array_append_new(names, json_string(type->values[i].name));
    return json_pack("{s:s, s:o}", "type", "string", "enum", names);
}

/* One value. listed: inside a list or a map, where 64 bits are text (canonical JSON). */
static json_t *value_schema(const ProtobufCFieldDescriptor *field, bool listed, bool sparse,
                            json_t *schemas)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return json_pack("{s:s}", "type", "string");
    case PROTOBUF_C_TYPE_BOOL:
        return json_pack("{s:s}", "type", "boolean");
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_pack("{s:s}", "type", "number");
    case PROTOBUF_C_TYPE_ENUM:
        return enum_schema(field->descriptor);
    case PROTOBUF_C_TYPE_MESSAGE:
        if (json_form_of(field->descriptor) == JSON_FORM_TIMESTAMP)
            return json_pack("{s:s, s:s}", "type", "string", "format", "date-time");
        if (json_form_of(field->descriptor) != JSON_FORM_PLAIN)
            return json_object();
        return message_ref(field->descriptor, sparse || bridge_is_sparse(field->descriptor),
                           schemas);
    default:
        return json_pack("{s:s}", "type",
                         listed && field_value_size(field) == 8 ? "string" : "integer");
    }
}

static json_t *field_schema(const ProtobufCFieldDescriptor *field, bool sparse, json_t *schemas)
{
    if (field_is_map(field))
        return json_pack("{s:s}", "type", "object");
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return json_pack("{s:s, s:o}", "type", "array", "items",
                         value_schema(field, true, sparse, schemas));
    json_t *schema = value_schema(field, false, sparse, schemas);
    /* What is left out where not all is told is null elsewhere. */
    if (!sparse && !bridge_has_zero(field))
        return json_pack("{s:[o, {s:s}]}", "anyOf", schema, "type", "null");
    return schema;
}

static bool is_named(const char *const names[], const char *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return names == NULL;
}

static json_t *message_schema(const ProtobufCMessageDescriptor *type, const char *const names[],
                              bool sparse, json_t *schemas)
{
    json_t *properties = json_object(), *required = json_array();

    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        char full[256];

        if (names != NULL && !is_named(names, field->name))
            continue;
        json_t *schema = field_schema(field, sparse, schemas);
        snprintf(full, sizeof(full), "%s.%s", type->name, field->name);
        (void)asyncapi_describe(schema, full);
        json_object_set_new(properties, field->name, schema);
        if (!sparse)
            json_array_append_new(required, json_string(field->name));
    }
    return json_pack("{s:s, s:b, s:o, s:o}", "type", "object", "additionalProperties", 0,
                     "properties", properties, "required", required);
}

/* What bridge.c puts around a message. */
static json_t *with_state(json_t *schema)
{
    json_object_set_new(
        json_object_get(schema, "properties"), "state",
        json_pack("{s:[s, s], s:s}", "enum", "done", "running", "description",
                  "running: it goes on when the caller no longer waits, and tells no numbers."));
    json_object_set_new(schema, "required", json_pack("[s]", "state"));
    return schema;
}

static json_t *plan_schema(const ProtobufCMessageDescriptor *reply, bool dry, json_t *schemas)
{
    json_t *schema = dry ? message_schema(reply, NULL, false, schemas)
                         : json_pack("{s:s, s:b, s:{}, s:[]}", "type", "object",
                                     "additionalProperties", 0, "properties", "required");

    json_object_set_new(json_object_get(schema, "properties"), "plan_id",
                        json_pack("{s:s, s:s}", "type", "string", "format", "uuid"));
    json_array_append_new(json_object_get(schema, "required"), json_string("plan_id"));
    return schema;
}

static json_t *bridged_schema(const struct route *route, int status, json_t *schemas)
{
    const ProtobufCMessageDescriptor *reply = registry_must(route->subject)->reply;

    switch (route->bridge) {
    case BRIDGE_REVIEW:
    case BRIDGE_LETTER:
        /* Of the message that the reply holds in its first field. */
        return message_schema(reply->fields[0].descriptor, bridge_names(route->bridge), false,
                              schemas);
    case BRIDGE_PLAN:
        return plan_schema(reply, status == 200, schemas);
    case BRIDGE_RECONCILE:
        return with_state(message_schema(reply, NULL, false, schemas));
    case BRIDGE_DECISION:
    case BRIDGE_LETTERS:
    case BRIDGE_ARTIFACT:
    case BRIDGE_COMMAND:
        break;
    }
    return message_schema(reply, bridge_names(route->bridge), false, schemas);
}

json_t *openapi_answer(const struct route *route, int status, json_t *schemas)
{
    if (route->bridge != BRIDGE_COMMAND)
        return bridged_schema(route, status, schemas);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        if (strcmp(answers[i].call, route->call) == 0)
            return noted_schema(answers[i].members);
    }
    return json_object();
}
