// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/progress.h"

#include <jansson.h>
#include <stdio.h>

#include "events/stream.h"
#include "workers/dead_letters/index.h"

static int64_t member(const json_t *object, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(object, name));
}

int progress_of(struct bus *bus, const char *stream, const char *consumer,
                struct consumer_progress *ret, struct err *err)
{
    char subject[256];
    json_t *info;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.INFO.%s.%s", stream, consumer);
    if (bus_js_api(bus, subject, VIEW_LIT(""), &info, err) < 0)
        return -1;
    *ret = (struct consumer_progress){
        .settled_up_to = (uint64_t)member(json_object_get(info, "ack_floor"), "stream_seq"),
        .delivered_up_to = (uint64_t)member(json_object_get(info, "delivered"), "stream_seq"),
        .pending = member(info, "num_pending"),
        .in_hand = member(info, "num_ack_pending"),
    };
    /* With nothing in hand all that was delivered is settled; the floor may stand on the last
     * message that this consumer's filter let through. */
    if (ret->in_hand == 0 && ret->delivered_up_to > ret->settled_up_to)
        ret->settled_up_to = ret->delivered_up_to;
    json_decref(info);
    return 0;
}

int progress_of_index(struct bus *bus, struct consumer_progress *ret, struct err *err)
{
    return progress_of(bus, "ANIME_DLQ", INDEX_CONSUMER, ret, err);
}

int progress_index_complete(struct bus *bus, bool *ret, struct err *err)
{
    struct stream_state stream;
    struct consumer_progress index;
    if (stream_state(bus, "ANIME_DLQ", &stream, err) < 0 || progress_of_index(bus, &index, err) < 0)
        return -1;
    *ret = stream.messages == 0 || index.settled_up_to >= stream.last_sequence;
    return 0;
}
