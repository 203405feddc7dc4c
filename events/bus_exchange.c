/* A request with an inbox of its own, so that its waiting can be cut into slices: whoever waits may
 * have to do something meanwhile, or may have to stop. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/clock.h"
#include "events/bus_internal.h"
#include "events/nats_error.h"

#define SLICE_MS 50

static natsStatus wait_reply(struct bus *bus, natsSubscription *sub, const struct bus_exchange *how,
                             natsMsg **ret)
{
    const int64_t deadline = mono_ms() + (how->timeout_ms > 0 ? how->timeout_ms : bus->timeout_ms);

    for (;;) {
        const int64_t left = deadline - mono_ms();
        const natsStatus s = natsSubscription_NextMsg(ret, sub,
                                                      left < 1          ? 1
                                                      : left < SLICE_MS ? left
                                                                        : SLICE_MS);

        if (s != NATS_TIMEOUT || left <= SLICE_MS)
            return s;
        if (!bus_connected(bus))
            return NATS_CONNECTION_DISCONNECTED;
        if (how->goes_on != NULL && !how->goes_on(how->ctx))
            return NATS_TIMEOUT;
    }
}

static int keep(natsMsg *reply, const struct bus_exchange *how, struct arena *arena,
                struct bytes *ret_reply, const char *op, struct err *err)
{
    const size_t n = (size_t)natsMsg_GetDataLength(reply);
    char *copy = arena_strdup(arena, (struct view){natsMsg_GetData(reply), n});

    for (size_t i = 0; copy != NULL && i < how->n_headers; i++) {
        const char *value = NULL;

        how->headers[i].value = NULL;
        if (natsMsgHeader_Get(reply, how->headers[i].name, &value) == NATS_OK && value != NULL)
            how->headers[i].value = arena_strdup(arena, view_of(value));
    }
    if (arena_overflowed(arena))
        return err_set(err, ERR_RETRY, "no-memory", op, "reply does not fit");
    *ret_reply = (struct bytes){(const uint8_t *)copy, n};
    return 0;
}

int bus_exchange(struct bus *bus, const struct bus_message *request, const struct bus_exchange *how,
                 struct arena *arena, struct bytes *ret_reply, struct err *err)
{
    natsSubscription *sub CLEANUP(bus_subp) = NULL;
    natsMsg *msg CLEANUP(bus_msgp) = NULL, *reply CLEANUP(bus_msgp) = NULL;
    char inbox[BUS_INBOX_MAX];
    natsStatus s;

    bus_inbox(bus, inbox);
    if (bus_make_msg(request, inbox, &msg, err) < 0)
        return -1;
    s = bus_connected(bus) ? natsConnection_SubscribeSync(&sub, bus->nc, inbox)
                           : NATS_CONNECTION_DISCONNECTED;
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(bus->nc, msg);
    if (s == NATS_OK)
        s = wait_reply(bus, sub, how, &reply);
    if (s != NATS_OK)
        return nats_err_status(err, s, request->subject);
    return keep(reply, how, arena, ret_reply, request->subject, err);
}
