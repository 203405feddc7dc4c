/* One thread asks once a second whether the bucket has changed, and reads the keys of this worker's
 * consumers when it has. It is a thread of its own because a JetStream that hangs must not keep the
 * watch from its pings. What can't be read leaves everything as it was. Each time it also looks how
 * far one of the consumers is (standing.h). */
// SPDX-License-Identifier: Apache-2.0

#include "events/control.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "events/runtime.h"
#include "events/stream.h"

#define INTERVAL_MS 1000
/* Of one question: the end of the process waits for it, and for more beside it. */
#define LOOK_TIMEOUT_MS 2000

struct control {
    struct runtime *rt;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    bool stopping;
    struct stream_state seen; /* of the bucket, when the keys were read last */
    size_t round;
};

static void read_text(const char *base64, char *out, size_t size)
{
    unsigned char value[512];
    char clean[256];
    const size_t n = strlen(base64), most = sizeof(value) / 4 * 4; /* whole groups */
    /* A value that is too long is cut. */
    const int decoded =
        EVP_DecodeBlock(value, (const unsigned char *)base64, (int)(n < most ? n : most));

    if (decoded <= 0)
        return;
    const struct view given = {(const char *)value, strnlen((const char *)value, (size_t)decoded)};
    snprintf(out, size, "%.*s",
             VIEW_ARG(utf8_clean(given, clean, size < sizeof(clean) ? size : sizeof(clean))));
    for (char *p = out; *p != '\0'; p++)
        *p = (unsigned char)*p < ' ' ? ' ' : *p;
}

static int read_within(struct bus *bus, const char *key, int64_t timeout_ms,
                       struct control_value *ret, struct err *err)
{
    char body[320];
    struct err e = ERR_INIT;
    json_t *reply;
    int64_t seconds = 0;
    int32_t nanos = 0;

    *ret = (struct control_value){0};
    snprintf(body, sizeof(body), "{\"last_by_subj\":\"" CONTROL_KEYS "%s\"}", key);
    if (bus_js_api_within(bus, "$JS.API.STREAM.MSG.GET." CONTROL_STREAM, view_of(body), timeout_ms,
                          &reply, &e) < 0) {
        /* No message found, no such stream. */
        if (strcmp(e.code, "nats-10037") == 0 || strcmp(e.code, "nats-10059") == 0)
            return 0;
        *err = e;
        return -1;
    }
    const json_t *message = json_object_get(reply, "message");
    const char *data = json_string_value(json_object_get(message, "data"));
    const json_t *headers = json_object_get(message, "hdrs");
    ret->sequence = (uint64_t)json_integer_value(json_object_get(message, "seq"));
    /* A deleted key is an empty message with the header KV-Operation. */
    ret->found = json_string_length(headers) == 0 || (data != NULL && data[0] != '\0');
    if (data != NULL)
        read_text(data, ret->text, sizeof(ret->text));
    if (rfc3339_parse(view_of(json_string_value(json_object_get(message, "time"))), &seconds,
                      &nanos))
        ret->since_us = seconds * 1000000 + nanos / 1000;
    json_decref(reply);
    return 0;
}

int control_read(struct bus *bus, const char *key, struct control_value *ret, struct err *err)
{
    return read_within(bus, key, 0, ret, err);
}

int control_write(struct bus *bus, const char *key, const char *text, uint64_t *sequence,
                  struct err *err)
{
    char subject[256], expected[24];
    const struct bus_header headers[] = {{"Nats-Expected-Stream", CONTROL_STREAM},
                                         {"Nats-Expected-Last-Subject-Sequence", expected}};
    const struct bus_message message = {.subject = subject,
                                        .payload = bytes_of(view_of(text)),
                                        .headers = headers,
                                        .n_headers = ARRAY_LEN(headers)};
    struct bus_ack ack;

    snprintf(subject, sizeof(subject), CONTROL_KEYS "%s", key);
    snprintf(expected, sizeof(expected), "%llu", (unsigned long long)*sequence);
    if (bus_publish(bus, &message, &ack, err) < 0)
        return -1;
    *sequence = ack.sequence;
    return 0;
}

static int pause_within(struct bus *bus, const char *durable, int64_t timeout_ms,
                        struct pause_state *ret, struct err *err)
{
    char key[160];
    struct control_value value;

    snprintf(key, sizeof(key), "paused.%s", durable);
    if (read_within(bus, key, timeout_ms, &value, err) < 0)
        return -1;
    *ret = (struct pause_state){.paused = value.found, .since_us = value.since_us};
    snprintf(ret->why, sizeof(ret->why), "%s", value.text);
    return 0;
}

int control_pause_of(struct bus *bus, const char *durable, struct pause_state *ret, struct err *err)
{
    return pause_within(bus, durable, 0, ret, err);
}

int control_look(struct runtime *rt, struct binding *b, struct err *err)
{
    struct pause_state state;

    if (pause_within(rt->bus, b->spec->durable, LOOK_TIMEOUT_MS, &state, err) < 0)
        return -1;
    if (atomic_exchange(&b->paused, state.paused) == state.paused)
        return 0;
    metric_set(b->metrics.paused, state.paused ? 1 : 0);
    health_set_paused(rt->health, b->spec->durable, state.paused);
    if (state.paused)
        log_warn("consumer paused, its fetching stops", LF_STR("consumer", b->spec->durable),
                 LF_STR("reason", state.why));
    else
        log_info("consumer resumed, its fetching goes on", LF_STR("consumer", b->spec->durable));
    runtime_wake(rt);
    return 0;
}

/* Reads the keys when the bucket is not the one that was seen. False: the server does not tell. */
static bool look_at_all(struct control *c)
{
    struct stream_state now = {0};
    struct err err = ERR_INIT;

    if (!bus_connected(c->rt->bus) ||
        (stream_state_within(c->rt->bus, CONTROL_STREAM, LOOK_TIMEOUT_MS, &now, &err) < 0 &&
         strcmp(err.code, "nats-10059") != 0))
        return false;
    if (strcmp(now.created, c->seen.created) == 0 && now.last_sequence == c->seen.last_sequence)
        return true;
    for (size_t i = 0; i < c->rt->spec->n_consumers; i++)
        if (control_look(c->rt, &c->rt->bindings[i], &err) < 0)
            return false;
    c->seen = now;
    return true;
}

/* One consumer at a time, and none when the server did not answer just now: one that hangs shall
 * not hold up the end of the process for longer. */
static void look_at_next(struct control *c, bool answers)
{
    const size_t n = c->rt->spec->n_consumers;

    for (size_t i = 0; i < n && !answers; i++)
        standing_unknown(&c->rt->bindings[i].standing);
    if (n == 0 || !answers)
        return;
    struct binding *b = &c->rt->bindings[c->round++ % n];
    standing_look(&b->standing, c->rt->bus, b->stream, b->spec->durable, LOOK_TIMEOUT_MS);
}

static void *run(void *arg)
{
    struct control *c = arg;

    pthread_mutex_lock(&c->mutex);
    while (!c->stopping) {
        const int64_t until_ms = mono_ms() + INTERVAL_MS;
        const struct timespec until = {.tv_sec = until_ms / 1000,
                                       .tv_nsec = until_ms % 1000 * 1000000};

        pthread_mutex_unlock(&c->mutex);
        look_at_next(c, look_at_all(c));
        pthread_mutex_lock(&c->mutex);
        while (!c->stopping && mono_ms() < until_ms)
            pthread_cond_timedwait(&c->cond, &c->mutex, &until);
    }
    pthread_mutex_unlock(&c->mutex);
    return NULL;
}

int control_start(struct runtime *rt, struct err *err)
{
    struct control *c = calloc(1, sizeof(*c));
    pthread_condattr_t attr;

    if (c == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "start control", "out of memory");
    c->rt = rt;
    pthread_mutex_init(&c->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&c->cond, &attr);
    pthread_condattr_destroy(&attr);
    rt->control = c;
    if (pthread_create(&c->thread, NULL, run, c) != 0)
        return err_set(err, ERR_RETRY, "no-memory", "start control", "no thread");
    return 0;
}

void control_stop(struct runtime *rt)
{
    struct control *c = rt->control;

    if (c == NULL)
        return;
    pthread_mutex_lock(&c->mutex);
    c->stopping = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->mutex);
    pthread_join(c->thread, NULL);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mutex);
    free(c);
    rt->control = NULL;
}
