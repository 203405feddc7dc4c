/* Publishing with the broker's word that it is stored.
 *
 * One message goes as an ordinary request. Many, and many requests, go out back to back with one
 * reply inbox and are matched by the number behind it; what has no answer at the deadline is
 * uncertain. */
// SPDX-License-Identifier: Apache-2.0

#include "events/bus_internal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "contracts/json.h"
#include "contracts/registry.h"
#include "events/base/clock.h"
#include "events/nats_error.h"
#include "events/trace.h"

static bool has_header(const struct bus_message *m, const char *name)
{
    for (size_t i = 0; i < m->n_headers; i++) {
        if (strcmp(m->headers[i].name, name) == 0)
            return true;
    }
    return false;
}

static natsStatus add_default_headers(natsMsg *msg, const struct bus_message *m)
{
    const struct stream_def *stream = registry_stream_of(view_of(m->subject));
    const struct trace_context *trace = trace_current();
    natsStatus s = NATS_OK;

    if (stream != NULL && !has_header(m, "Nats-Expected-Stream"))
        s = natsMsgHeader_Set(msg, "Nats-Expected-Stream", stream->name);
    if (s == NATS_OK && trace != NULL && trace->set && m->subject[0] != '$' &&
        !has_header(m, "traceparent")) {
        char text[TRACEPARENT_MAX];

        trace_format(trace, text);
        s = natsMsgHeader_Set(msg, "traceparent", text);
        if (s == NATS_OK && trace->state[0] != '\0')
            s = natsMsgHeader_Set(msg, "tracestate", trace->state);
    }
    return s;
}

int bus_make_msg(const struct bus_message *message, const char *reply, natsMsg **ret,
                 struct err *err)
{
    natsMsg *msg = NULL;
    natsStatus s;

    if (message->payload.n > INT32_MAX)
        return nats_err_status(err, NATS_MAX_PAYLOAD, message->subject);
    s = natsMsg_Create(&msg, message->subject, reply, (const char *)message->payload.p,
                       (int)message->payload.n);
    for (size_t i = 0; s == NATS_OK && i < message->n_headers; i++)
        s = natsMsgHeader_Add(msg, message->headers[i].name, message->headers[i].value);
    if (s == NATS_OK)
        s = add_default_headers(msg, message);
    if (s != NATS_OK) {
        natsMsg_Destroy(msg);
        return nats_err_status(err, s, message->subject);
    }
    *ret = msg;
    return 0;
}

int bus_parse_ack(struct view text, struct bus_ack *ret, const char *op, struct err *err)
{
    json_error_t why = {0};
    json_t *json = json_loadb(text.p, text.n, 0, &why);
    const json_t *error = json_object_get(json, "error");
    const char *stream = json_string_value(json_object_get(json, "stream"));
    int result = 0;

    if (error != NULL) {
        result = nats_err_api(err, (int)json_integer_value(json_object_get(error, "code")),
                              (int)json_integer_value(json_object_get(error, "err_code")),
                              json_string_value(json_object_get(error, "description")), op);
    } else if (json == NULL && json_no_memory(&why)) {
        result = err_set_dep(err, ERR_UNCERTAIN, DEP_NATS, "no-memory", op,
                             "no memory to read the acknowledgement");
    } else if (stream == NULL) {
        /* Somebody else answered: the subject lies in no stream but has a listener. */
        result = err_set_dep(err, ERR_FATAL, DEP_NATS, "nats-no-stream", op,
                             "the answer is no acknowledgement of a stream");
    } else if (ret != NULL) {
        ret->sequence = (uint64_t)json_integer_value(json_object_get(json, "seq"));
        ret->duplicate = json_is_true(json_object_get(json, "duplicate"));
        snprintf(ret->stream, sizeof(ret->stream), "%s", stream);
    }
    json_decref(json);
    return result;
}

static struct view message_text(natsMsg *msg)
{
    return (struct view){natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)};
}

int bus_publish(struct bus *bus, const struct bus_message *message, struct bus_ack *ret,
                struct err *err)
{
    natsMsg *reply CLEANUP(bus_msgp) = NULL;

    if (bus_ask(bus, message, 0, &reply, err) < 0)
        return -1;
    return bus_parse_ack(message_text(reply), ret, message->subject, err);
}

/* Which message an answer belongs to: the number behind the inbox's last dot. */
static bool answer_index(natsMsg *reply, size_t n, size_t *ret)
{
    const char *dot = strrchr(natsMsg_GetSubject(reply), '.');
    int64_t i;

    if (dot == NULL || !view_to_i64(view_of(dot + 1), 0, (int64_t)n - 1, &i))
        return false;
    *ret = (size_t)i;
    return true;
}

/* What still waits and was refused for missing rights ends with that error; how many. */
static size_t end_refused(struct bus *bus, const struct bus_message messages[], size_t n,
                          struct err errs[])
{
    size_t ended = 0;

    for (size_t i = 0; bus->fail_refused && i < n; i++) {
        if (strcmp(errs[i].code, "nats-timeout") == 0 && bus_refused(bus, messages[i].subject)) {
            bus_err_refused(bus, messages[i].subject, &errs[i]);
            ended++;
        }
    }
    return ended;
}

/* Takes the answer to one of many. */
typedef void take_fn(void *ctx, size_t i, natsMsg *answer, struct err *ret_err);

/* Sends everything, then awaits the answers; errs[i] is what take made of it. */
static int ask_many(struct bus *bus, const struct bus_message messages[], size_t n, take_fn *take,
                    void *ctx, struct err errs[], struct err *err)
{
    natsSubscription *sub CLEANUP(bus_subp) = NULL;
    char inbox[BUS_INBOX_MAX], reply_to[BUS_INBOX_MAX + 24];
    size_t waiting = 0;
    int64_t deadline;
    natsStatus s;

    bus_forget_refusal(bus);
    bus_inbox(bus, inbox);
    snprintf(reply_to, sizeof(reply_to), "%s.*", inbox);
    s = bus->nc != NULL ? natsConnection_SubscribeSync(&sub, bus->nc, reply_to)
                        : NATS_CONNECTION_DISCONNECTED;
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(sub, -1, -1); /* n bounds them */
    if (s != NATS_OK) { /* a caller who looks at errs alone must not read "stored" */
        for (size_t i = 0; i < n; i++) {
            errs[i] = ERR_INIT;
            (void)nats_err_status(&errs[i], s, "ask many");
        }
        return nats_err_status(err, s, "ask many");
    }
    for (size_t i = 0; i < n; i++) {
        natsMsg *msg CLEANUP(bus_msgp) = NULL;

        errs[i] = ERR_INIT;
        snprintf(reply_to, sizeof(reply_to), "%s.%zu", inbox, i);
        if (bus_make_msg(&messages[i], reply_to, &msg, &errs[i]) < 0)
            continue;
        s = natsConnection_PublishMsg(bus->nc, msg);
        if (s != NATS_OK) {
            nats_err_status(&errs[i], s, messages[i].subject);
            continue;
        }
        nats_err_status(&errs[i], NATS_TIMEOUT, messages[i].subject); /* until answered */
        waiting++;
    }
    deadline = mono_ms() + bus->timeout_ms;
    while (waiting > 0) {
        natsMsg *reply CLEANUP(bus_msgp) = NULL;
        int64_t left = deadline - mono_ms();
        size_t i;

        if (left <= 0 || !bus_connected(bus))
            break;
        s = natsSubscription_NextMsg(&reply, sub, left < 250 ? left : 250);
        if (s == NATS_TIMEOUT) {
            waiting -= end_refused(bus, messages, n, errs);
            continue;
        }
        if (s == NATS_NO_RESPONDERS) {
            /* The library consumed the answer and its number with it: all that wait have none. */
            for (i = 0; i < n; i++) {
                if (strcmp(errs[i].code, "nats-timeout") == 0)
                    nats_err_status(&errs[i], NATS_NO_RESPONDERS, messages[i].subject);
            }
            return nats_err_status(err, s, "ask many");
        }
        if (s != NATS_OK)
            return nats_err_status(err, s, "ask many");
        if (!answer_index(reply, n, &i) || strcmp(errs[i].code, "nats-timeout") != 0)
            continue;
        errs[i] = ERR_INIT;
        take(ctx, i, reply, &errs[i]);
        waiting--;
    }
    if (!bus_connected(bus) && waiting > 0)
        return nats_err_status(err, NATS_CONNECTION_DISCONNECTED, "ask many");
    return 0;
}

struct publishing {
    const struct bus_message *messages;
    struct bus_ack *acks;
};

static void take_ack(void *ctx, size_t i, natsMsg *answer, struct err *ret_err)
{
    const struct publishing *p = ctx;

    (void)!bus_parse_ack(message_text(answer), &p->acks[i], p->messages[i].subject, ret_err);
}

int bus_publish_many(struct bus *bus, const struct bus_message messages[], size_t n,
                     struct bus_ack acks[], struct err errs[], struct err *err)
{
    struct publishing p = {.messages = messages, .acks = acks};

    for (size_t i = 0; i < n; i++)
        acks[i] = (struct bus_ack){0};
    return ask_many(bus, messages, n, take_ack, &p, errs, err);
}

struct asking {
    bus_reply_fn *take;
    void *ctx;
};

static void take_reply(void *ctx, size_t i, natsMsg *answer, struct err *ret_err)
{
    const struct asking *a = ctx;

    (void)!a->take(a->ctx, i, message_text(answer), ret_err);
}

int bus_request_many(struct bus *bus, const struct bus_message requests[], size_t n,
                     bus_reply_fn *take, void *ctx, struct err errs[], struct err *err)
{
    struct asking a = {.take = take, .ctx = ctx};

    return ask_many(bus, requests, n, take_reply, &a, errs, err);
}
