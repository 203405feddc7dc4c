/* The request on the bus, and what its reply means to the caller. */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <jansson.h>

#include "events/base/clock.h"
#include "events/bus.h"
#include "workers/command_api/bridge.h"
#include "workers/command_api/weight.h"

#define REQUEST_MAX ((size_t)4 << 20)
#define CONTEXT_LIFE_S 60

enum { REPLY_STATUS, REPLY_ERROR, REPLY_CLASS, REPLY_HEADERS };

/* Asked while the reply is awaited. */
static bool goes_on(void *ctx)
{
    struct call *c = ctx;
    const int64_t stopped = atomic_load(&c->api->stopped_ms);

    call_renew(c);
    return stopped == 0 || mono_ms() - stopped < STOP_WAIT_MS;
}

/* Base64 of JSON. It says for whom a responder works, and is worth what the bus' permissions are
 * worth: only this worker's user may publish on these subjects with a context. */
static void put_context(const struct call *c, struct buf *out)
{
    static const struct {
        unsigned bit;
        const char *name;
    } scopes[] = {{SCOPE_READ, "workflow.read"},
                  {SCOPE_EXECUTE, "workflow.execute"},
                  {SCOPE_APPROVE, "workflow.approve"}};
    struct buf json CLEANUP(buf_deinit) = {.max = 4096};
    const char *between = "";

    buf_puts(&json, "{\"client_id\":");
    buf_put_json_string(&json, view_of(c->caller.client));
    buf_puts(&json, ",\"principal_id\":");
    buf_put_json_string(&json,
                        view_of(c->caller.sub[0] != '\0' ? c->caller.sub : c->caller.client));
    buf_puts(&json, ",\"scopes\":[");
    for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
        if (!(c->caller.scopes & scopes[i].bit))
            continue;
        buf_printf(&json, "%s\"%s\"", between, scopes[i].name);
        between = ",";
    }
    buf_printf(&json, "],\"expires_at\":%" PRId64 "}", wall_us() / 1000000 + CONTEXT_LIFE_S);
    out->failed |= buf_failed(&json);
    buf_put_base64(out, bytes_of(buf_view(&json)));
}

static bool speaks_json(const struct route *route)
{
    return route->bridge == BRIDGE_COMMAND || route->bridge == BRIDGE_ARTIFACT;
}

static bool put_request(struct call *c, struct buf *out)
{
    if (!speaks_json(c->route))
        return bridge_request(c, out);
    char *text = json_dumps(c->members, JSON_COMPACT);
    if (text != NULL)
        buf_puts(out, text);
    free(text);
    return (text != NULL && !buf_failed(out)) ||
           refuse(&c->refusal, PROBLEM_UNAVAILABLE, "No memory.");
}

/* A comparison of everything takes longer than anybody waits; the responder goes on with it. That
 * is no answer to keep: the same call again asks it again, which waits for the same run, and takes
 * it up when who was at it has died. */
static bool goes_on_alone(struct call *c, const struct err *err)
{
    if (c->route->bridge != BRIDGE_RECONCILE || strcmp(err->code, "nats-timeout") != 0 ||
        atomic_load(&c->api->stopped_ms) != 0)
        return false;
    c->status = c->route->success;
    c->reply = VIEW_LIT("{\"state\":\"running\"}");
    c->unfinished = true;
    return true;
}

/* No reply, or none in time. */
static bool refuse_err(struct call *c, const struct err *err)
{
    if (goes_on_alone(c, err))
        return true;
    if (strcmp(err->code, "nats-no-responders") == 0)
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "Nobody answers this call now.");
    if (strcmp(err->code, "nats-timeout") == 0)
        return refuse(&c->refusal, PROBLEM_TIMEOUT,
                      "No answer in time; whether it was done is not known. Send it again.");
    if (strcmp(err->code, "too-large") == 0)
        return refuse(&c->refusal, PROBLEM_TOO_LARGE, "Too large for the bus.");
    return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "The bus is not there now.");
}

static void copy_text(const json_t *from, const char *name, char *to, size_t size)
{
    const char *text = json_string_value(json_object_get(from, name));

    if (text != NULL)
        problem_text(text, to, size);
}

static void copy_violations(const json_t *from, struct refusal *r)
{
    const json_t *list = json_object_get(from, "violations"), *one;
    size_t i;

    json_array_foreach(list, i, one)
    {
        const char *pointer = json_string_value(json_object_get(one, "pointer"));
        const char *code = json_string_value(json_object_get(one, "code"));

        if (pointer != NULL && code != NULL)
            violate(r, pointer, code);
    }
}

/* What is said of tokens and of HTTP itself, nobody behind this worker can know. */
static bool is_edge(enum problem problem)
{
    return problem == PROBLEM_UNAUTHENTICATED || problem == PROBLEM_METHOD ||
           problem == PROBLEM_MEDIA_TYPE || problem == PROBLEM_HEAD_TOO_LARGE;
}

/* A refusal in the words of the command protocol. */
static bool refuse_command(struct call *c, const json_t *body, int64_t status, const char *class)
{
    struct refusal *r = &c->refusal;
    const char *code = json_string_value(json_object_get(body, "code"));
    const enum problem found = problem_find(view_of(code), status);
    const enum problem problem = is_edge(found) ? PROBLEM_NONE : found;

    if (problem == PROBLEM_NONE && class != NULL && strcmp(class, "reject") != 0 &&
        strcmp(class, "fatal") != 0)
        return refuse(r, PROBLEM_UNAVAILABLE, "The responder can't serve now.");
    if (problem == PROBLEM_NONE)
        return refuse(r, PROBLEM_FAILED, "The responder failed.");
    refuse(r, problem, "%s", problem_defs[problem].title);
    copy_text(body, "detail", r->detail, sizeof(r->detail));
    copy_violations(body, r);
    r->retry_after_ms = json_integer_value(json_object_get(body, "retry_after_ms"));
    if (problem == PROBLEM_RUN_STATE) {
        copy_text(body, "phase", r->phase, sizeof(r->phase));
        copy_text(body, "state", r->state, sizeof(r->state));
    }
    if (problem == PROBLEM_RUN_LOCK)
        r->holder_run_id = json_integer_value(json_object_get(body, "holder_run_id"));
    return false;
}

/* 201, 202: where to look, and when. A call of a run points to that run; only of a new one the
 * responder says which it is, and it must be one. */
static bool point_to_run(struct call *c, const json_t *body)
{
    const json_t *asked = json_object_get(c->members, "run_id");
    const int64_t run = json_integer_value(asked != NULL ? asked : json_object_get(body, "run_id"));

    if (c->status != 201 && c->status != 202)
        return true;
    if (run < 1 || run > MEMBER_INTEGER_MAX)
        return refuse(&c->refusal, PROBLEM_FAILED, "The responder's answer names no run.");
    snprintf(c->location, sizeof(c->location), CALL_RUNS "%" PRId64, run);
    if (c->status == 202)
        c->retry_after_s = RETRY_AFTER_LONG_S;
    return true;
}

/* Bytes that are not what was asked for are nobody's answer. */
static bool take_artifact(struct call *c, struct bytes reply)
{
    struct buf hex CLEANUP(buf_deinit) = {.max = 128};
    uint8_t digest[SHA256_SIZE];

    sha256(reply, digest);
    buf_put_hex(&hex, (struct bytes){digest, sizeof(digest)});
    if (!view_is(buf_view(&hex), json_string_value(json_object_get(c->members, "sha256"))))
        return refuse(&c->refusal, PROBLEM_FAILED, "The artifact is not what its name says.");
    c->content_type = "application/octet-stream";
    c->status = c->route->success;
    c->reply = view_of_bytes(reply);
    return true;
}

static json_t *read_json(struct view reply)
{
    return json_values_most(reply) <= REPLY_VALUES_MAX
               ? json_loadb(reply.p, reply.n, JSON_REJECT_DUPLICATES, NULL)
               : NULL;
}

static bool take_command(struct call *c, struct bytes reply,
                         const struct bus_reply_header headers[static REPLY_HEADERS])
{
    int64_t status = 0;
    const bool has_status = headers[REPLY_STATUS].value != NULL &&
                            view_to_i64(view_of(headers[REPLY_STATUS].value), 200, 599, &status);
    const bool refused = headers[REPLY_ERROR].value != NULL || status >= 300;
    bool good = false;

    if (has_status && !refused && c->route->bridge == BRIDGE_ARTIFACT)
        return take_artifact(c, reply);
    json_t *body = read_json(view_of_bytes(reply));
    if (refused) {
        good = refuse_command(c, body, status, headers[REPLY_CLASS].value);
    } else if (!has_status || !json_is_object(body) || !route_answers(c->route, status)) {
        good = refuse(&c->refusal, PROBLEM_FAILED, "The responder's answer can't be read.");
    } else {
        c->status = (int)status;
        c->reply = view_of_bytes(reply);
        good = point_to_run(c, body);
    }
    json_decref(body);
    return good;
}

static bool take_reply(struct call *c, struct bytes reply,
                       const struct bus_reply_header headers[static REPLY_HEADERS])
{
    if (speaks_json(c->route))
        return take_command(c, reply, headers);
    if (headers[REPLY_ERROR].value != NULL)
        return bridge_refusal(c, headers[REPLY_ERROR].value, headers[REPLY_CLASS].value);
    return bridge_reply(c, reply);
}

/* Those who like to wait get half of the places at most. */
static bool has_place_to_wait(const struct call *c)
{
    return atomic_load(&c->api->in_flight) * 2 <= c->api->settings->in_flight_max;
}

bool call_ask(struct call *c)
{
    struct buf body CLEANUP(buf_deinit) = {.max = REQUEST_MAX};
    struct buf context CLEANUP(buf_deinit) = {.max = 8192};
    struct bus_reply_header replies[REPLY_HEADERS] = {
        [REPLY_STATUS] = {"Echora-Status", NULL},
        [REPLY_ERROR] = {"Nats-Service-Error-Code", NULL},
        [REPLY_CLASS] = {"Echora-Error-Class", NULL}};
    char deadline[24], wait[24], idem[128];
    struct bytes reply;
    struct err err = ERR_INIT;

    if (!has_place_to_wait(c))
        c->wait_ms = 0;
    const int64_t patience = c->api->settings->reply_ms + c->wait_ms;
    if (!put_request(c, &body))
        return false;
    put_context(c, &context);
    snprintf(deadline, sizeof(deadline), "%" PRId64, wall_us() / 1000 + patience);
    snprintf(wait, sizeof(wait), "%" PRId64, c->wait_ms / 1000);
    snprintf(idem, sizeof(idem), "%s:%" PRId64, c->idem_key.hash, c->claim.token);
    struct bus_header headers[7] = {
        {"Content-Type", speaks_json(c->route) ? "application/json" : "application/protobuf"},
        {"Echora-Context", buf_cstr(&context)},
        {"Echora-Deadline", deadline},
        {"Echora-Request-Id", c->id},
    };
    size_t n = 4;
    if (c->claimed)
        headers[n++] = (struct bus_header){"Echora-Idem", idem};
    if (c->wait_ms > 0)
        headers[n++] = (struct bus_header){"Echora-Wait", wait};
    const struct bus_message request = {.subject = c->route->subject,
                                        .payload = bytes_of(buf_view(&body)),
                                        .headers = headers,
                                        .n_headers = n};
    const struct bus_exchange how = {.timeout_ms = patience,
                                     .goes_on = goes_on,
                                     .ctx = c,
                                     .headers = replies,
                                     .n_headers = REPLY_HEADERS};
    if (buf_failed(&context))
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "No memory.");
    if (bus_exchange(c->api->bus, &request, &how, c->arena, &reply, &err) < 0)
        return refuse_err(c, &err);
    return take_reply(c, reply, replies);
}
