/* Components of the document: headers, parameters, refusals by status. */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "ops/cli/openapi.h"

static const char security[] =
    "{'oauth2':{'type':'oauth2','flows':{'clientCredentials':{'tokenUrl':"
    "'https://issuer.example/oauth2/token','scopes':{'workflow.read':'Looks.','workflow.execute':"
    "'Starts and goes on.','workflow.approve':'Decides.'}}}}}";

static const char headers[] =
    "{'X-Request-Id':{'required':true,'description':'Of this answer, for logs and the audit.',"
    "'schema':{'type':'string','format':'uuid'}},"
    "'Cache-Control':{'required':true,'schema':{'type':'string','enum':['no-store']}},"
    "'X-Content-Type-Options':{'required':true,'schema':{'type':'string','enum':['nosniff']}},"
    "'RateLimit-Policy':{'required':true,'description':'The quota that the call came out of: "
    "\\\"class\\\";"
    "q=calls;w=seconds. Of calls that came as far as their quota.','schema':{'type':'string',"
    "'pattern':'^\\\"(read|execute|approve)\\\";q=[0-9]+;w=60$'}},"
    "'RateLimit':{'required':true,'description':'r: what is left of it; t: seconds until there is "
    "one more.',"
    "'schema':{'type':'string','pattern':'^\\\"(read|execute|approve)\\\";r=[0-9]+;t=[0-9]+$'}},"
    "'Idempotent-Replayed':{'description':'The answer of the first call with this key.','schema':"
    "{'type':'string','enum':['true']}},"
    "'Location':{'required':true,'description':'Where to look how the run gets on.','schema':"
    "{'type':'string','pattern':'^/workflow/runs/[0-9]+$'}},"
    "'Preference-Applied':{'description':'The wait that was asked for and kept to (RFC 7240).',"
    "'schema':{'type':'string','pattern':'^wait=[0-9]+$'}},"
    "'Retry-After':{'required':true,'description':'Seconds.','schema':{'type':'integer','minimum':"
    "1}},"
    "'Content-Disposition':{'required':true,'schema':{'type':'string','enum':['attachment']}},"
    "'Allow':{'required':true,'description':'What the path has.','schema':{'type':'string',"
    "'pattern':'^(GET|POST)(, (GET|POST))*$'}},"
    "'WWW-Authenticate':{'required':true,'schema':{'type':'string','pattern':"
    "'^Bearer realm=\\\"echora\\\"'}}}";

static const char parameters[] =
    "{'IdempotencyKey':{'name':'Idempotency-Key','in':'header','required':true,'description':'The "
    "same key with the same request: one effect, one answer, for 30 days. Bare or in double "
    "quotes.','schema':{'type':'string','pattern':"
    "'^(\\\"[A-Za-z0-9._:-]{1,255}\\\"|[A-Za-z0-9._:-]{1,255})$'}},"
    "'Prefer':{'name':'Prefer','in':'header','required':false,'description':'wait=1 to wait=25: "
    "seconds to wait for the end. Other preferences are ignored.','schema':{'type':'string'},"
    "'example':'wait=5'}}";

static const char problem[] =
    "{'type':'object','additionalProperties':false,'required':['type','instance','title','status',"
    "'detail','code','retryable','violations'],'properties':{'type':{'type':'string','pattern':"
    "'^urn:echora:problem:[a-z_]+$'},'instance':{'type':'string','pattern':'^urn:uuid:[0-9a-f-]{36}"
    "$'},'title':{'type':'string'},'status':{'type':'integer'},'detail':{'type':'string'},'code':{"
    "'type':'string'},'retryable':{'type':'boolean'},'violations':{'type':'array','maxItems':16,"
    "'items':{'type':'object','additionalProperties':false,'required':['pointer','code'],"
    "'properties':{'pointer':{'type':'string'},'code':{'type':'string'}}}},'phase':{'type':"
    "'string'},'state':{'type':'string'},'holder_run_id':{'type':'integer'},'scope':{'type':"
    "'string','enum':['workflow.read','workflow.execute','workflow.approve']}}}";

static json_t *header_ref(const char *name)
{
    return json_pack("{s:s+}", "$ref", "#/components/headers/", name);
}

#define SOMETIMES "Sometimes-"

/* The headers, and those that not every answer of a status has once more, as such. */
static json_t *all_headers(void)
{
    static const char *const some[] = {"RateLimit-Policy", "RateLimit", "Retry-After"};
    json_t *all = openapi_read(headers);
    char name[64];

    for (size_t i = 0; i < ARRAY_LEN(some); i++) {
        json_t *one = json_deep_copy(json_object_get(all, some[i]));

        snprintf(name, sizeof(name), SOMETIMES "%s", some[i]);
        json_object_del(one, "required");
        json_object_set_new(all, name, one);
    }
    return all;
}

static json_t *refusal_headers(int status, bool always_retryable)
{
    static const char *const common[] = {"X-Request-Id", "Cache-Control", "X-Content-Type-Options"};
    json_t *all = json_object();

    for (size_t i = 0; i < ARRAY_LEN(common); i++)
        json_object_set_new(all, common[i], header_ref(common[i]));
    if (status == 401 || status == 403)
        json_object_set_new(all, "WWW-Authenticate", header_ref("WWW-Authenticate"));
    if (status == 405)
        json_object_set_new(all, "Allow", header_ref("Allow"));
    if (always_retryable)
        json_object_set_new(all, "Retry-After", header_ref("Retry-After"));
    if (status == 409)
        json_object_set_new(all, "Retry-After", header_ref(SOMETIMES "Retry-After"));
    if (status == 500)
        json_object_set_new(all, "Idempotent-Replayed", header_ref("Idempotent-Replayed"));
    if (status == 401 || status == 405)
        return all;
    json_object_set_new(all, "RateLimit-Policy", header_ref(SOMETIMES "RateLimit-Policy"));
    json_object_set_new(all, "RateLimit", header_ref(SOMETIMES "RateLimit"));
    return all;
}

/* All problems of one status. */
static json_t *refusal(int status)
{
    json_t *codes = json_array();
    const char *title = "";
    bool retryable = true;

    for (enum problem p = PROBLEM_NONE + 1; p < PROBLEM_MAX; p++) {
        if (problem_defs[p].status != status)
            continue;
        json_array_append_new(codes, json_string(problem_defs[p].code));
        retryable &= problem_defs[p].retry_after_s > 0;
        title = problem_defs[p].title;
    }
    if (json_array_size(codes) > 1)
        title = "The state of things is against it; code says which.";
    return json_pack("{s:s, s:o, s:{s:{s:{s:[{s:s}, {s:{s:{s:i}, s:{s:o}}}]}}}}", "description",
                     title, "headers", refusal_headers(status, retryable), "content",
                     "application/problem+json", "schema", "allOf", "$ref",
                     "#/components/schemas/Problem", "properties", "status", "const", status,
                     "code", "enum", codes);
}

static json_t *refusals(void)
{
    json_t *all = json_object();
    char name[16];

    for (enum problem p = PROBLEM_NONE + 1; p < PROBLEM_MAX; p++) {
        snprintf(name, sizeof(name), "Problem%d", problem_defs[p].status);
        if (json_object_get(all, name) == NULL)
            json_object_set_new(all, name, refusal(problem_defs[p].status));
    }
    return all;
}

static json_t *problem_schema(void)
{
    json_t *schema = openapi_read(problem), *codes = json_array();

    for (enum problem p = PROBLEM_NONE + 1; p < PROBLEM_MAX; p++) {
        if (p == 1 || strcmp(problem_defs[p].code, problem_defs[p - 1].code) != 0)
            json_array_append_new(codes, json_string(problem_defs[p].code));
    }
    json_object_set_new(json_object_get(json_object_get(schema, "properties"), "code"), "enum",
                        codes);
    return schema;
}

json_t *openapi_components(void)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:{s:o}}", "securitySchemes", openapi_read(security),
                     "headers", all_headers(), "parameters", openapi_read(parameters), "responses",
                     refusals(), "schemas", "Problem", problem_schema());
}
