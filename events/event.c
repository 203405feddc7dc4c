// SPDX-License-Identifier: Apache-2.0
#include "events/event_internal.h"

#include <nats/nats.h>
#include <stdlib.h>

#include "contracts/validate.h"
#include "contracts/wire.h"
#include "events/base/fault.h"

const char *native_header(const void *native, const char *name)
{
    const char *value = NULL;

    /* nats.c parses headers on first use, hence no const. */
    if (natsMsgHeader_Get((natsMsg *)native, name, &value) != NATS_OK)
        return NULL;
    return value;
}

const char *event_came_on(const struct event *event)
{
    return natsMsg_GetSubject(event->native);
}

const char *event_header(const struct event *event, const char *name)
{
    return native_header(event->native, name);
}

int event_headers(const struct event *event, struct arena *arena, const struct bus_header **ret,
                  size_t *ret_n)
{
    /* nats.c parses headers on first use, hence no const. */
    natsMsg *msg = (natsMsg *)event->native;
    const char **keys = NULL;
    int n_keys = 0;
    size_t n = 0, max = 0;
    struct bus_header *out;

    *ret = NULL;
    *ret_n = 0;
    natsStatus s = natsMsgHeader_Keys(msg, &keys, &n_keys);
    if (s != NATS_OK)
        return s == NATS_NO_MEMORY ? -1 : 0;
    max = (size_t)n_keys * 4 + 16; /* repeated names beyond that are dropped */
    out = arena_array(arena, max, sizeof(*out));
    for (int k = 0; out != NULL && s != NATS_NO_MEMORY && k < n_keys; k++) {
        const char **values = NULL;
        int n_values = 0;

        s = natsMsgHeader_Values(msg, keys[k], &values, &n_values);
        if (s != NATS_OK)
            continue;
        for (int v = 0; v < n_values && n < max; v++)
            out[n++] = (struct bus_header){keys[k], values[v]};
        free(values);
    }
    free(keys);
    if (out == NULL || s == NATS_NO_MEMORY)
        return -1;
    *ret = out;
    *ret_n = n;
    return 0;
}

/* A value that is a header line of ours, or one behind a header of ours that knows no colon. */
static bool is_misread(struct view name, struct view value)
{
    const bool own = view_is(name, "Echora-Replay-For") || view_is(name, "Echora-Review");

    if (memchr(name.p, '\n', name.n) != NULL || memchr(value.p, '\n', value.n) != NULL)
        return true;
    return (own || view_starts_with(value, "Echora-")) && memchr(value.p, ':', value.n) != NULL;
}

bool native_headers_parse(const void *native, bool *ret_readable)
{
    const char *ignored;
    const natsStatus s = natsMsgHeader_Get((natsMsg *)native, "Status", &ignored);

    *ret_readable = s == NATS_OK || s == NATS_NOT_FOUND;
    return s != NATS_NO_MEMORY || FAULT("headers-lost-for-memory");
}

int event_check_headers(const struct event *e, bool parsed, struct err *err)
{
    /* nats.c parses headers on first use, hence no const. */
    natsMsg *msg = (natsMsg *)e->native;
    const char **keys = NULL;
    int n_keys = 0;
    bool bad = !parsed;
    natsStatus s = natsMsgHeader_Keys(msg, &keys, &n_keys);

    for (int k = 0; s == NATS_OK && k < n_keys && !bad; k++) {
        const char **values = NULL;
        int n_values = 0;

        s = natsMsgHeader_Values(msg, keys[k], &values, &n_values);
        if (s != NATS_OK)
            break;
        for (int v = 0; v < n_values && !bad; v++)
            bad = is_misread(view_of(keys[k]), view_of(values[v]));
        free(values);
    }
    free(keys);
    if (s == NATS_NO_MEMORY)
        return err_set(err, ERR_RETRY, "no-memory", "read headers", "out of memory");
    if (bad && !FAULT("headers-unchecked"))
        return err_set(err, ERR_REJECT, "unreadable-header", "read headers",
                       "a header is malformed or has an empty value, which may hide others");
    return 0;
}

void event_take(struct event *e, const struct subject_def *def, const void *native,
                const struct delivery *delivery)
{
    *e = (struct event){
        .def = def,
        .payload = {(const uint8_t *)natsMsg_GetData(native),
                    (size_t)natsMsg_GetDataLength(native)},
        .stream_sequence = delivery->stream_sequence,
        .stored_us = delivery->stored_us,
        .deliveries = delivery->deliveries,
        .native = native,
    };
}

bool event_parent(const struct event *e, struct trace_context *ret)
{
    const char *parent = event_header(e, "traceparent");

    return parent != NULL &&
           trace_parse(view_of(parent), view_of(event_header(e, "tracestate")), ret);
}

int event_decode(struct event *e, size_t decode_max, int64_t now_us, struct arena *arena,
                 struct err *err)
{
    ProtobufCMessage *message;
    struct envelope envelope;

    if (wire_decode(e->def->message, e->payload, decode_max, arena, &message, err) < 0)
        return -1;
    /* Read first: a refused event's dead letter names its entity. */
    envelope_read(e->def, message, &envelope);
    e->message = message;
    e->entity_id = envelope.entity_id;
    e->time_us = envelope.time_us;
    if (validate_or_err(e->def, message, now_us, err) < 0)
        return -1;
    if (!uuid_parse(envelope.event_id, &e->event_id))
        return err_set(err, ERR_REJECT, "bad-uuid", "decode event", "event_id: no UUID");
    return 0;
}

bool event_is_for(const struct event *e, const char *durable)
{
    const char *only = event_header(e, "Echora-Replay-For");

    return only == NULL || *only == '\0' || strcmp(only, durable) == 0;
}

void batch_set_rest(struct batch *batch, struct verdict verdict)
{
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->verdicts[i].kind == VERDICT_UNSET)
            batch->verdicts[i] = verdict;
    }
}

void batch_fail_rest(struct batch *batch, const struct err *err)
{
    batch_set_rest(batch, verdict_of_err(err));
}
