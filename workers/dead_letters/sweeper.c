// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/sweeper.h"

#include <stdio.h>

#include "contracts/json.h"
#include "events/base/fault.h"
#include "workers/dead_letters/given_up.h"

/* From this delivery of an advisory on its event is not decoded: that may be what ended us. */
enum { CAREFUL_FROM = 3 };

static int read_advisory(struct bytes payload, struct given_up *ret, struct err *err)
{
    CLEANUP(dlq_jsonp) json_t *json = NULL;
    if (json_parse(view_of_bytes(payload), &json, err) < 0)
        return -1;
    const char *stream = json_string_value(json_object_get(json, "stream"));
    const char *consumer = json_string_value(json_object_get(json, "consumer"));
    const json_int_t sequence = json_integer_value(json_object_get(json, "stream_seq"));
    if (stream == NULL || consumer == NULL || strlen(stream) >= sizeof(ret->stream) ||
        strlen(consumer) >= sizeof(ret->consumer) || sequence <= 0)
        return err_set(err, ERR_REJECT, "bad-advisory", "sweep", "the advisory names no event");
    snprintf(ret->stream, sizeof(ret->stream), "%s", stream);
    snprintf(ret->consumer, sizeof(ret->consumer), "%s", consumer);
    ret->sequence = (uint64_t)sequence;
    ret->deliveries = (unsigned)json_integer_value(json_object_get(json, "deliveries"));
    return 0;
}

static int sweep(struct dead_letters *dl, const struct event *event, struct arena *arena,
                 struct err *err)
{
    struct given_up advisory;
    bool is_new;
    if (read_advisory(event->payload, &advisory, err) < 0)
        return -1;
    if (given_up_is_own(advisory.stream))
        return 0;
    return given_up_write(dl, &advisory, GIVEN_UP_ADVISORY, event->deliveries < CAREFUL_FROM, arena,
                          &is_new, err);
}

void sweep_advisories(void *context, struct batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        struct err err = ERR_INIT;
        if (FAULT("advisory-ignored") || sweep(context, &batch->events[i], batch->arena, &err) == 0)
            batch->verdicts[i].kind = VERDICT_DONE;
        else if (err.class == ERR_FATAL && strcmp(err.code, "nats-10059") == 0)
            batch->verdicts[i].kind = VERDICT_SKIP; /* the whole stream is gone */
        else
            batch->verdicts[i] = verdict_of_err(&err);
    }
}
