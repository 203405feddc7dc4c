/* Schemas of what a call may say, from the rows of its members. JSON Schema has no word for the
 * rules between members that a row's check has; those are told by variants of the object. */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "ops/cli/openapi.h"

static json_t *members_schema(const struct member rows[], size_t n, enum member_place place);

/* Texts are limited by their bytes, and no character has less than one. */
static void limit_bytes(json_t *schema, int64_t min, int64_t max)
{
    char text[64];

    snprintf(text, sizeof(text), "At most %lld bytes of UTF-8.", (long long)max);
    json_object_set_new(schema, "minLength", json_integer(min));
    json_object_set_new(schema, "maxLength", json_integer(max));
    json_object_set_new(schema, "x-maxBytes", json_integer(max));
    json_object_set_new(schema, "description", json_string(text));
}

static json_t *choices(const char *text)
{
    struct view rest = view_of(text), one;
    json_t *list = json_array();

    while (view_split(&rest, '|', &one))
        json_array_append_new(list, json_stringn(one.p, one.n));
    return list;
}

#define HEX "[0-9A-Fa-f]"

static json_t *text_schema(const struct member *row)
{
    static const struct {
        const char *pattern, *format;
        int64_t max;
    } forms[] = {
        [FORM_FREE] = {"^[^\\u0000-\\u001f\\u007f]*$", NULL, 0},
        [FORM_SOURCE] = {"^[a-z0-9_-]{1,32}$", NULL, 0},
        [FORM_TAG] = {"^[A-Za-z0-9._-]{1,64}$", NULL, 0},
        [FORM_HASH] = {"^[0-9a-f]{64}$", NULL, 0},
        [FORM_UUID] = {"^" HEX "{8}(-" HEX "{4}){3}-" HEX "{12}$", "uuid", 0},
        [FORM_REF] = {"^(artifact:sha256/|s3://)[!-~]*$", NULL, 512},
        [FORM_URL] = {"^https://[!-~]*$", NULL, 2048},
        [FORM_TIME] = {NULL, "date-time", 0},
        [FORM_CHOICE] = {NULL, NULL, 0},
    };
    json_t *schema = json_pack("{s:s, s:s*, s:s*}", "type", "string", "pattern",
                               forms[row->form].pattern, "format", forms[row->form].format);

    if (row->form == FORM_FREE)
        limit_bytes(schema, row->min, row->max);
    if (forms[row->form].max > 0)
        json_object_set_new(schema, "maxLength", json_integer(forms[row->form].max));
    if (row->form == FORM_CHOICE)
        json_object_set_new(schema, "enum", choices(row->choices));
    return schema;
}

/* What a check alone says. */
static json_t *custom_schema(const char *name)
{
    if (strcmp(name, "all") == 0)
        return openapi_read("{'type':'boolean','enum':[true]}");
    /* issues_count */
    return openapi_read(
        "{'oneOf':[{'type':'integer','minimum':0,'maximum':2147483647},{'type':'object',"
        "'required':['lte'],'additionalProperties':false,'properties':{'lte':{'type':'integer',"
        "'minimum':0,'maximum':2147483647}}}]}");
}

/* Any names; values as a person may set them by hand. */
static json_t *edits_schema(void)
{
    return openapi_read(
        "{'type':'object','propertyNames':{'pattern':'^[a-z0-9_]+$'},'additionalProperties':"
        "{'anyOf':[{'type':'string','pattern':'^[^\\\\u0000]*$'},{'type':'number','minimum':"
        "-9007199254740991,'maximum':9007199254740991},{'type':'boolean'},{'type':'null'},{'type':"
        "'array','items':{'type':'string','pattern':'^[^\\\\u0000]*$'}}]}}");
}

/* A copy of an object's schema that demands these members (NULL-terminated) and has none of those.
 */
static json_t *variant(const json_t *schema, const char *const with[], const char *const without[])
{
    json_t *one = json_deep_copy(schema);

    for (; *with != NULL; with++)
        json_array_append_new(json_object_get(one, "required"), json_string(*with));
    for (; *without != NULL; without++)
        json_object_del(json_object_get(one, "properties"), *without);
    return one;
}

#define NAMES(...) ((const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

static json_t *deciding(json_t *one, const char *decisions)
{
    json_object_set_new(json_object_get(json_object_get(one, "properties"), "decision"), "enum",
                        choices(decisions));
    return one;
}

/* The variants of objects whose members depend on one another. */
static json_t *variants(json_t *schema)
{
    const json_t *all = json_object_get(schema, "properties");
    json_t *list = json_array();

    if (json_object_get(all, "decision") != NULL && json_object_get(all, "target_stage") != NULL) {
        json_array_append_new(list, deciding(variant(schema, NAMES(), NAMES("target_stage")),
                                             "approve_ingest|approve_partial_ingest"));
        json_array_append_new(list, deciding(variant(schema, NAMES("target_stage"), NAMES("edits")),
                                             "send_back_to_stage"));
        json_array_append_new(list,
                              deciding(variant(schema, NAMES(), NAMES("target_stage", "edits")),
                                       "reject_entry|defer"));
    } else if (json_object_get(all, "plan_id") != NULL) {
        json_t *made = variant(schema, NAMES("filter"), NAMES("plan_id"));

        json_object_set_new(json_object_get(json_object_get(made, "properties"), "stop"), "enum",
                            json_pack("[b]", 0));
        json_array_append_new(list, made);
        json_array_append_new(list, variant(schema, NAMES("plan_id"), NAMES("filter")));
    } else if (json_object_get(all, "limit") != NULL && json_object_get(all, "kind") != NULL) {
        json_array_append_new(list, variant(schema, NAMES(), NAMES("limit")));
        json_array_append_new(list, variant(schema, NAMES("kind", "limit"), NAMES()));
    } else {
        json_decref(list);
        if (json_object_get(all, "entry_decisions") != NULL)
            json_object_set_new(schema, "anyOf",
                                json_pack("[{s:[s]}, {s:[s]}]", "required", "entry_decisions",
                                          "required", "batch_rules"));
        return schema;
    }
    json_decref(schema);
    return json_pack("{s:o}", "oneOf", list);
}

static json_t *object_schema(const struct member *row)
{
    if (row->n_members == 0)
        return edits_schema();
    json_t *schema = members_schema(row->members, row->n_members, PLACE_BODY);
    if (row->not_empty)
        json_object_set_new(schema, "minProperties", json_integer(1));
    return schema;
}

static json_t *member_schema(const struct member *row)
{
    switch (row->kind) {
    case MEMBER_TEXT:
        return text_schema(row);
    case MEMBER_NUMBER:
        return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)row->min,
                         "maximum", (json_int_t)row->max);
    case MEMBER_FLAG:
        return json_pack("{s:s}", "type", "boolean");
    case MEMBER_OBJECT:
        return object_schema(row);
    case MEMBER_LIST:
        return json_pack("{s:s, s:I, s:I, s:o}", "type", "array", "minItems", (json_int_t)row->min,
                         "maxItems", (json_int_t)row->max, "items", member_schema(row->element));
    case MEMBER_CUSTOM:
        break;
    }
    return custom_schema(row->name);
}

static json_t *members_schema(const struct member rows[], size_t n, enum member_place place)
{
    json_t *properties = json_object(), *required = json_array();

    for (size_t i = 0; i < n; i++) {
        if (rows[i].place != place)
            continue;
        json_object_set_new(properties, rows[i].name, member_schema(&rows[i]));
        if (rows[i].required)
            json_array_append_new(required, json_string(rows[i].name));
    }
    return variants(json_pack("{s:s, s:b, s:o, s:o}", "type", "object", "additionalProperties", 0,
                              "properties", properties, "required", required));
}

/* No body is an empty object: is that one good? */
static bool takes_nothing(const struct route *route)
{
    json_t *members = openapi_example_request(route);
    struct refusal faults = {.problem = PROBLEM_NONE};

    for (size_t i = 0; i < route->n_members; i++) {
        if (route->members[i].place == PLACE_BODY)
            json_object_del(members, route->members[i].name);
    }
    members_check(route->members, route->n_members, members, "", &faults);
    if (route->check != NULL)
        route->check(members, "", &faults);
    json_decref(members);
    return faults.problem == PROBLEM_NONE;
}

json_t *openapi_body(const struct route *route)
{
    json_t *schema = members_schema(route->members, route->n_members, PLACE_BODY);
    json_t *example = openapi_example_request(route);

    for (size_t i = 0; i < route->n_members; i++) {
        if (route->members[i].place != PLACE_BODY)
            json_object_del(example, route->members[i].name);
    }
    return json_pack("{s:b, s:{s:{s:o, s:o*}}}", "required", !takes_nothing(route), "content",
                     "application/json", "schema", schema, "example", example);
}

json_t *openapi_parameters(const struct route *route)
{
    json_t *list = json_array(), *example = openapi_example_request(route);

    for (size_t i = 0; i < route->n_members; i++) {
        const struct member *row = &route->members[i];

        if (row->place == PLACE_BODY)
            continue;
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b, s:o, s:O*}", "name", row->name, "in",
                                        row->place == PLACE_PATH ? "path" : "query", "required",
                                        row->place == PLACE_PATH, "schema", member_schema(row),
                                        "example", json_object_get(example, row->name)));
    }
    if (route->keyed)
        json_array_append_new(list,
                              json_pack("{s:s}", "$ref", "#/components/parameters/IdempotencyKey"));
    if (route->lengthy)
        json_array_append_new(list, json_pack("{s:s}", "$ref", "#/components/parameters/Prefer"));
    json_decref(example);
    return list;
}
