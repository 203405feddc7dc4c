/* How long events wait for their receiver.
 *
 * The oldest one that is not settled is the first of the consumer's subject behind its ack floor:
 * up to there everything is acknowledged. Asked from nats-server, so that it is true whatever the
 * adapters do, and however many there are. */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "events/stream.h"
#include "workers/adapter/adapter.h"

#define ANSWER_WITHIN_MS 1000
/* A dead letter of the largest size, in base64. */
#define ARENA_MAX ((size_t)64 << 20)

static const struct metric_def oldest_def = {
    "echora_webhook_oldest_timestamp_seconds", METRIC_GAUGE,
    "When the oldest event was stored that no receiver has taken yet; 0 when none waits.", "route",
    NULL};

static int64_t member(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* *ret_from: where the oldest may lie at the earliest. */
static int look_at_consumer(struct bus *bus, const struct consumer_spec *c, bool *ret_waits,
                            uint64_t *ret_from, struct err *err)
{
    char subject[160];
    json_t *info;

    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s", consumer_stream(c),
             c->durable);
    if (bus_js_api_within(bus, subject, VIEW_LIT(""), ANSWER_WITHIN_MS, &info, err) < 0)
        return -1;
    *ret_waits = member(info, "num_pending") + member(info, "num_ack_pending") > 0;
    *ret_from = (uint64_t)member(json_object_get(info, "ack_floor"), "stream_seq") + 1;
    json_decref(info);
    return 0;
}

static int look(struct bus *bus, const struct consumer_spec *c, double *ret, struct err *err)
{
    CLEANUP(arena_freep) struct arena *arena = arena_new(ARENA_MAX);
    const char *filter = c->filter != NULL ? c->filter : c->subject;
    struct stored_message oldest;
    bool waits, found;
    uint64_t from;

    *ret = 0;
    if (arena == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "look at consumer", "out of memory");
    if (look_at_consumer(bus, c, &waits, &from, err) < 0)
        return -1;
    if (!waits)
        return 0;
    if (stream_next(bus, consumer_stream(c), from, filter, arena, &oldest, &found, err) < 0)
        return -1;
    if (found)
        *ret = (double)oldest.stored_us / 1e6;
    return 0;
}

void waiting_look(struct adapter *a, const struct consumer_spec consumers[], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct consumer_spec *c = &consumers[i];
        struct err ignored = ERR_INIT; /* the watch tells what is wrong with the server */
        enum route route;
        double oldest = 0;

        if (adapter_route_of(c, &route) && destination_is_set(a->settings, route) &&
            look(lane_bus(a->lane), c, &oldest, &ignored) == 0)
            metric_set(metric_series(&oldest_def, (const char *const[]){route_name(route)}),
                       oldest);
    }
}
