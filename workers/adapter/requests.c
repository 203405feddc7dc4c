/* What people ask of the adapter: a test event, one webhook again, a route enabled.
 *
 * A call by request is made once, over a connection of its own, and recorded like any other, with
 * who asked for it; it changes neither the route's breaker nor what lies in the stream. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"
#include "contracts/gen/ops.pb-c.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/log.h"
#include "events/stream.h"
#include "workers/adapter/adapter.h"

#define DECODE_MAX ((size_t)32 << 20)

typedef Echora__Ops__V1__WebhookSendReply SendReply;

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "webhook", "out of memory");
}

static int find_route(const char *name, enum route *ret, struct err *err)
{
    if (route_find(view_of(name), ret))
        return 0;
    return err_set(err, ERR_REJECT, "unknown-route", "webhook", "routes are dlq, risk and review");
}

/* What is wrong with the configuration is the answer, not the end of the process. */
static int open_destination(const struct adapter *a, enum route route, struct http_pool **ret,
                            struct secrets *secrets, struct err *err)
{
    if (destination_open(a->settings, route, 1, ret, secrets, err) < 0) {
        err->class = err->class == ERR_FATAL ? ERR_REJECT : err->class;
        return -1;
    }
    if (*ret == NULL)
        return err_set(err, ERR_REJECT, "route-unset", "webhook", "route %s has no destination",
                       route_name(route));
    return 0;
}

static int call(const struct adapter *a, enum route route, struct uuid id, struct view body,
                const struct trace_context *trace, struct http_outcome *ret,
                char ret_answer[static EXCERPT_MAX + 1], struct err *err)
{
    struct http_pool *pool = NULL;
    struct secrets secrets;

    if (open_destination(a, route, &pool, &secrets, err) < 0)
        return -1;
    if (destination_send(pool, &secrets, id, body, trace, err) < 0) {
        (void)http_pool_free(pool);
        return -1;
    }
    while (http_pool_look(pool, id, ret) == HTTP_RUNNING)
        http_pool_wait(pool, 1000);
    destination_answer(pool, &secrets, id, ret_answer);
    (void)http_pool_free(pool);
    explicit_bzero(&secrets, sizeof(secrets));
    return 0;
}

static int reply_of(const struct attempt *attempt, struct arena *arena, ProtobufCMessage **ret,
                    struct err *err)
{
    SendReply *reply =
        (SendReply *)message_new(&echora__ops__v1__webhook_send_reply__descriptor, arena);
    char *id = arena_alloc(arena, UUID_TEXT);
    char *answer = arena_strdup(arena, view_of(attempt->answer));

    if (reply == NULL || id == NULL || answer == NULL)
        return no_memory(err);
    uuid_format(attempt->webhook_id, id);
    reply->webhook_id = id;
    reply->status = (int32_t)attempt->outcome.status;
    reply->error = (char *)(uintptr_t)attempt->outcome.code;
    reply->class_ = (char *)(uintptr_t)judgement_name(attempt->judgement);
    reply->ms = attempt->outcome.ms;
    reply->answer = answer;
    *ret = &reply->base;
    return 0;
}

/* Calls the receiver, records the attempt (who, what and of which event is filled in), makes the
 * answer. */
static int send_once(const struct adapter *a, enum route route, const char *stream,
                     struct attempt attempt, struct view body, const struct request *request,
                     ProtobufCMessage **ret_reply, struct err *err)
{
    char answer[EXCERPT_MAX + 1];

    attempt.started_us = wall_us();
    if (call(a, route, attempt.webhook_id, body, &request->trace, &attempt.outcome, answer, err) <
        0)
        return -1;
    attempt.judgement = judge(&attempt.outcome, a->settings->only_202);
    const bool kept = attempt.judgement != JUDGED_DELIVERED && attempt.outcome.status != 0;
    attempt.answer = kept ? answer : "";
    log_info("webhook sent by request", LF_STR("route", route_name(route)),
             LF_STR("trigger", attempt.trigger), LF_STR("actor", attempt.asked_by),
             LF_STR("class", judgement_name(attempt.judgement)));
    if (record_attempts(a->pg, route, stream, &attempt, 1, err) < 0)
        return -1;
    return reply_of(&attempt, request->arena, ret_reply, err);
}

int answer_webhook_test(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                        struct err *err)
{
    const Echora__Ops__V1__WebhookTestRequest *asked =
        (const Echora__Ops__V1__WebhookTestRequest *)(const void *)request->message;
    struct buf body CLEANUP(buf_deinit) = {.max = BODY_MAX};
    const struct uuid id = uuid_v7();
    enum route route;

    if (find_route(asked->route, &route, err) < 0 ||
        body_test(route, id, wall_us(), &body, err) < 0)
        return -1;
    const struct attempt attempt = {.webhook_id = id, .trigger = "test", .asked_by = asked->actor};
    return send_once(context, route, "", attempt, buf_view(&body), request, ret_reply, err);
}

static const char *stored_header_of(const void *ctx, const char *name)
{
    const struct stored_message *m = ctx;

    return stored_header(m->headers, m->n_headers, name);
}

static int no_event(struct err *err)
{
    return err_set(err, ERR_REJECT, "no-event", "webhook replay",
                   "its event is no longer in the stream");
}

/* The event as its consumer would see it. */
static int read_original(enum route route, const struct stored_message *m, struct arena *arena,
                         struct original *ret, struct err *err)
{
    const struct subject_def *def = registry_subject(view_of(m->subject));
    ProtobufCMessage *message = NULL;
    struct envelope envelope;

    *ret = (struct original){.subject = m->subject,
                             .stored_us = m->stored_us,
                             .sequence = m->sequence,
                             .header = stored_header_of,
                             .ctx = m};
    if (route == ROUTE_DLQ)
        return 0;
    if (def == NULL || def->message == NULL)
        return no_event(err);
    if (wire_decode(def->message, m->payload, DECODE_MAX, arena, &message, err) < 0)
        return -1;
    envelope_read(def, message, &envelope);
    ret->message = message;
    ret->time_us = envelope.time_us;
    return 0;
}

int answer_webhook_replay(void *context, const struct request *request,
                          ProtobufCMessage **ret_reply, struct err *err)
{
    const Echora__Ops__V1__WebhookReplayRequest *asked =
        (const Echora__Ops__V1__WebhookReplayRequest *)(const void *)request->message;
    struct adapter *a = context;
    struct buf body CLEANUP(buf_deinit) = {.max = BODY_MAX};
    struct stored_message message;
    struct original original;
    struct uuid wanted, id;
    enum route route;
    uint64_t sequence;
    char stream[64];
    bool found;

    if (find_route(asked->route, &route, err) < 0)
        return -1;
    if (!uuid_parse(view_of(asked->webhook_id), &wanted))
        return err_set(err, ERR_REJECT, "bad-uuid", "webhook replay", "webhook_id: no UUID");
    if (record_find(a->pg, route, wanted, stream, &sequence, err) < 0 ||
        stream_message(lane_bus(a->lane), stream, sequence, request->arena, &message, &found, err) <
            0)
        return -1;
    if (!found)
        return no_event(err);
    if (read_original(route, &message, request->arena, &original, err) < 0 ||
        body_id(route, &original, &id, err) < 0)
        return -1;
    if (uuid_cmp(id, wanted) != 0) /* the stream was made anew and counts from 1 again */
        return no_event(err);
    if (body_build(route, &original, id, &body, err) < 0)
        return -1;
    const struct attempt attempt = {.webhook_id = id,
                                    .stream_sequence = sequence,
                                    .trigger = "replay",
                                    .asked_by = asked->actor};
    return send_once(a, route, stream, attempt, buf_view(&body), request, ret_reply, err);
}

int answer_webhook_enable(void *context, const struct request *request,
                          ProtobufCMessage **ret_reply, struct err *err)
{
    const Echora__Ops__V1__WebhookEnableRequest *asked =
        (const Echora__Ops__V1__WebhookEnableRequest *)(const void *)request->message;
    struct adapter *a = context;
    enum route route;
    Echora__Ops__V1__WebhookEnableReply *reply =
        (Echora__Ops__V1__WebhookEnableReply *)(void *)message_new(
            &echora__ops__v1__webhook_enable_reply__descriptor, request->arena);

    if (reply == NULL)
        return no_memory(err);
    if (find_route(asked->route, &route, err) < 0 ||
        record_enable(a->pg, route, asked->actor, err) < 0)
        return -1;
    log_info("route enabled", LF_STR("route", route_name(route)), LF_STR("actor", asked->actor));
    reply->route = (char *)(uintptr_t)route_name(route);
    *ret_reply = &reply->base;
    return 0;
}
