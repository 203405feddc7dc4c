/* Boxes that answers come into: subscriptions that are kept and used again, so that a question
 * costs nats-server no subscription of its own.
 *
 * A box is one user's at a time, and each question has a number in its reply subject. What comes
 * for an older one is dropped. A box whose question had no answer is given up, for the answer may
 * still come, and one that says "no responders" comes without its number.
 *
 * Messages are given back to nats.c many at a time: it frees them in a thread of its own, which it
 * wakes for each when that thread has nothing to do (measured: a third of a call's futex calls). */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/bus_internal.h"

/* Larger ones would be kept for long. */
enum { DISCARDED_MAX = 32, DISCARDED_BYTES_MAX = 4096 };

static struct {
    pthread_mutex_t lock;
    natsMsg *messages[DISCARDED_MAX];
    size_t n;
} discarded = {.lock = PTHREAD_MUTEX_INITIALIZER};

void bus_discard(natsMsg *msg)
{
    natsMsg *full[DISCARDED_MAX];
    size_t n = 0;

    if (msg == NULL || natsMsg_GetDataLength(msg) > DISCARDED_BYTES_MAX) {
        natsMsg_Destroy(msg);
        return;
    }
    pthread_mutex_lock(&discarded.lock);
    if (discarded.n == DISCARDED_MAX) {
        memcpy(full, discarded.messages, sizeof(full));
        n = DISCARDED_MAX;
        discarded.n = 0;
    }
    discarded.messages[discarded.n++] = msg;
    pthread_mutex_unlock(&discarded.lock);
    for (size_t i = 0; i < n; i++)
        natsMsg_Destroy(full[i]);
}

static struct bus_box *box_free(struct bus_box *box)
{
    natsSubscription_Destroy(box->sub);
    free(box);
    return NULL;
}

static natsStatus box_new(struct bus *bus, struct bus_box **ret)
{
    struct bus_box *box = calloc(1, sizeof(*box));
    char all[BUS_REPLY_MAX];

    if (box == NULL)
        return NATS_NO_MEMORY;
    bus_inbox(bus, box->prefix);
    snprintf(all, sizeof(all), "%s.*", box->prefix);
    const natsStatus s = natsConnection_SubscribeSync(&box->sub, bus->nc, all);
    if (s == NATS_OK)
        *ret = box;
    else
        box_free(box);
    return s;
}

natsStatus bus_box_take(struct bus *bus, struct bus_box **ret)
{
    struct bus_box *box = NULL;

    if (!bus_connected(bus))
        return NATS_CONNECTION_DISCONNECTED;
    pthread_mutex_lock(&bus->box_mutex);
    if (bus->n_boxes > 0)
        box = bus->boxes[--bus->n_boxes];
    pthread_mutex_unlock(&bus->box_mutex);
    const natsStatus s = box == NULL ? box_new(bus, &box) : NATS_OK;
    if (s == NATS_OK) {
        snprintf(box->reply_to, sizeof(box->reply_to), "%s.%" PRIu64, box->prefix, ++box->n);
        *ret = box;
    }
    return s;
}

natsStatus bus_box_next(struct bus_box *box, int64_t timeout_ms, natsMsg **ret)
{
    for (;;) {
        const natsStatus s = natsSubscription_NextMsg(ret, box->sub, timeout_ms);

        if (s != NATS_OK || strcmp(natsMsg_GetSubject(*ret), box->reply_to) == 0)
            return s;
        bus_discard(*ret);
        *ret = NULL;
    }
}

void bus_box_give(struct bus *bus, struct bus_box *box, bool answered)
{
    if (box == NULL)
        return;
    pthread_mutex_lock(&bus->box_mutex);
    const bool kept = answered && bus->n_boxes < BUS_BOXES_MAX;
    if (kept)
        bus->boxes[bus->n_boxes++] = box;
    pthread_mutex_unlock(&bus->box_mutex);
    if (!kept)
        box_free(box);
}

void bus_boxes_free(struct bus *bus)
{
    while (bus->n_boxes > 0)
        box_free(bus->boxes[--bus->n_boxes]);
}
