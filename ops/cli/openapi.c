/* Paths, members and scopes come from workers/command_api/routes.c, refusals from problem.c. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/openapi.h"

#include <stdio.h>

/* Where an answer leads: from a member of it to a member of another call. */
static const struct {
    const char *call;
    int status;
    const char *to, *member, *from;
} links[] = {
    {"start-incremental-run", 201, "run-get", "run_id", "$response.body#/run_id"},
    {"start-incremental-run", 201, "run-entries", "run_id", "$response.body#/run_id"},
    {"dlq-list", 200, "dlq-show", "seq", "$response.body#/letters/0/sequence"},
    {"build-diff", 202, "run-get", "run_id", "$response.body#/run_id"},
    {"process-stages", 202, "run-get", "run_id", "$response.body#/run_id"},
    {"build-stage6-review", 202, "run-get", "run_id", "$response.body#/run_id"},
    {"replay-stage", 202, "run-get", "run_id", "$response.body#/run_id"},
    {"ingest-approved", 202, "run-get", "run_id", "$response.body#/run_id"},
};

static json_t *links_of(const struct route *route, int status)
{
    json_t *all = json_object();

    for (size_t i = 0; i < ARRAY_LEN(links); i++) {
        if (links[i].status == status && strcmp(links[i].call, route->call) == 0)
            json_object_set_new(all, links[i].to,
                                json_pack("{s:s, s:{s:s}}", "operationId", links[i].to,
                                          "parameters", links[i].member, links[i].from));
    }
    if (json_object_size(all) > 0)
        return all;
    json_decref(all);
    return NULL;
}

static void add_header(json_t *headers, const char *name)
{
    json_object_set_new(headers, name, json_pack("{s:s+}", "$ref", "#/components/headers/", name));
}

static json_t *answer_headers(const struct route *route, int status)
{
    static const char *const always[] = {"X-Request-Id", "Cache-Control", "X-Content-Type-Options",
                                         "RateLimit-Policy", "RateLimit"};
    json_t *headers = json_object();

    for (size_t i = 0; i < ARRAY_LEN(always); i++)
        add_header(headers, always[i]);
    if (route->keyed)
        add_header(headers, "Idempotent-Replayed");
    if (route->lengthy)
        add_header(headers, "Preference-Applied");
    if (status == 201 || (status == 202 && route->lengthy))
        add_header(headers, "Location");
    if (status == 202 && route->lengthy)
        add_header(headers, "Retry-After");
    return headers;
}

/* Bytes of any kind. */
static json_t *artifact_answer(const struct route *route)
{
    json_t *headers = answer_headers(route, route->success);

    add_header(headers, "Content-Disposition");
    return json_pack("{s:s, s:o, s:{s:{}}}", "description", "Its bytes.", "headers", headers,
                     "content", "application/octet-stream");
}

static json_t *good_answer(const struct route *route, int status, json_t *schemas)
{
    if (route->bridge == BRIDGE_ARTIFACT)
        return artifact_answer(route);
    return json_pack("{s:s, s:o, s:{s:{s:o, s:o*}}, s:o*}", "description",
                     status == 202 ? "Begun." : "Done.", "headers", answer_headers(route, status),
                     "content", "application/json", "schema",
                     openapi_answer(route, status, schemas), "example",
                     openapi_example_answer(route, status), "links", links_of(route, status));
}

static void add_good(json_t *all, const struct route *route, int status, json_t *schemas)
{
    char name[8];

    snprintf(name, sizeof(name), "%d", status);
    json_object_set_new(all, name, good_answer(route, status, schemas));
}

static json_t *responses(const struct route *route, json_t *schemas)
{
    json_t *all = json_object();

    add_good(all, route, route->success, schemas);
    if (route->lengthy)
        add_good(all, route, 202, schemas);
    if (route->bridge == BRIDGE_PLAN)
        add_good(all, route, 200, schemas);
    for (enum problem p = PROBLEM_NONE + 1; p < PROBLEM_MAX; p++) {
        char status[8], name[16];

        if ((p == PROBLEM_MEDIA_TYPE && route->body_max == 0) ||
            (problem_defs[p].status == 409 && !route->keyed))
            continue;
        snprintf(status, sizeof(status), "%d", problem_defs[p].status);
        snprintf(name, sizeof(name), "Problem%s", status);
        json_object_set_new(all, status,
                            json_pack("{s:s+}", "$ref", "#/components/responses/", name));
    }
    return all;
}

static const char *scope_name(unsigned scope)
{
    return scope == SCOPE_READ      ? "workflow.read"
           : scope == SCOPE_EXECUTE ? "workflow.execute"
                                    : "workflow.approve";
}

static json_t *operation(const struct route *route, json_t *schemas)
{
    json_t *o =
        json_pack("{s:s, s:s, s:o, s:o, s:[{s:[s]}]}", "operationId", route->call, "summary",
                  route->summary, "parameters", openapi_parameters(route), "responses",
                  responses(route, schemas), "security", "oauth2", scope_name(route->scope));

    if (route->body_max > 0)
        json_object_set_new(o, "requestBody", openapi_body(route));
    return o;
}

json_t *openapi_document(void)
{
    json_t *paths = json_object(), *shared = openapi_components();

    for (size_t i = 0; i < n_routes; i++) {
        json_t *path = json_object_get(paths, routes[i].path);
        const char *method = routes[i].method[0] == 'G' ? "get" : "post";

        if (path == NULL)
            json_object_set_new(paths, routes[i].path, path = json_object());
        json_object_set_new(path, method,
                            operation(&routes[i], json_object_get(shared, "schemas")));
    }
    return json_pack("{s:s, s:{s:s, s:s, s:s}, s:[{s:s}], s:o, s:o}", "openapi", "3.1.0", "info",
                     "title", "Echora Command API", "version", "1", "description",
                     "Calls of workflows and people; each becomes one request on the bus.",
                     "servers", "url", "/", "paths", paths, "components", shared);
}
