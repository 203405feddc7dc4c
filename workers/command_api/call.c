// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/call.h"

#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"

#define ARENA_MAX ((size_t)128 << 20) /* a reply of the bus, decoded and told */
#define ANSWER_MAX ((size_t)17 << 20)

static const struct metric_def calls_def = {"echora_command_calls_total", METRIC_COUNTER,
                                            "Calls of the Command API by call and class of status.",
                                            "call,status", NULL};
static const struct metric_def refusals_def = {"echora_command_refusals_total", METRIC_COUNTER,
                                               "Calls that were refused, by problem code.", "code",
                                               NULL};
static const struct metric_def seconds_def = {"echora_command_duration_seconds", METRIC_HISTOGRAM,
                                              "Time from a call's head to its answer.", "call",
                                              NULL};
static const struct metric_def in_flight_def = {"echora_command_in_flight", METRIC_GAUGE,
                                                "Calls being served.", "", NULL};

/* nginx makes the id, for its own log, too; another gateway may leave that to us. */
static void make_id(struct call *c)
{
    const struct view given = scgi_variable(&c->connection->head, "REQUEST_ID");
    struct uuid id;

    if (!uuid_parse(given, &id))
        id = uuid_v7();
    uuid_format(id, c->id);
}

static void start_span(struct call *c)
{
    struct trace_context parent;
    struct view traceparent, tracestate;
    const bool has_parent = scgi_only(&c->connection->head, "HTTP_TRACEPARENT", &traceparent) &&
                            scgi_only(&c->connection->head, "HTTP_TRACESTATE", &tracestate) &&
                            traceparent.p != NULL && trace_parse(traceparent, tracestate, &parent);

    span_start(&c->span, has_parent ? &parent : NULL, SPAN_SERVER, "command call");
    trace_set_current(&c->span.context);
}

static bool find_route(struct call *c)
{
    const struct scgi_head *head = &c->connection->head;

    c->method = scgi_variable(head, "REQUEST_METHOD");
    if (!target_split(scgi_variable(head, "REQUEST_URI"), &c->target))
        return refuse(&c->refusal, PROBLEM_SYNTAX, "The request's target is no path of ours.");
    c->route = route_match(c->method, c->target.path, c->ids, c->allow);
    if (c->route != NULL)
        return true;
    return c->allow[0] != '\0'
               ? refuse(&c->refusal, PROBLEM_METHOD, "This path has %s.", c->allow)
               : refuse(&c->refusal, PROBLEM_NOT_FOUND, "There is no such path; /docs lists them.");
}

static bool refuse_more(struct call *c)
{
    return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "Too many calls at once.");
}

/* Before anything is spent on a call that would be refused. */
static bool is_room(struct call *c)
{
    return atomic_load(&c->api->in_flight) < c->api->settings->in_flight_max || refuse_more(c);
}

static void count(struct call *c, int more)
{
    metric_set(metric_series(&in_flight_def, (const char *[]){NULL}),
               atomic_fetch_add(&c->api->in_flight, more) + more);
}

/* A call counts once it is there whole, so that bodies that come slowly keep nobody out. */
static bool enter(struct call *c)
{
    c->entered = true;
    count(c, 1);
    return atomic_load(&c->api->in_flight) <= c->api->settings->in_flight_max || refuse_more(c);
}

/* Everything that has an effect, under the claim. */
static void carry_out(struct call *c)
{
    if (!call_claim(c))
        return;
    KILL_POINT("after-claim");
    if (call_audit_intent(c) && call_ask(c) && c->claim_lost)
        refuse(&c->refusal, PROBLEM_IN_PROGRESS, "Another call with this key took over.");
    KILL_POINT("before-finish");
    call_unclaim(c);
    KILL_POINT("before-answer");
}

static void run(struct call *c, enum read_result head)
{
    if (head == READ_TOO_LARGE)
        refuse(&c->refusal, PROBLEM_HEAD_TOO_LARGE, "At most 64 fields and 16 kB.");
    else if (head != READ_OK)
        refuse(&c->refusal, PROBLEM_SYNTAX, "The head can't be read, or did not come in time.");
    else if (is_room(c) && find_route(c) && call_authenticate(c) && call_within_rate(c) &&
             call_in_scope(c) && call_read(c) && enter(c))
        carry_out(c);
    call_audit_outcome(c);
}

int call_status(const struct call *c)
{
    return c->refusal.problem == PROBLEM_NONE ? c->status : problem_defs[c->refusal.problem].status;
}

const char *call_code(const struct call *c)
{
    /* Of failures only this one is ever answered again. */
    const enum problem problem = c->refusal.problem == PROBLEM_NONE && c->status >= 400
                                     ? PROBLEM_FAILED
                                     : c->refusal.problem;

    return problem_defs[problem].code;
}

static void note(const struct call *c, size_t bytes)
{
    const int status = call_status(c);
    const char *code = call_code(c);
    const char *call = c->route != NULL ? c->route->call : "none";
    const char *const classes[] = {"", "", "2xx", "3xx", "4xx", "5xx"};
    const int64_t us = mono_us() - c->began_us;

    metric_add(metric_series(&calls_def, (const char *[]){call, classes[status / 100]}), 1);
    if (*code != '\0')
        metric_add(metric_series(&refusals_def, (const char *[]){code}), 1);
    metric_observe(metric_series(&seconds_def, (const char *[]){call}), (double)us / 1e6);
    log_info("call", LF_STR("request_id", c->id), LF_STR("client", c->caller.client),
             LF_STR("call", call), LF_I64("status", status), LF_STR("code", code),
             LF_STR("token", c->token), LF_I64("ms", us / 1000), LF_I64("bytes", (int64_t)bytes));
    if (FAULT("call-told"))
        log_debug("call", LF_VIEW("query", c->target.query), LF_VIEW("body", buf_view(&c->body)),
                  LF_VIEW("key", c->key));
}

static void end_span(struct call *c)
{
    const struct problem_def *def = &problem_defs[c->refusal.problem];
    struct err err = ERR_INIT;

    if (def->status >= 500)
        err_set(&err, ERR_RETRY, def->code, "serve call", "%s", def->title);
    span_attribute(&c->span, "call", c->route != NULL ? c->route->call : "none");
    trace_set_current(NULL);
    span_end(&c->span, def->status >= 500 ? &err : NULL);
}

static void serve(struct api *api, struct connection *connection, enum read_result head,
                  struct arena *arena)
{
    struct call c = {.api = api,
                     .connection = connection,
                     .arena = arena,
                     .began_us = mono_us(),
                     .token = "",
                     .content_type = "application/json"};
    struct buf answer CLEANUP(buf_deinit) = {.max = ANSWER_MAX};

    make_id(&c);
    start_span(&c);
    run(&c, head);
    answer_write(&c, &answer);
    note(&c, answer.n);
    end_span(&c);
    connection_end(connection, buf_failed(&answer) ? (struct view){0} : buf_view(&answer));
    json_decref(c.members);
    buf_deinit(&c.body);
    if (c.entered)
        count(&c, -1);
}

void call_serve(void *ctx, struct connection *connection)
{
    struct api *api = ctx;
    const enum read_result head = connection_head(connection);

    /* A gateway sends its heads whole: whoever else that is waits for no answer. */
    if (head == READ_GONE || head == READ_CROWDED) {
        connection_end(connection, (struct view){0});
        return;
    }
    struct arena *arena CLEANUP(arena_freep) = arena_new(ARENA_MAX);
    if (arena == NULL) {
        connection_end(connection, (struct view){0});
        return;
    }
    serve(api, connection, head, arena);
}
