/* The request lane: answers requests on core NATS, as one of a queue group named after the worker.
 *
 * Own thread, connection and context, so that a slow batch never delays an answer. nats.c's
 * delivery thread only queues; what does not fit the queue is refused at once, loudly. A body is
 * protobuf, or canonical JSON when Content-Type says so, and the answer is in kind. Errors travel
 * in Nats-Service-Error-Code (the stable code), Nats-Service-Error (text for people) and
 * Echora-Error-Class; an answer above max_payload is such an error, never silence. */
// SPDX-License-Identifier: Apache-2.0

#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>

#include "contracts/json.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/event_internal.h"
#include "events/log.h"
#include "events/nats_error.h"
#include "events/runtime.h"

#define QUEUE_MAX 1024
/* Bodies together; one of any size is taken while nothing else waits. */
#define QUEUE_MAX_BYTES (64u << 20)
#define REPLY_MAX (64u << 20)
#define REPLY_KEEP (1u << 20)
#define REPLY_HEADERS_MAX 1024
#define DRAIN_MS 1000

struct waiting {
    struct waiting *next;
    natsMsg *msg;
    size_t index; /* of the request_spec */
};

struct served {
    const struct request_spec *spec;
    const struct subject_def *def;
    natsSubscription *sub;
    struct desk *desk;
    struct metric *good, *bad, *seconds;
    bool finished;
};

/* What the lane and nats.c's thread share, under lane->mutex. */
struct desk {
    struct lane *lane;
    struct waiting *head, **tail;
    size_t n_waiting, bytes_waiting;
    struct served *served;
    size_t n;
    struct arena *arena;
    struct buf reply;
};

static const struct metric_def requests_def = {"echora_requests_total", METRIC_COUNTER,
                                               "Requests answered.", "subject,outcome", NULL};
static const struct metric_def seconds_def = {"echora_request_duration_seconds", METRIC_HISTOGRAM,
                                              "Time from taking a request to its answer.",
                                              "subject", NULL};

const char *request_header(const struct request *request, const char *name)
{
    return native_header(request->native, name);
}

static void msgp(natsMsg **msg)
{
    natsMsg_Destroy(*msg);
}

static natsStatus send_reply(struct lane *lane, const char *to, struct view body, bool json,
                             const struct err *error)
{
    natsMsg *msg CLEANUP(msgp) = NULL;
    natsStatus s = natsMsg_Create(&msg, to, NULL, body.p, (int)body.n);

    if (s == NATS_OK)
        s = natsMsgHeader_Set(msg, "Content-Type",
                              json ? "application/json" : "application/protobuf");
    if (s == NATS_OK && error != NULL) {
        s = natsMsgHeader_Set(msg, "Nats-Service-Error-Code", error->code);
        if (s == NATS_OK)
            s = natsMsgHeader_Set(msg, "Nats-Service-Error", error->text);
        if (s == NATS_OK)
            s = natsMsgHeader_Set(msg, "Echora-Error-Class", err_class_name(error->class));
    }
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(bus_native(lane->bus), msg);
    return s;
}

static void refuse_now(struct lane *lane, natsMsg *msg, const char *code, const char *text)
{
    struct err error = ERR_INIT;

    if (natsMsg_GetReply(msg) == NULL)
        return;
    err_set(&error, ERR_UNAVAILABLE, code, "answer", "%s", text);
    (void)!send_reply(lane, natsMsg_GetReply(msg), VIEW_LIT(""), false, &error);
}

static size_t body_size(natsMsg *msg)
{
    return (size_t)natsMsg_GetDataLength(msg);
}

/* Under the lock. */
static bool has_room(const struct desk *desk, natsMsg *msg)
{
    return desk->n_waiting == 0 ||
           (desk->n_waiting < QUEUE_MAX && desk->bytes_waiting + body_size(msg) <= QUEUE_MAX_BYTES);
}

/* On nats.c's delivery thread. */
static void on_request(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    struct served *served = closure;
    struct desk *desk = served->desk;
    struct waiting *w = calloc(1, sizeof(*w));
    bool room;

    pthread_mutex_lock(&desk->lane->mutex);
    room = w != NULL && has_room(desk, msg);
    if (room) {
        w->msg = msg;
        w->index = (size_t)(served - desk->served);
        *desk->tail = w;
        desk->tail = &w->next;
        desk->n_waiting++;
        desk->bytes_waiting += body_size(msg);
    }
    desk->lane->woken = true;
    pthread_cond_signal(&desk->lane->cond);
    pthread_mutex_unlock(&desk->lane->mutex);
    if (room)
        return;
    free(w);
    refuse_now(desk->lane, msg, "overloaded", "too many requests wait");
    natsMsg_Destroy(msg);
}

static void on_complete(void *closure)
{
    struct served *served = closure;

    pthread_mutex_lock(&served->desk->lane->mutex);
    served->finished = true;
    served->desk->lane->woken = true;
    pthread_cond_signal(&served->desk->lane->cond);
    pthread_mutex_unlock(&served->desk->lane->mutex);
}

static bool is_json(const char *content_type, bool by_default)
{
    const struct view v = view_of(content_type);

    if (content_type == NULL)
        return by_default;

    return view_is(v, "application/json") || view_starts_with(v, "application/json;");
}

static int decode(struct desk *desk, const struct subject_def *def, struct request *r, bool json,
                  struct err *err)
{
    ProtobufCMessage *message = NULL;
    int result = 0;

    if (def->message == NULL)
        return 0;
    if (json) {
        const struct view body = r->payload.n > 0 ? view_of_bytes(r->payload) : VIEW_LIT("{}");

        result = json_decode(def->message, body, desk->arena, &message, err);
    } else {
        result = wire_decode(def->message, r->payload, (size_t)desk->lane->rt->config->decode_max,
                             desk->arena, &message, err);
    }
    r->message = message;
    return result;
}

/* Fills desk->reply or *err. */
static int answer(struct desk *desk, const struct served *served, struct request *r, bool json,
                  struct err *err)
{
    ProtobufCMessage *reply = NULL;
    struct err trouble = ERR_INIT;

    if (decode(desk, served->def, r, json, err) < 0)
        return -1;
    if (!served->spec->always && watch_trouble(desk->lane->rt->watch, &trouble)) {
        *err = trouble;
        return -1;
    }
    if (served->spec->answer(desk->lane->context, r, &reply, err) < 0) {
        if (err->class == ERR_UNAVAILABLE)
            watch_trip(desk->lane->rt->watch, err);
        return -1;
    }
    if (reply == NULL && served->def->reply != NULL)
        return err_set(err, ERR_RETRY, "internal", served->spec->subject, "no answer was made");
    if (reply == NULL)
        return 0;
    if ((json ? json_encode(reply, &desk->reply, err) : wire_encode(reply, &desk->reply, err)) < 0)
        return -1;
    const int64_t max = bus_max_payload(desk->lane->bus) - REPLY_HEADERS_MAX;
    if ((int64_t)desk->reply.n > max)
        return err_set(err, ERR_REJECT, "reply-too-large", served->spec->subject,
                       "the answer has %zu bytes, max_payload leaves %lld: ask for less",
                       desk->reply.n, (long long)max);
    return 0;
}

static void log_answer(const struct served *served, const struct err *err, int64_t began_us)
{
    const int64_t took = mono_us() - began_us;

    if (err == NULL)
        log_debug("request answered", LF_STR("subject", served->spec->subject), LF_I64("us", took));
    else
        LOG_AT_(err->class == ERR_REJECT ? LOG_LEVEL_INFO : LOG_LEVEL_WARN, "request refused",
                LF_STR("subject", served->spec->subject), LF_STR("code", err->code),
                LF_STR("class", err_class_name(err->class)), LF_STR("op", err->op),
                LF_STR("reason", err->text), LF_I64("us", took));
}

static void serve(struct desk *desk, const struct served *served, natsMsg *msg)
{
    const bool json = is_json(native_header(msg, "Content-Type"), served->spec->json);
    const char *parent_text = native_header(msg, "traceparent");
    const char *state = native_header(msg, "tracestate");
    const int64_t began = mono_us();
    struct trace_context parent;
    struct err err = ERR_INIT;
    struct span span;
    char name[80];
    struct request r = {
        .def = served->def,
        .arena = desk->arena,
        .payload = {(const uint8_t *)natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)},
        .native = msg};

    if (natsMsg_GetReply(msg) == NULL)
        return; /* nobody waits for an answer */
    snprintf(name, sizeof(name), "answer %s", served->spec->subject);
    const bool has_parent =
        parent_text != NULL && trace_parse(view_of(parent_text), view_of(state), &parent);
    span_start(&span, has_parent ? &parent : NULL, SPAN_SERVER, name);
    r.trace = span.context;
    r.traced = has_parent;
    trace_set_current(&span.context);
    arena_reset(desk->arena);
    buf_reset(&desk->reply);
    const bool good = answer(desk, served, &r, json, &err) == 0;
    KILL_POINT("before-reply");
    const natsStatus s =
        send_reply(desk->lane, natsMsg_GetReply(msg), good ? buf_view(&desk->reply) : VIEW_LIT(""),
                   json, good ? NULL : &err);
    if (s != NATS_OK)
        log_warn("answer not sent", LF_STR("subject", served->spec->subject),
                 LF_STR("reason", natsStatus_GetText(s)));
    log_answer(served, good ? NULL : &err, began);
    trace_set_current(NULL);
    span_end(&span, good ? NULL : &err);
    if (desk->reply.capacity > REPLY_KEEP)
        buf_deinit(&desk->reply); /* one large answer must not stay resident */
    metric_add(good ? served->good : served->bad, 1);
    metric_observe(served->seconds, (double)(mono_us() - began) / 1e6);
    if (err.class == ERR_FATAL)
        runtime_stop(desk->lane->rt, &err);
}

static struct waiting *next_waiting(struct desk *desk)
{
    struct waiting *w;

    pthread_mutex_lock(&desk->lane->mutex);
    w = desk->head;
    if (w != NULL) {
        desk->head = w->next;
        if (desk->head == NULL)
            desk->tail = &desk->head;
        desk->n_waiting--;
        desk->bytes_waiting -= body_size(w->msg);
    }
    pthread_mutex_unlock(&desk->lane->mutex);
    return w;
}

static void serve_all(struct desk *desk)
{
    struct waiting *w;

    while ((w = next_waiting(desk)) != NULL) {
        health_beat(desk->lane->rt->health, desk->lane->index);
        serve(desk, &desk->served[w->index], w->msg);
        natsMsg_Destroy(w->msg);
        free(w);
    }
}

static int desk_subscribe(struct desk *desk, struct err *err)
{
    const struct runtime *rt = desk->lane->rt;

    for (size_t i = 0; i < desk->n; i++) {
        struct served *served = &desk->served[i];
        natsStatus s = natsConnection_QueueSubscribe(&served->sub, bus_native(desk->lane->bus),
                                                     served->spec->subject, rt->spec->name,
                                                     on_request, served);
        if (s == NATS_OK)
            s = natsSubscription_SetOnCompleteCB(served->sub, on_complete, served);
        if (s != NATS_OK)
            return nats_err_status(err, s, served->spec->subject);
    }
    return 0;
}

static struct desk *desk_new(struct lane *lane)
{
    const struct worker_spec *spec = lane->rt->spec;
    struct desk *desk = calloc(1, sizeof(*desk));

    if (desk == NULL)
        return NULL;
    desk->lane = lane;
    desk->tail = &desk->head;
    desk->n = spec->n_requests;
    desk->served = calloc(desk->n, sizeof(*desk->served));
    desk->arena = arena_new((size_t)lane->rt->config->decode_max * 2 + REPLY_MAX);
    buf_init(&desk->reply, REPLY_MAX);
    if (desk->served == NULL || desk->arena == NULL) {
        arena_free(desk->arena);
        free(desk->served);
        free(desk);
        return NULL;
    }
    for (size_t i = 0; i < desk->n; i++) {
        const char *subject = spec->requests[i].subject;

        desk->served[i] = (struct served){
            .spec = &spec->requests[i],
            .def = registry_must(subject),
            .desk = desk,
            .good = metric_series(&requests_def, (const char *[]){subject, "answered"}),
            .bad = metric_series(&requests_def, (const char *[]){subject, "error"}),
            .seconds = metric_series(&seconds_def, (const char *[]){subject}),
        };
    }
    return desk;
}

static bool all_finished(struct desk *desk)
{
    bool finished = true;

    pthread_mutex_lock(&desk->lane->mutex);
    for (size_t i = 0; i < desk->n; i++)
        finished &= desk->served[i].sub == NULL || desk->served[i].finished;
    pthread_mutex_unlock(&desk->lane->mutex);
    return finished;
}

/* Leaves the queue group, answers what has come, ends. */
static void desk_close(struct desk *desk)
{
    const int64_t until = mono_ms() + DRAIN_MS;

    for (size_t i = 0; i < desk->n; i++) {
        if (desk->served[i].sub != NULL)
            natsSubscription_DrainTimeout(desk->served[i].sub, DRAIN_MS);
    }
    do {
        serve_all(desk);
        if (all_finished(desk))
            break;
        lane_wait_until(desk->lane, mono_ms() + 50);
    } while (mono_ms() < until);
    /* Ends a drain that comes to no end: the server is away. */
    for (size_t i = 0; i < desk->n; i++)
        natsSubscription_Destroy(desk->served[i].sub);
    /* Until then nats.c calls us; should it hang, the drain timeout ends the process. */
    while (!all_finished(desk))
        lane_wait_until(desk->lane, mono_ms() + 50);
    serve_all(desk);
    arena_free(desk->arena);
    buf_deinit(&desk->reply);
    free(desk->served);
    free(desk);
}

void request_run(struct lane *lane)
{
    struct err err = ERR_INIT;
    struct desk *desk;

    if (lane_open(lane, &err) < 0) {
        if (err.class != ERR_NONE)
            runtime_stop(lane->rt, &err);
        return;
    }
    desk = desk_new(lane);
    if (desk == NULL) {
        err_set(&err, ERR_RETRY, "no-memory", "start request lane", "out of memory");
        runtime_stop(lane->rt, &err);
        return;
    }
    if (desk_subscribe(desk, &err) < 0) {
        runtime_stop(lane->rt, &err);
    } else {
        atomic_store(&lane->serving, true);
        runtime_note_serving(lane->rt);
        while (!runtime_stopping(lane->rt)) {
            health_beat(lane->rt->health, lane->index);
            lane_reload(lane);
            serve_all(desk);
            lane_wait_until(lane, mono_ms() + 1000);
        }
    }
    desk_close(desk);
}
