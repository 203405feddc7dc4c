// SPDX-License-Identifier: Apache-2.0
#include "events/intake.h"

#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"
#include "events/event_internal.h"
#include "events/log.h"
#include "events/nats_error.h"
#include "events/settle.h"

#define PULL_EXPIRES_MS 5000
#define PULL_HEARTBEAT_MS 2000
#define SILENT_MS (2 * PULL_HEARTBEAT_MS + 500)
#define SILENT_PULLS 2
#define BUSY_PAUSE_MS 1000
#define BUSY_PAUSE_MAX_MS 10000
/* Above the largest message a stream takes (8 MiB), so one event always fits. */
#define PULL_MAX_BYTES (16 << 20)
#define CLOSE_WAIT_MS 1000
#define HELD_BATCHES 3

static struct source *source_of_consumer(struct intake *in, struct view consumer)
{
    for (size_t i = 0; i < in->n; i++) {
        if (view_is(consumer, in->sources[i].binding->spec->durable))
            return &in->sources[i];
    }
    return NULL;
}

/* The reply subject of a pull ends in "<source>-<pull>"; only the newest pull counts. */
static struct source *source_of_status(struct intake *in, const char *subject)
{
    const char *dot = strrchr(subject, '.');
    struct view rest = view_of(dot != NULL ? dot + 1 : ""), part;
    int64_t index, id;

    if (!view_split(&rest, '-', &part) || !view_to_i64(part, 0, (int64_t)in->n - 1, &index) ||
        !view_to_i64(rest, 0, INT64_MAX, &id))
        return NULL;
    return in->sources[index].pull_id == (uint64_t)id ? &in->sources[index] : NULL;
}

static void pause_pulls(struct source *s, int64_t now)
{
    const int64_t pause = (int64_t)BUSY_PAUSE_MS << (s->refused < 4 ? s->refused : 4);

    s->refused++;
    s->credit = 0;
    s->not_before_ms = now + (pause < BUSY_PAUSE_MAX_MS ? pause : BUSY_PAUSE_MAX_MS);
    metric_add(s->binding->metrics.pull_trouble, 1);
}

/* Under the lock. */
static void take_status(struct intake *in, natsMsg *msg, const char *status)
{
    struct source *s = source_of_status(in, natsMsg_GetSubject(msg));
    const int64_t now = mono_ms();

    if (s == NULL)
        return; /* of a pull that is already over */
    s->heard_ms = now;
    s->silent = 0;
    switch (pull_classify(status, native_header(msg, "Description"))) {
    case PULL_HEARTBEAT:
        return;
    case PULL_ENDED:
        s->credit = 0;
        s->refused = 0;
        return;
    case PULL_MOVED:
        s->credit = 0;
        s->not_before_ms = now + 100;
        return;
    case PULL_GONE:
        s->look = true;
        pause_pulls(s, now);
        return;
    case PULL_NO_SERVICE:
        s->look = true;
        pause_pulls(s, now);
        return;
    case PULL_BUSY:
    case PULL_UNKNOWN:
        pause_pulls(s, now);
        return;
    }
}

static void append(struct source *s, struct held *h)
{
    *s->end = h;
    s->end = &h->next;
    s->n++;
    s->n_suspects += h->suspect;
}

/* Takes the event that *at links out of its queue. */
static struct held *take_out(struct source *s, struct held **at)
{
    struct held *h = *at;

    *at = h->next;
    if (*at == NULL)
        s->end = at;
    h->next = NULL;
    s->n--;
    s->n_suspects -= h->suspect;
    return h;
}

static struct held *held_new(natsMsg *msg, const struct delivery *d, int64_t now,
                             int64_t hold_limit_ms)
{
    struct held *h = calloc(1, sizeof(*h));

    if (h == NULL)
        return NULL;
    h->msg = msg;
    h->delivery = *d;
    h->received_ms = now;
    h->until_ms = now + verdict_patience_ms(d->deliveries, hold_limit_ms);
    h->suspect = h->alone = d->deliveries > 1;
    return h;
}

/* Under the lock. False: the message is not kept. */
static bool take_event(struct intake *in, natsMsg *msg, const struct delivery *d, bool parsed)
{
    struct source *s = source_of_consumer(in, d->consumer);
    const int64_t now = mono_ms();
    struct held *h;

    if (s == NULL || in->closing)
        return false;
    h = held_new(msg, d, now, in->lane->rt->config->hold_limit_ms);
    if (h == NULL)
        return false; /* comes again after the ack wait */
    h->parsed = parsed;
    s->heard_ms = now;
    s->silent = s->refused = 0;
    s->credit -= s->credit > 0;
    append(s, h);
    if (h->suspect) {
        atomic_fetch_add(&in->lane->isolation->suspects, 1);
        metric_add(s->binding->metrics.redelivered, 1);
    }
    progress_add(in->lane->rt->progress, &h->lease, natsMsg_GetReply(msg), now,
                 atomic_load(&s->binding->ack_wait_ms));
    progress_set_end(in->lane->rt->progress, &h->lease, h->until_ms);
    return true;
}

/* On nats.c's delivery thread. */
static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    struct intake *in = closure;
    struct lane *lane = in->lane;
    bool parsed;
    const bool whole = native_headers_parse(msg, &parsed);
    const char *reply = natsMsg_GetReply(msg), *status;
    struct delivery delivery;
    bool kept = false, back = false;

    pthread_mutex_lock(&lane->mutex);
    if (reply != NULL && delivery_parse(view_of(reply), &delivery)) {
        kept = whole && take_event(in, msg, &delivery, parsed);
        back = !whole || (!kept && in->closing);
    } else if (natsMsg_GetDataLength(msg) == 0 && (status = native_header(msg, "Status")) != NULL) {
        take_status(in, msg, status);
    }
    lane->woken = true;
    pthread_cond_signal(&lane->cond);
    pthread_mutex_unlock(&lane->mutex);
    if (back)
        settle_nak(lane->acks, reply, runtime_nak_delay_ms(lane->rt, delivery.deliveries));
    if (!kept)
        natsMsg_Destroy(msg);
}

static void on_complete(void *closure)
{
    struct intake *in = closure;

    pthread_mutex_lock(&in->lane->mutex);
    in->finished = true;
    in->lane->woken = true;
    pthread_cond_signal(&in->lane->cond);
    pthread_mutex_unlock(&in->lane->mutex);
}

int intake_open(struct intake *in, struct lane *lane, struct err *err)
{
    const struct runtime *rt = lane->rt;
    char subject[BUS_INBOX_MAX + 2];
    natsStatus s;

    *in = (struct intake){.lane = lane};
    in->sources = calloc(rt->spec->n_consumers, sizeof(*in->sources));
    if (in->sources == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open intake", "out of memory");
    for (size_t i = 0; i < rt->spec->n_consumers; i++) {
        if (!lane_serves(lane, &rt->bindings[i]))
            continue;
        in->sources[in->n].binding = &rt->bindings[i];
        in->sources[in->n].end = &in->sources[in->n].head;
        ramp_init(&in->sources[in->n++].ramp, rt->bindings[i].batch_max);
    }
    random_bytes(&in->first, sizeof(in->first));
    in->first %= in->n;
    in->generation = bus_generation(lane->bus);
    bus_inbox(lane->bus, in->inbox);
    snprintf(subject, sizeof(subject), "%s.*", in->inbox);
    s = natsConnection_Subscribe(&in->sub, bus_native(lane->bus), subject, on_message, in);
    if (s == NATS_OK)
        s = natsSubscription_SetOnCompleteCB(in->sub, on_complete, in);
    if (s == NATS_OK)
        return 0;
    nats_err_status(err, s, "open intake");
    natsSubscription_Destroy(in->sub);
    free(in->sources);
    return -1;
}

void intake_review(struct intake *in, int64_t now_ms)
{
    const unsigned generation = bus_generation(in->lane->bus);
    const bool connected = bus_connected(in->lane->bus);

    pthread_mutex_lock(&in->lane->mutex);
    for (size_t i = 0; i < in->n; i++) {
        struct source *s = &in->sources[i];

        if (in->generation != generation && !FAULT("pulls-kept")) {
            s->credit = 0; /* the server forgot them with the connection */
            s->not_before_ms = 0;
            s->look = true; /* a server that lost its state must not look idle */
        } else if (s->credit > 0 && connected && now_ms - s->heard_ms > SILENT_MS &&
                   !FAULT("silence-ignored")) {
            s->credit = 0;
            s->silent++;
            metric_add(s->binding->metrics.pull_trouble, 1);
            /* A deleted consumer shows only like this on nats-server 2.9. */
            s->look |= s->silent >= SILENT_PULLS;
        }
    }
    in->generation = generation;
    pthread_mutex_unlock(&in->lane->mutex);
}

static bool is_paused(const struct source *s)
{
    return atomic_load(&s->binding->paused) && !FAULT("pause-ignored");
}

/* Its dead letter waits for the stream. */
static bool is_stuck(const struct intake *in, const struct held *h)
{
    return in->letters_stuck && h->letter_waits;
}

/* Under the lock: how many to ask for, 0 = none now. Events that pause alone hold up no fetching,
 * until there are too many of them; one whose dead letter can't be stored does. */
static unsigned wanted(const struct intake *in, const struct source *s, int64_t now_ms)
{
    unsigned ready = 0;

    if (s->only_one && s->n > 0)
        return 0;
    if (s->credit > 0 || now_ms < s->not_before_ms || now_ms < s->handle_after_ms ||
        s->n_suspects > 0 || is_paused(s) || s->n >= HELD_BATCHES * s->ramp.max)
        return 0;
    for (const struct held *h = s->head; h != NULL; h = h->next) {
        if (is_stuck(in, h))
            return 0;
        ready += h->not_before_ms <= now_ms;
    }
    if (ready > 0 && (ramp_is_careful(&s->ramp) || ready > s->ramp.size))
        return 0;
    return s->only_one ? 1 : s->ramp.size;
}

static void send_pull(struct intake *in, size_t index, unsigned batch, uint64_t id)
{
    const struct source *s = &in->sources[index];
    const int64_t payload_max = bus_max_payload(in->lane->bus);
    const struct pull_request request = {
        .batch = batch,
        .expires_ms = PULL_EXPIRES_MS,
        .heartbeat_ms = PULL_HEARTBEAT_MS,
        .max_bytes = payload_max * 2 > PULL_MAX_BYTES ? payload_max * 2 : PULL_MAX_BYTES,
    };
    char subject[256], reply[BUS_INBOX_MAX + 48], body[PULL_BODY_MAX];
    const size_t n = pull_format(&request, body);

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", s->binding->stream,
             s->binding->spec->durable);
    snprintf(reply, sizeof(reply), "%s.%zu-%llu", in->inbox, index, (unsigned long long)id);
    /* A failure shows as silence and is asked again. */
    if (natsConnection_PublishRequest(bus_native(in->lane->bus), subject, reply, body, (int)n) ==
        NATS_OK)
        metric_add(s->binding->metrics.pulls, 1);
}

void intake_pull(struct intake *in, int64_t now_ms)
{
    if (atomic_load(&in->lane->isolation->suspects) > 0)
        return;
    for (size_t i = 0; i < in->n; i++) {
        const size_t index = (in->first + i) % in->n;
        struct source *s = &in->sources[index];
        unsigned batch;
        uint64_t id;

        pthread_mutex_lock(&in->lane->mutex);
        batch = wanted(in, s, now_ms);
        if (batch > 0) {
            s->credit = batch; /* before sending: the answer may be quicker than we are */
            s->pull_id = id = ++in->next_pull;
            s->heard_ms = now_ms;
        }
        pthread_mutex_unlock(&in->lane->mutex);
        if (batch > 0)
            send_pull(in, index, batch, id);
    }
}

size_t intake_take(struct intake *in, struct source *s, bool alone, bool going_on, int64_t now_ms,
                   struct held *ret[], size_t max)
{
    struct held **at = &s->head;
    size_t n = 0;

    pthread_mutex_lock(&in->lane->mutex);
    while (*at != NULL && n < max) {
        struct held *h = *at;

        if (h->alone != alone || h->not_before_ms > now_ms || (going_on && !h->going_on) ||
            is_stuck(in, h)) {
            at = &h->next;
            continue;
        }
        ret[n++] = take_out(s, at);
    }
    pthread_mutex_unlock(&in->lane->mutex);
    return n;
}

int64_t intake_next_ms(struct intake *in, int64_t now_ms, int64_t latest_ms)
{
    int64_t next = latest_ms;

    pthread_mutex_lock(&in->lane->mutex);
    for (size_t i = 0; i < in->n; i++) {
        for (const struct held *h = in->sources[i].head; h != NULL; h = h->next) {
            if (h->not_before_ms > now_ms && h->not_before_ms < next)
                next = h->not_before_ms;
        }
    }
    pthread_mutex_unlock(&in->lane->mutex);
    return next;
}

void intake_put_back(struct intake *in, struct source *s, struct held *const held[], size_t n)
{
    pthread_mutex_lock(&in->lane->mutex);
    while (n-- > 0) {
        if (s->head == NULL)
            s->end = &held[n]->next;
        held[n]->next = s->head;
        s->head = held[n];
        s->n++;
        s->n_suspects += held[n]->suspect;
    }
    pthread_mutex_unlock(&in->lane->mutex);
}

typedef bool held_test_fn(const struct held *h, int64_t now_ms);

static struct held *take_first(struct intake *in, struct source *s, held_test_fn *test,
                               int64_t now_ms)
{
    struct held *found = NULL;

    pthread_mutex_lock(&in->lane->mutex);
    for (struct held **at = &s->head; *at != NULL; at = &(*at)->next) {
        if (test(*at, now_ms)) {
            found = take_out(s, at);
            break;
        }
    }
    pthread_mutex_unlock(&in->lane->mutex);
    return found;
}

static bool is_over(const struct held *h, int64_t now_ms)
{
    return h->until_ms <= now_ms;
}

static bool waits_for_letter(const struct held *h, int64_t now_ms)
{
    return h->letter_waits;
}

struct held *intake_take_over(struct intake *in, struct source *s, int64_t now_ms)
{
    return take_first(in, s, is_over, now_ms);
}

struct held *intake_take_letter(struct intake *in, struct source *s)
{
    return take_first(in, s, waits_for_letter, 0);
}

void intake_clear_suspect(struct intake *in, struct held *h)
{
    if (!h->suspect)
        return;
    h->suspect = false;
    if (atomic_fetch_sub(&in->lane->isolation->suspects, 1) == 1)
        runtime_wake(in->lane->rt);
}

void intake_release(struct intake *in, struct held *h)
{
    if (h->stuck != DEP_NONE)
        watch_unstick(in->lane->rt->watch, h->stuck);
    progress_remove(in->lane->rt->progress, &h->lease);
    intake_clear_suspect(in, h);
    if (!FAULT("event-not-freed"))
        natsMsg_Destroy(h->msg);
    free(h);
}

static bool is_finished(struct intake *in)
{
    bool finished;

    pthread_mutex_lock(&in->lane->mutex);
    finished = in->finished;
    pthread_mutex_unlock(&in->lane->mutex);
    return finished;
}

void intake_close(struct intake *in)
{
    const int64_t until = mono_ms() + CLOSE_WAIT_MS;
    const struct runtime *rt = in->lane->rt;

    pthread_mutex_lock(&in->lane->mutex);
    in->closing = true;
    pthread_mutex_unlock(&in->lane->mutex);
    /* Drain: the server's interest ends, what was on its way is still delivered to us. */
    natsSubscription_DrainTimeout(in->sub, CLOSE_WAIT_MS);
    for (size_t i = 0; i < in->n; i++) {
        struct held *h;

        while ((h = intake_take_over(in, &in->sources[i], INT64_MAX)) != NULL) {
            settle_nak(in->lane->acks, h->lease.ack_subject,
                       runtime_nak_delay_ms(rt, h->delivery.deliveries));
            intake_release(in, h);
        }
    }
    while (!is_finished(in) && mono_ms() < until)
        lane_wait_until(in->lane, mono_ms() + 50);
    /* Ends a drain that comes to no end: the server is away. */
    natsSubscription_Destroy(in->sub);
    in->sub = NULL;
    /* Until then nats.c calls us; should it hang, the drain timeout ends the process. */
    while (!is_finished(in))
        lane_wait_until(in->lane, mono_ms() + 50);
    free(in->sources);
    in->sources = NULL;
}
