/* A question whose waiting can be cut into slices: whoever waits may have to do something
 * meanwhile, or may have to stop. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/clock.h"
#include "events/bus_internal.h"
#include "events/nats_error.h"

#define SLICE_MS 50

/* *ret: where the answer comes. */
static int ask(struct bus *bus, const struct bus_message *message, struct bus_box **ret,
               struct err *err)
{
    natsMsg *msg CLEANUP(bus_msgp) = NULL;
    struct bus_box *box = NULL;
    natsStatus s = bus_box_take(bus, &box);

    if (s != NATS_OK)
        return nats_err_status(err, s, message->subject);
    if (bus_make_msg(message, box->reply_to, &msg, err) < 0) {
        bus_box_give(bus, box, true);
        return -1;
    }
    s = natsConnection_PublishMsg(bus->nc, msg);
    if (s != NATS_OK) {
        bus_box_give(bus, box, false);
        return nats_err_status(err, s, message->subject);
    }
    *ret = box;
    return 0;
}

static natsStatus wait_slices(struct bus *bus, struct bus_box *box, int64_t deadline,
                              const struct bus_exchange *how, natsMsg **ret)
{
    for (;;) {
        const int64_t left = deadline - mono_ms();
        const natsStatus s = bus_box_next(box,
                                          left < 1          ? 1
                                          : left < SLICE_MS ? left
                                                            : SLICE_MS,
                                          ret);

        if (s != NATS_TIMEOUT || left <= SLICE_MS)
            return s;
        if (!bus_connected(bus))
            return NATS_CONNECTION_DISCONNECTED;
        if (how->goes_on != NULL && !how->goes_on(how->ctx))
            return NATS_TIMEOUT;
    }
}

/* Gives the box back. The caller destroys *ret. */
static int wait_reply(struct bus *bus, struct bus_box *box, int64_t deadline,
                      const struct bus_exchange *how, natsMsg **ret, const char *op,
                      struct err *err)
{
    const natsStatus s = wait_slices(bus, box, deadline, how, ret);

    bus_box_give(bus, box, s == NATS_OK || s == NATS_NO_RESPONDERS);
    return s == NATS_OK ? 0 : nats_err_status(err, s, op);
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
    const int64_t deadline = mono_ms() + (how->timeout_ms > 0 ? how->timeout_ms : bus->timeout_ms);
    natsMsg *reply CLEANUP(bus_msgp) = NULL;
    struct bus_box *box = NULL;

    if (ask(bus, request, &box, err) < 0 ||
        wait_reply(bus, box, deadline, how, &reply, request->subject, err) < 0)
        return -1;
    return keep(reply, how, arena, ret_reply, request->subject, err);
}
