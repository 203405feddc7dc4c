/* Paths, members and scopes come from workers/command_api/routes.c. What stands here alone is the
 * shape of good answers, in a short notation: name:kind, kinds s text, i integer, b boolean,
 * o object, S list of texts, O list of objects, a ? behind it: or null. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/openapi.h"

#include <ctype.h>
#include <stdio.h>

#include "workers/command_api/routes.h"

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
    {"update-get", "anime_id:s,changed_fields:S,risk_reasons:S,state:s,current:o?,proposed:o?"},
    {"update-decision", "state:s,revision:i"},
    {"dlq-list", "letters:O,groups:O,next_cursor:i,source:s"},
    {"dlq-show", "id:s,sequence:i,stream:s,stream_sequence:i,consumer:s,subject:s,class:s,code:s,"
                 "reason:s,fingerprint:s,entity:s,deliveries:i,hop:i,parked:b,size:i,state:s,"
                 "attempts:i,first_seen:s?,failed_at:s?,worker:s,replay_id:s"},
    {"dlq-replay", "plan_id:s,plan:o,sample:O"},
    {"dlq-discard", "plan_id:s,plan:o,sample:O"},
    {"reconcile", "state:s,compared:i,missing:i,stale:i,surplus:i,pending:i,enqueued:i,next_id:s"},
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

static json_t *answer_schema(const char *call)
{
    json_t *properties = json_object();

    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct view rest = view_of(answers[i].members), part;

        if (strcmp(answers[i].call, call) != 0)
            continue;
        while (view_split(&rest, ',', &part)) {
            struct view kind = part, name;

            if (view_split(&kind, ':', &name) && kind.n > 0)
                json_object_setn_new(properties, name.p, name.n, kind_schema(kind));
        }
    }
    return json_pack("{s:s, s:o}", "type", "object", "properties", properties);
}

/* Members of requests --------------------------------------------------------------------- */

static json_t *members_schema(const struct member rows[], size_t n, enum member_place place);

static void add_form(json_t *schema, const struct member *row)
{
    static const char *const patterns[] = {
        [FORM_FREE] = "^[^\\u0000-\\u001f\\u007f]*$",
        [FORM_SOURCE] = "^[a-z0-9_-]{1,32}$",
        [FORM_TAG] = "^[A-Za-z0-9._-]{1,64}$",
        [FORM_HASH] = "^[0-9a-f]{64}$",
        [FORM_REF] = "^(artifact:sha256/|s3://)[!-~]*$",
        [FORM_URL] = "^https://[!-~]*$",
        [FORM_CHOICE] = NULL,
    };
    struct view rest = view_of(row->choices), one;
    json_t *choices;

    if (row->form == FORM_UUID || row->form == FORM_TIME)
        json_object_set_new(schema, "format",
                            json_string(row->form == FORM_UUID ? "uuid" : "date-time"));
    else if (row->form != FORM_CHOICE)
        json_object_set_new(schema, "pattern", json_string(patterns[row->form]));
    if (row->form == FORM_FREE) {
        json_object_set_new(schema, "minLength", json_integer(row->min));
        json_object_set_new(schema, "maxLength", json_integer(row->max));
    }
    if (row->form != FORM_CHOICE)
        return;
    choices = json_array();
    while (view_split(&rest, '|', &one))
        json_array_append_new(choices, json_stringn(one.p, one.n));
    json_object_set_new(schema, "enum", choices);
}

static json_t *member_schema(const struct member *row)
{
    json_t *schema;

    switch (row->kind) {
    case MEMBER_TEXT:
        schema = json_pack("{s:s}", "type", "string");
        add_form(schema, row);
        return schema;
    case MEMBER_NUMBER:
        return json_pack("{s:s, s:I, s:I}", "type", "integer", "minimum", (json_int_t)row->min,
                         "maximum", (json_int_t)row->max);
    case MEMBER_FLAG:
        return json_pack("{s:s}", "type", "boolean");
    case MEMBER_OBJECT:
        return row->n_members > 0 ? members_schema(row->members, row->n_members, PLACE_BODY)
                                  : json_pack("{s:s}", "type", "object");
    case MEMBER_LIST:
        return json_pack("{s:s, s:I, s:I, s:o}", "type", "array", "minItems", (json_int_t)row->min,
                         "maxItems", (json_int_t)row->max, "items", member_schema(row->element));
    case MEMBER_CUSTOM:
        break;
    }
    return json_pack("{s:s, s:i, s:s}", "type", "object", "minProperties", 1, "description",
                     "Conditions that hold together: issues_count (a number or {\"lte\": number}), "
                     "issue_any, issue_none, kind, state, type, status (lists), year ({\"gte\", "
                     "\"lte\"}), all (true).");
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
    return json_pack("{s:s, s:b, s:o, s:o}", "type", "object", "additionalProperties", 0,
                     "properties", properties, "required", required);
}

/* One operation ----------------------------------------------------------------------------- */

static json_t *parameters(const struct route *route)
{
    json_t *list = json_array();

    for (size_t i = 0; i < route->n_members; i++) {
        const struct member *row = &route->members[i];

        if (row->place == PLACE_BODY)
            continue;
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:b, s:o}", "name", row->name, "in",
                                        row->place == PLACE_PATH ? "path" : "query", "required",
                                        row->place == PLACE_PATH, "schema", member_schema(row)));
    }
    if (route->keyed)
        json_array_append_new(list,
                              json_pack("{s:s}", "$ref", "#/components/parameters/IdempotencyKey"));
    if (route->lengthy)
        json_array_append_new(list, json_pack("{s:s}", "$ref", "#/components/parameters/Prefer"));
    return list;
}

static json_t *good_answer(const struct route *route, int status)
{
    json_t *headers =
        json_pack("{s:{s:s}}", "X-Request-Id", "$ref", "#/components/headers/X-Request-Id");

    if (route->keyed)
        json_object_set_new(headers, "Idempotent-Replayed",
                            json_pack("{s:s}", "$ref", "#/components/headers/Idempotent-Replayed"));
    if (status == 201 || (status == 202 && route->lengthy))
        json_object_set_new(headers, "Location",
                            json_pack("{s:s}", "$ref", "#/components/headers/Location"));
    if (status == 202 && route->lengthy)
        json_object_set_new(headers, "Retry-After",
                            json_pack("{s:s}", "$ref", "#/components/headers/Retry-After"));
    if (route->bridge == BRIDGE_ARTIFACT) {
        json_object_set_new(headers, "Content-Disposition",
                            json_pack("{s:{s:s}}", "schema", "const", "attachment"));
        return json_pack("{s:s, s:o, s:{s:{}}}", "description", "Its bytes.", "headers", headers,
                         "content", "application/octet-stream");
    }
    return json_pack("{s:s, s:o, s:{s:{s:o}}}", "description", status == 202 ? "Begun." : "Done.",
                     "headers", headers, "content", "application/json", "schema",
                     answer_schema(route->call));
}

static json_t *responses(const struct route *route)
{
    json_t *all = json_object();
    char status[8];

    snprintf(status, sizeof(status), "%d", route->success);
    json_object_set_new(all, status, good_answer(route, route->success));
    if (route->lengthy)
        json_object_set_new(all, "202", good_answer(route, 202));
    if (route->bridge == BRIDGE_PLAN)
        json_object_set_new(all, "200", good_answer(route, 200));
    for (enum problem p = PROBLEM_NONE + 1; p < PROBLEM_MAX; p++) {
        const bool with_body = p != PROBLEM_TOO_LARGE && p != PROBLEM_MEDIA_TYPE;
        const bool conflict = problem_defs[p].status == 409;

        if (p == PROBLEM_METHOD || (!with_body && route->body_max == 0) ||
            (conflict && !route->keyed))
            continue;
        snprintf(status, sizeof(status), "%d", problem_defs[p].status);
        json_object_set_new(all, status,
                            json_pack("{s:s}", "$ref", "#/components/responses/Problem"));
    }
    return all;
}

static const char *scope_name(unsigned scope)
{
    return scope == SCOPE_READ      ? "workflow.read"
           : scope == SCOPE_EXECUTE ? "workflow.execute"
                                    : "workflow.approve";
}

static json_t *operation(const struct route *route)
{
    json_t *o = json_pack("{s:s, s:s, s:o, s:o, s:[{s:[s]}]}", "operationId", route->call,
                          "summary", route->summary, "parameters", parameters(route), "responses",
                          responses(route), "security", "oauth2", scope_name(route->scope));

    if (route->body_max > 0)
        json_object_set_new(
            o, "requestBody",
            json_pack("{s:b, s:{s:{s:o}}}", "required", 1, "content", "application/json", "schema",
                      members_schema(route->members, route->n_members, PLACE_BODY)));
    return o;
}

/* What all share ----------------------------------------------------------------------------- */

static const char components[] =
    "{\"securitySchemes\": {\"oauth2\": {\"type\": \"oauth2\", \"flows\": {\"clientCredentials\": "
    "{\"tokenUrl\": \"https://issuer.example/oauth2/token\", \"scopes\": {"
    "\"workflow.read\": \"Looks.\", \"workflow.execute\": \"Starts and goes on.\", "
    "\"workflow.approve\": \"Decides.\"}}}}},"
    "\"headers\": {"
    "\"X-Request-Id\": {\"description\": \"Of this answer, for logs and the audit.\", \"schema\": "
    "{\"type\": \"string\", \"format\": \"uuid\"}},"
    "\"Idempotent-Replayed\": {\"description\": \"true: the answer of the first call with this "
    "key.\", \"schema\": {\"type\": \"string\"}},"
    "\"Location\": {\"description\": \"Where to look how the run gets on.\", \"schema\": "
    "{\"type\": "
    "\"string\"}},"
    "\"Retry-After\": {\"description\": \"Seconds.\", \"schema\": {\"type\": \"integer\"}}},"
    "\"parameters\": {"
    "\"IdempotencyKey\": {\"name\": \"Idempotency-Key\", \"in\": \"header\", \"required\": true, "
    "\"description\": \"The same key with the same request: one effect, one answer, for 30 days. "
    "Bare or in double quotes.\", \"schema\": {\"type\": \"string\", \"pattern\": "
    "\"^(\\\"[A-Za-z0-9._:-]{1,255}\\\"|[A-Za-z0-9._:-]{1,255})$\"}},"
    "\"Prefer\": {\"name\": \"Prefer\", \"in\": \"header\", \"required\": false, \"description\": "
    "\"wait=1 to wait=25: seconds to wait for the end.\", \"schema\": {\"type\": \"string\"}}},"
    "\"responses\": {\"Problem\": {\"description\": \"Refused or failed; code says why.\", "
    "\"headers\": {\"X-Request-Id\": {\"$ref\": \"#/components/headers/X-Request-Id\"}, "
    "\"Retry-After\": {\"$ref\": \"#/components/headers/Retry-After\"}}, "
    "\"content\": {\"application/problem+json\": {\"schema\": {\"$ref\": "
    "\"#/components/schemas/Problem\"}}}}},"
    "\"schemas\": {\"Problem\": {\"type\": \"object\", \"required\": [\"type\", \"instance\", "
    "\"title\", \"status\", \"detail\", \"code\", \"retryable\", \"violations\"], \"properties\": {"
    "\"type\": {\"type\": \"string\"}, \"instance\": {\"type\": \"string\"}, \"title\": {\"type\": "
    "\"string\"}, \"status\": {\"type\": \"integer\"}, \"detail\": {\"type\": \"string\"}, "
    "\"code\": {\"type\": \"string\"}, \"retryable\": {\"type\": \"boolean\"}, \"violations\": "
    "{\"type\": \"array\", \"items\": {\"type\": \"object\", \"required\": [\"pointer\", "
    "\"code\"], "
    "\"properties\": {\"pointer\": {\"type\": \"string\"}, \"code\": {\"type\": \"string\"}}}}, "
    "\"phase\": {\"type\": \"string\"}, \"state\": {\"type\": \"string\"}, \"holder_run_id\": "
    "{\"type\": \"integer\"}, \"scope\": {\"type\": \"string\"}}}}}";

static void add_codes(json_t *all)
{
    json_t *properties =
        json_object_get(json_object_get(json_object_get(all, "schemas"), "Problem"), "properties");
    json_t *codes = json_array();

    for (enum problem p = PROBLEM_NONE + 1; p < PROBLEM_MAX; p++) {
        if (p == 1 || strcmp(problem_defs[p].code, problem_defs[p - 1].code) != 0)
            json_array_append_new(codes, json_string(problem_defs[p].code));
    }
    json_object_set_new(json_object_get(properties, "code"), "enum", codes);
}

json_t *openapi_document(void)
{
    json_t *paths = json_object(), *shared = json_loads(components, 0, NULL);

    for (size_t i = 0; i < n_routes; i++) {
        json_t *path = json_object_get(paths, routes[i].path);
        const char *method = routes[i].method[0] == 'G' ? "get" : "post";

        if (path == NULL)
            json_object_set_new(paths, routes[i].path, path = json_object());
        json_object_set_new(path, method, operation(&routes[i]));
    }
    add_codes(shared);
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:o, s:o}", "openapi", "3.1.0", "info",
                     "title", "Echora Command API", "version", "1", "description",
                     "Calls of workflows and people; each becomes one request on the bus.",
                     "servers", "url", "/", "paths", paths, "components", shared);
}
