// SPDX-License-Identifier: Apache-2.0
#include "events/suspect.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"

#define REPLY_MAX (64u << 10)
#define TELL_EVERY_MS 60000
/* After a timeout (no rights, a broker that stands still) nothing is asked for this long: each
 * event would wait as long again. */
#define REST_MS 60000
#define COUNT_MAX 1000000

void suspect_subject(char out[static SUSPECT_SUBJECT_MAX], const char *durable, uint64_t sequence)
{
    snprintf(out, SUSPECT_SUBJECT_MAX, "suspect.%s.%" PRIu64, durable, sequence);
}

size_t suspect_format(const struct suspect_mark *mark, char out[static SUSPECT_TEXT_MAX])
{
    char time[RFC3339_MAX];
    json_t *json;
    size_t n;

    rfc3339_format(mark->time_us / 1000000, 0, time);
    json = json_pack("{s:i, s:i, s:b, s:I, s:i, s:s, s:s}", "begun", (int)mark->begun, "retried",
                     (int)mark->retried, "done", mark->done, "stream_created",
                     (json_int_t)mark->stream_created_s, "deliveries", (int)mark->deliveries,
                     "worker", mark->worker, "time", time);
    n = json_dumpb(json, out, SUSPECT_TEXT_MAX, JSON_COMPACT);
    json_decref(json);
    return n <= SUSPECT_TEXT_MAX ? n : 0;
}

static unsigned count_of(const json_t *json, const char *name)
{
    const json_int_t n = json_integer_value(json_object_get(json, name));

    return n < 0 ? 0 : n < COUNT_MAX ? (unsigned)n : COUNT_MAX;
}

static int64_t time_of(const char *text)
{
    int64_t seconds;
    int32_t nanos;

    return rfc3339_parse(view_of(text), &seconds, &nanos) ? seconds * 1000000 + nanos / 1000 : 0;
}

void suspect_parse(struct view text, int64_t stream_created_s, struct suspect_mark *ret)
{
    json_t *json = text.n > 0 ? json_loadb(text.p, text.n, 0, NULL) : NULL;
    const json_t *created = json_object_get(json, "stream_created");

    *ret = (struct suspect_mark){0};
    if (json_is_integer(created) &&
        (json_integer_value(created) == stream_created_s || FAULT("crash-stream-unchecked"))) {
        ret->begun = count_of(json, "begun");
        ret->retried = count_of(json, "retried");
        ret->done = json_is_true(json_object_get(json, "done"));
        ret->stream_created_s = stream_created_s;
        ret->deliveries = count_of(json, "deliveries");
        ret->time_us = time_of(json_string_value(json_object_get(json, "time")));
    }
    json_decref(json);
}

static bool is_away(const struct lane *lane, const struct err *err)
{
    return !bus_connected(lane->bus) || strcmp(err->code, "nats-connection") == 0;
}

static int note_timeout(struct lane *lane, const struct err *err)
{
    if (strcmp(err->code, "nats-timeout") == 0)
        atomic_store(&lane->rt->suspect_rest_ms, mono_ms() + REST_MS);
    return -1;
}

static void tell(struct lane *lane, const char *durable, const struct err *err)
{
    struct runtime *rt = lane->rt;
    const int64_t now = mono_ms();
    int64_t due = atomic_load(&rt->suspect_tell_ms);

    if (now < due ||
        !atomic_compare_exchange_strong(&rt->suspect_tell_ms, &due, now + TELL_EVERY_MS))
        return;
    log_warn("no evidence of crashes: " SUSPECT_STREAM " can't be used; an event that ends its "
             "process again and again is found late; run `echora streams apply`",
             LF_STR("consumer", durable), LF_STR("code", err->code), LF_STR("op", err->op),
             LF_STR("reason", err->text));
}

/* The newest mark of the event; zeroes when there is none. */
static int read_mark(struct lane *lane, const struct binding *b, uint64_t sequence,
                     struct suspect_mark *ret, struct err *err)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(REPLY_MAX);
    char subject[SUSPECT_SUBJECT_MAX], api[SUSPECT_SUBJECT_MAX + 64];
    struct bytes reply;

    suspect_subject(subject, b->spec->durable, sequence);
    snprintf(api, sizeof(api), "$JS.API.DIRECT.GET." SUSPECT_STREAM ".%s", subject);
    if (arena == NULL)
        return err_set(err, ERR_RETRY, "no-memory", api, "out of memory");
    if (mono_ms() < atomic_load(&lane->rt->suspect_rest_ms))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-timeout", api, "not asked again");
    /* A subject without a message is answered by a status and no body. */
    if (bus_request(lane->bus, &(struct bus_message){.subject = api}, 0, arena, &reply, err) < 0)
        return note_timeout(lane, err);
    suspect_parse((struct view){(const char *)reply.p, reply.n}, atomic_load(&b->stream_created_s),
                  ret);
    return 0;
}

static int write_mark(struct lane *lane, const struct binding *b, const struct held *h,
                      unsigned begun, bool done, struct err *err)
{
    const struct suspect_mark mark = {.begun = begun,
                                      .retried = h->retried,
                                      .done = done,
                                      .stream_created_s = atomic_load(&b->stream_created_s),
                                      .deliveries = h->delivery.deliveries,
                                      .worker = lane->rt->instance,
                                      .time_us = wall_us()};
    char subject[SUSPECT_SUBJECT_MAX], text[SUSPECT_TEXT_MAX];
    const size_t n = suspect_format(&mark, text);

    suspect_subject(subject, b->spec->durable, h->delivery.stream_sequence);
    if (n == 0)
        return err_set(err, ERR_RETRY, "no-memory", subject, "the mark can't be written");
    const struct bus_message message = {.subject = subject, .payload = {(const uint8_t *)text, n}};
    return bus_publish(lane->bus, &message, NULL, err) == 0 ? 0 : note_timeout(lane, err);
}

/* Reads once for as long as the event is in hand, and marks that its handling begins. */
static int put_on_record(struct lane *lane, const struct binding *b, struct held *h,
                         struct err *err)
{
    if (!h->looked) {
        struct suspect_mark mark;

        if (read_mark(lane, b, h->delivery.stream_sequence, &mark, err) < 0)
            return -1;
        h->begun = mark.begun;
        h->retried = mark.retried;
        h->looked = true;
    }
    if (verdict_is_crash(h->delivery.deliveries, true, h->begun) || FAULT("crash-mark-unwritten"))
        return 0;
    if (write_mark(lane, b, h, h->begun + 1, false, err) == 0) {
        h->marked = true;
        return 0;
    }
    h->marked = err->class == ERR_UNCERTAIN; /* it may have been stored */
    return -1;
}

enum suspicion suspect_begin(struct lane *lane, const struct binding *b, struct held *h,
                             struct err *ret_reason)
{
    const unsigned deliveries = h->delivery.deliveries;
    struct err err = ERR_INIT;
    bool recorded;

    if (deliveries < RECORD_FROM)
        return SUSPECT_HANDLE;
    recorded = put_on_record(lane, b, h, &err) == 0;
    if (!recorded && is_away(lane, &err)) {
        err_set_dep(ret_reason, ERR_UNAVAILABLE, DEP_NATS, "nats-connection", "mark event", "%s",
                    err.text);
        return SUSPECT_LATER;
    }
    if (!recorded)
        tell(lane, b->spec->durable, &err);
    if (!verdict_is_crash(deliveries, recorded, h->begun) || FAULT("crash-evidence-ignored"))
        return SUSPECT_HANDLE;
    if (recorded)
        err_set(ret_reason, ERR_REJECT, "crash", "handle event",
                "its handling began %u times in a row and never ended: it crashed the process, or "
                "the process was ended from outside; delivery %u",
                h->begun, deliveries);
    else
        err_set(ret_reason, ERR_REJECT, "crash", "handle event",
                "delivered %u times, and no delivery ended with a verdict; " SUSPECT_STREAM
                " can't be used to tell who crashed",
                deliveries - 1);
    return SUSPECT_CRASHER;
}

void suspect_end(struct lane *lane, const struct binding *b, struct held *h,
                 enum settle_action action)
{
    struct err err = ERR_INIT;

    if (!h->marked || FAULT("crash-mark-unended"))
        return;
    h->marked = false;
    h->begun = 0;
    h->retried += action == SETTLE_NAK;
    if (write_mark(lane, b, h, 0, action == SETTLE_ACK, &err) < 0)
        tell(lane, b->spec->durable, &err);
}

unsigned suspect_no_tries(const struct held *h)
{
    const unsigned tries = RECORD_FROM + h->retried; /* with the one that has just ended */

    return h->marked && h->delivery.deliveries > tries && !FAULT("deliveries-are-tries")
               ? h->delivery.deliveries - tries
               : 0;
}

void suspect_check(struct lane *lane)
{
    for (size_t i = 0; i < lane->rt->spec->n_consumers; i++) {
        const struct binding *b = &lane->rt->bindings[i];
        struct err err = ERR_INIT;
        struct suspect_mark mark;

        if (read_mark(lane, b, 0, &mark, &err) == 0)
            continue;
        if (!is_away(lane, &err))
            tell(lane, b->spec->durable, &err);
        return;
    }
}
