/* Mechanism: a synchronous subscription, so that nats.c's reading thread wakes the waiter directly.
 */
// SPDX-License-Identifier: Apache-2.0

#include "events/hint.h"

#include <nats/nats.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/nats_error.h"

/* More hints than this at once say nothing more; nats.c drops the rest. */
enum { PENDING_MAX = 65536 };

struct hint {
    natsSubscription *sub;
};

int hint_open(struct hint **ret, struct bus *bus, const char *subject, struct err *err)
{
    struct hint *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return err_set(err, ERR_RETRY, "no-memory", subject, "out of memory");
    natsStatus s = natsConnection_SubscribeSync(&h->sub, bus_native(bus), subject);
    if (s == NATS_OK)
        s = natsSubscription_SetPendingLimits(h->sub, PENDING_MAX, -1);
    if (s != NATS_OK) {
        hint_close(h);
        return nats_err_status(err, (int)s, subject);
    }
    *ret = h;
    return 0;
}

struct hint *hint_close(struct hint *h)
{
    if (h == NULL)
        return NULL;
    natsSubscription_Destroy(h->sub);
    free(h);
    return NULL;
}

bool hint_wait(struct hint *h, int64_t timeout_ms)
{
    bool any = false;
    int64_t until = mono_ms() + timeout_ms;
    for (;;) {
        natsMsg *m = NULL;
        natsStatus s = natsSubscription_NextMsg(&m, h->sub, any ? 0 : timeout_ms);
        natsMsg_Destroy(m);
        if (s == NATS_OK) {
            any = true;
            continue;
        }
        /* Anything but a timeout came at once: closed, or dropped for being slow. */
        int64_t left = until - mono_ms();
        if (!any && s != NATS_TIMEOUT && s != NATS_SLOW_CONSUMER && left > 0)
            nats_Sleep(left);
        return any || s == NATS_SLOW_CONSUMER;
    }
}
