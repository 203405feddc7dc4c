/* What is done over a connection: pings, hints, requests. Without one they fail at once. */
// SPDX-License-Identifier: Apache-2.0

#include "events/bus_internal.h"

#include <jansson.h>
#include <stdio.h>

#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/base/hash.h"
#include "events/log.h"
#include "events/nats_error.h"

#define SLICE_MS 50 /* a refusal is noticed within this */
#define REQUEST_MAX (64u << 20)

int bus_ping(struct bus *bus, int64_t timeout_ms, struct err *err)
{
    natsStatus s;

    if (!bus_connected(bus))
        return nats_err_status(err, NATS_CONNECTION_DISCONNECTED, "ping NATS");
    s = natsConnection_FlushTimeout(bus->nc, timeout_ms > 0 ? timeout_ms : bus->timeout_ms);
    if (s == NATS_TIMEOUT)
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-timeout", "ping NATS",
                           "no answer within %lld ms",
                           (long long)(timeout_ms > 0 ? timeout_ms : bus->timeout_ms));
    return s == NATS_OK ? 0 : nats_err_status(err, s, "ping NATS");
}

int64_t bus_max_payload(const struct bus *bus)
{
    return natsConnection_GetMaxPayload(bus->nc);
}

void *bus_native(struct bus *bus)
{
    return bus->nc;
}

void bus_inbox(const struct bus *bus, char out[static BUS_INBOX_MAX])
{
    uint8_t random[12];
    size_t n = (size_t)snprintf(out, BUS_INBOX_MAX, "%s.", bus->inbox_prefix);

    random_bytes(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        n += (size_t)snprintf(out + n, BUS_INBOX_MAX - n, "%02x", random[i]);
}

void bus_hint(struct bus *bus, const char *subject)
{
    if (natsConnection_PublishString(bus->nc, subject, "") != NATS_OK)
        log_debug("hint not sent", LF_STR("subject", subject));
}

static enum err_class class_of_name(const char *name)
{
    for (enum err_class c = ERR_RETRY; c <= ERR_FATAL; c++) {
        if (name != NULL && strcmp(name, err_class_name(c)) == 0)
            return c;
    }
    return ERR_REJECT;
}

/* An answer that is an error (headers of NATS services). */
static int reply_error(natsMsg *reply, const char *op, struct err *err)
{
    const char *code = NULL, *text = NULL, *class = NULL;

    if (natsMsgHeader_Get(reply, "Nats-Service-Error-Code", &code) != NATS_OK)
        return 0;
    if (natsMsgHeader_Get(reply, "Nats-Service-Error", &text) != NATS_OK)
        text = "refused";
    if (natsMsgHeader_Get(reply, "Echora-Error-Class", &class) != NATS_OK)
        class = NULL;
    return err_set(err, class_of_name(class), code, op, "%s", text);
}

void bus_forget_refusal(struct bus *bus)
{
    pthread_mutex_lock(&bus->refusal_mutex);
    bus->refusal[0] = '\0';
    pthread_mutex_unlock(&bus->refusal_mutex);
}

static bool listening_refused(const struct bus *bus)
{
    return strcasestr(bus->refusal, "violation for subscription") != NULL;
}

bool bus_refused(struct bus *bus, const char *subject)
{
    char quoted[200];
    bool refused;

    snprintf(quoted, sizeof(quoted), "\"%s\"", subject);
    pthread_mutex_lock(&bus->refusal_mutex);
    refused = strstr(bus->refusal, quoted) != NULL || listening_refused(bus);
    pthread_mutex_unlock(&bus->refusal_mutex);
    return refused;
}

int bus_err_refused(struct bus *bus, const char *subject, struct err *err)
{
    bool listening;

    pthread_mutex_lock(&bus->refusal_mutex);
    listening = listening_refused(bus);
    pthread_mutex_unlock(&bus->refusal_mutex);
    if (listening)
        return err_set_dep(err, ERR_FATAL, DEP_NATS, "nats-permission", "ask NATS",
                           "user \"%s\" may not listen for answers on %s; see ops/nats/users.py",
                           bus->user, bus->inbox_prefix);
    return err_set_dep(err, ERR_FATAL, DEP_NATS, "nats-permission", "ask NATS",
                       "user \"%s\" may not publish on %s; see ops/nats/users.py", bus->user,
                       subject);
}

int bus_ask(struct bus *bus, const struct bus_message *message, int64_t timeout_ms, natsMsg **ret,
            struct err *err)
{
    natsSubscription *sub CLEANUP(bus_subp) = NULL;
    natsMsg *msg CLEANUP(bus_msgp) = NULL;
    char inbox[BUS_INBOX_MAX];
    int64_t wait = timeout_ms > 0 ? timeout_ms : bus->timeout_ms, deadline = mono_ms() + wait;
    natsStatus s;

    if (bus->fail_refused)
        bus_inbox(bus, inbox);
    if (bus_make_msg(message, bus->fail_refused ? inbox : NULL, &msg, err) < 0)
        return -1;
    if (!bus->fail_refused) {
        s = bus->nc != NULL ? natsConnection_RequestMsg(ret, bus->nc, msg, wait)
                            : NATS_CONNECTION_DISCONNECTED;
        return s == NATS_OK ? 0 : nats_err_status(err, s, message->subject);
    }
    /* The library's own request can't be ended early. */
    bus_forget_refusal(bus);
    s = bus_connected(bus) ? natsConnection_SubscribeSync(&sub, bus->nc, inbox)
                           : NATS_CONNECTION_DISCONNECTED;
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(bus->nc, msg);
    while (s == NATS_OK) {
        int64_t left = deadline - mono_ms();

        s = natsSubscription_NextMsg(ret, sub, left < 1 ? 1 : left < SLICE_MS ? left : SLICE_MS);
        if (s == NATS_OK)
            return 0;
        if (s == NATS_TIMEOUT && bus_refused(bus, message->subject))
            return bus_err_refused(bus, message->subject, err);
        if (s == NATS_TIMEOUT && !bus_connected(bus))
            s = NATS_CONNECTION_DISCONNECTED;
        else if (s == NATS_TIMEOUT && left > SLICE_MS)
            s = NATS_OK;
    }
    return nats_err_status(err, s, message->subject);
}

int bus_request(struct bus *bus, const struct bus_message *request, int64_t timeout_ms,
                struct arena *arena, struct bytes *ret_reply, struct err *err)
{
    natsMsg *reply CLEANUP(bus_msgp) = NULL;
    size_t n;
    char *copy;

    if (bus_ask(bus, request, timeout_ms, &reply, err) < 0)
        return -1;
    if (reply_error(reply, request->subject, err) < 0)
        return -1;
    n = (size_t)natsMsg_GetDataLength(reply);
    copy = arena_alloc(arena, n + 1);
    if (copy == NULL)
        return err_set(err, ERR_RETRY, "no-memory", request->subject, "reply does not fit");
    memcpy(copy, natsMsg_GetData(reply), n);
    copy[n] = '\0';
    *ret_reply = (struct bytes){(const uint8_t *)copy, n};
    return 0;
}

int bus_js_reply(struct view reply, const char *op, struct json_t **ret, struct err *err)
{
    json_t *json = json_loadb(reply.p, reply.n, 0, NULL);
    const json_t *error = json_object_get(json, "error");

    if (json == NULL)
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", op,
                           "the reply is no JSON");
    if (error != NULL) {
        nats_err_api(err, (int)json_integer_value(json_object_get(error, "code")),
                     (int)json_integer_value(json_object_get(error, "err_code")),
                     json_string_value(json_object_get(error, "description")), op);
        json_decref(json);
        return -1;
    }
    *ret = json;
    return 0;
}

int bus_js_api(struct bus *bus, const char *subject, struct view body, struct json_t **ret,
               struct err *err)
{
    return bus_js_api_within(bus, subject, body, 0, ret, err);
}

int bus_js_api_within(struct bus *bus, const char *subject, struct view body, int64_t timeout_ms,
                      struct json_t **ret, struct err *err)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(REQUEST_MAX);
    const struct bus_message request = {.subject = subject, .payload = bytes_of(body)};
    struct bytes reply;

    if (arena == NULL)
        return err_set(err, ERR_RETRY, "no-memory", subject, "out of memory");
    if (bus_request(bus, &request, timeout_ms, arena, &reply, err) < 0)
        return -1;
    return bus_js_reply(view_of_bytes(reply), subject, ret, err);
}

int bus_call(struct bus *bus, const char *subject, const ProtobufCMessage *request,
             const ProtobufCMessageDescriptor *reply_type, int64_t timeout_ms, struct arena *arena,
             ProtobufCMessage **ret_reply, struct err *err)
{
    static const struct bus_header headers[] = {{"Content-Type", "application/protobuf"}};
    struct buf body CLEANUP(buf_deinit);
    struct bytes reply;
    struct err e = ERR_INIT;

    buf_init(&body, REQUEST_MAX);
    if (wire_encode(request, &body, err) < 0)
        return -1;
    const struct bus_message message = {.subject = subject,
                                        .payload = bytes_of(buf_view(&body)),
                                        .headers = headers,
                                        .n_headers = ARRAY_LEN(headers)};
    if (bus_request(bus, &message, timeout_ms, arena, &reply, &e) < 0) {
        if (strcmp(e.code, "nats-no-responders") == 0 || strcmp(e.code, "nats-timeout") == 0)
            e.class = ERR_UNAVAILABLE, e.dependency = DEP_CATALOGUE;
        else if ((e.class == ERR_UNAVAILABLE || e.class == ERR_FATAL) && e.dependency == DEP_NONE)
            e.class = ERR_UNAVAILABLE, e.dependency = DEP_CATALOGUE; /* what ends it ends not us */
        if (err != NULL)
            *err = e;
        return -1;
    }
    if (wire_decode(reply_type, reply, REQUEST_MAX, arena, ret_reply, &e) < 0)
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", subject,
                           "the reply does not decode: %s", e.text);
    return 0;
}
