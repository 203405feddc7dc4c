/* One subscription for all acknowledgements: a message's number is the last part of its reply
 * subject, and its place in a ring. nats.c only queues what comes, so that no thread is woken for
 * it.
 *
 * "No responders" (there is no such stream) comes without its number. The server sends these in
 * order and at once, so it is taken for the oldest that waits. */
// SPDX-License-Identifier: Apache-2.0

#include "events/bus_acks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/bus_internal.h"
#include "events/nats_error.h"

#define WAIT_MS 50

struct waiting {
    bool over;
    int64_t deadline_ms;
    char subject[64], note[BUS_NOTE_SIZE];
};

struct bus_acks {
    struct bus *bus;
    void (*failed)(void *ctx, const char *note, const struct err *err);
    void *ctx;
    pthread_mutex_t lock;
    natsSubscription *sub; /* made with the first publish */
    char prefix[BUS_INBOX_MAX];
    uint64_t oldest, next; /* numbers: of the first that waits, of the next message */
    struct waiting ring[BUS_ACKS_MAX];
};

struct bus_acks *bus_acks_new(struct bus *bus,
                              void (*failed)(void *ctx, const char *note, const struct err *err),
                              void *ctx)
{
    struct bus_acks *a = calloc(1, sizeof(*a));

    if (a == NULL)
        return NULL;
    a->bus = bus;
    a->failed = failed;
    a->ctx = ctx;
    pthread_mutex_init(&a->lock, NULL);
    return a;
}

static struct waiting *at(struct bus_acks *a, uint64_t number)
{
    return &a->ring[number % BUS_ACKS_MAX];
}

static bool is_full(const struct bus_acks *a)
{
    return a->next - a->oldest == BUS_ACKS_MAX;
}

/* From here to reserve() all is under the lock. err NULL: there is nothing to tell. */
static void end(struct bus_acks *a, uint64_t number, const struct err *err)
{
    struct waiting *w = at(a, number);

    if (!w->over && err != NULL)
        a->failed(a->ctx, w->note, err);
    w->over = true;
    while (a->oldest < a->next && at(a, a->oldest)->over)
        a->oldest++;
}

static void take(struct bus_acks *a, natsMsg *msg)
{
    const struct view text = {natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)};
    const char *dot = strrchr(natsMsg_GetSubject(msg), '.');
    struct err err = ERR_INIT;
    int64_t number;

    if (dot == NULL || !view_to_i64(view_of(dot + 1), 0, INT64_MAX, &number) ||
        (uint64_t)number < a->oldest || (uint64_t)number >= a->next)
        return;
    const bool good = bus_parse_ack(text, NULL, at(a, (uint64_t)number)->subject, &err) == 0;
    end(a, (uint64_t)number, good ? NULL : &err);
}

static void end_with(struct bus_acks *a, natsStatus s)
{
    struct err err = ERR_INIT;

    (void)nats_err_status(&err, s, at(a, a->oldest)->subject);
    end(a, a->oldest, &err);
}

/* Takes what has come; waits that long for a first one. */
static void collect(struct bus_acks *a, int64_t wait_ms)
{
    while (a->oldest < a->next) {
        natsMsg *msg CLEANUP(bus_msgp) = NULL;
        const natsStatus s = natsSubscription_NextMsg(&msg, a->sub, wait_ms);

        if (s == NATS_OK)
            take(a, msg);
        else if (s == NATS_NO_RESPONDERS)
            end_with(a, s);
        else
            break;
        wait_ms = 0;
    }
    while (a->oldest < a->next && mono_ms() >= at(a, a->oldest)->deadline_ms)
        end_with(a, NATS_TIMEOUT);
}

static natsStatus subscribe(struct bus_acks *a)
{
    char all[BUS_REPLY_MAX];

    if (!bus_connected(a->bus))
        return NATS_CONNECTION_DISCONNECTED;
    if (a->sub != NULL)
        return NATS_OK;
    bus_inbox(a->bus, a->prefix);
    snprintf(all, sizeof(all), "%s.*", a->prefix);
    return natsConnection_SubscribeSync(&a->sub, a->bus->nc, all);
}

/* A number for a message, and its place. */
static natsStatus reserve(struct bus_acks *a, const char *subject, const char *note,
                          uint64_t *ret_number)
{
    const natsStatus s = subscribe(a);

    if (s != NATS_OK)
        return s;
    while (is_full(a))
        collect(a, WAIT_MS);
    *ret_number = a->next++;
    struct waiting *w = at(a, *ret_number);
    *w = (struct waiting){.deadline_ms = mono_ms() + a->bus->timeout_ms};
    snprintf(w->subject, sizeof(w->subject), "%s", subject);
    snprintf(w->note, sizeof(w->note), "%s", note);
    return NATS_OK;
}

/* Not under the lock, so that others need not wait for its writing. */
static int publish(struct bus_acks *a, const struct bus_message *message, uint64_t number,
                   struct err *err)
{
    natsMsg *msg CLEANUP(bus_msgp) = NULL;
    char reply_to[BUS_REPLY_MAX];

    snprintf(reply_to, sizeof(reply_to), "%s.%" PRIu64, a->prefix, number);
    if (bus_make_msg(message, reply_to, &msg, err) < 0)
        return -1;
    const natsStatus s = natsConnection_PublishMsg(a->bus->nc, msg);
    return s == NATS_OK ? 0 : nats_err_status(err, s, message->subject);
}

int bus_acks_publish(struct bus_acks *a, const struct bus_message *message, const char *note,
                     struct err *err)
{
    uint64_t number;

    pthread_mutex_lock(&a->lock);
    const natsStatus s = reserve(a, message->subject, note, &number);
    pthread_mutex_unlock(&a->lock);
    if (s != NATS_OK)
        return nats_err_status(err, s, message->subject);
    const int rc = publish(a, message, number, err);
    if (rc < 0)
        pthread_mutex_lock(&a->lock);
    else if (pthread_mutex_trylock(&a->lock) != 0)
        return 0; /* another is about it */
    if (rc < 0)
        end(a, number, NULL); /* the caller knows */
    collect(a, 0);
    pthread_mutex_unlock(&a->lock);
    return rc;
}

void bus_acks_look(struct bus_acks *a)
{
    pthread_mutex_lock(&a->lock);
    collect(a, 0);
    pthread_mutex_unlock(&a->lock);
}

struct bus_acks *bus_acks_free(struct bus_acks *a)
{
    if (a == NULL)
        return NULL;
    pthread_mutex_lock(&a->lock);
    while (a->oldest < a->next)
        collect(a, WAIT_MS);
    pthread_mutex_unlock(&a->lock);
    natsSubscription_Destroy(a->sub);
    pthread_mutex_destroy(&a->lock);
    free(a);
    return NULL;
}
