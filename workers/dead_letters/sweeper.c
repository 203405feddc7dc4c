// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/sweeper.h"

#include <jansson.h>
#include <stdio.h>

#include "contracts/json.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/deadletter.h"
#include "events/log.h"
#include "events/stream.h"

/* From this delivery of an advisory on its event is not decoded: that may be what ended us. */
enum { CAREFUL_FROM = 3, DECODE_MAX = 32 << 20 };

struct advisory {
    char stream[64], consumer[64];
    uint64_t sequence;
    unsigned deliveries;
};

static void jsonp(json_t **j)
{
    json_decref(*j);
}

static int read_advisory(struct bytes payload, struct advisory *ret, struct err *err)
{
    CLEANUP(jsonp) json_t *json = NULL;
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

/* Streams whose consumers are this worker's own: a letter about a letter helps nobody. */
static bool is_own(const char *stream)
{
    return strcmp(stream, "ANIME_DLQ") == 0 || strcmp(stream, "ANIME_ADVISORY") == 0 ||
           strcmp(stream, "AUDIT") == 0;
}

static struct view entity_of(const struct stored_message *original, struct arena *arena)
{
    const struct subject_def *def = registry_subject(view_of(original->subject));
    struct err ignored = ERR_INIT;
    ProtobufCMessage *message;
    struct envelope envelope;
    if (def == NULL || def->kind != SUBJECT_EVENT ||
        wire_decode(def->message, original->payload, DECODE_MAX, arena, &message, &ignored) < 0)
        return (struct view){0};
    envelope_read(def, message, &envelope);
    return envelope.entity_id;
}

static int write_letter(struct dead_letters *dl, const struct advisory *advisory,
                        const struct stored_message *original, struct view entity,
                        struct arena *arena, struct err *err)
{
    const char *hop = stored_header(original->headers, original->n_headers, "Echora-Replay-Hop");
    struct stream_state state;
    int64_t created_s, replays = 0;
    int32_t nanos;
    struct bus_message message;
    if (stream_state(dl->bus, advisory->stream, &state, err) < 0)
        return -1;
    if (!rfc3339_parse(view_of(state.created), &created_s, &nanos))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", "sweep",
                           "stream info without its creation time");
    if (hop != NULL)
        (void)!view_to_i64(view_of(hop), 0, 1000000, &replays);
    const struct dead_letter facts = {
        .stream = advisory->stream,
        .stream_created_s = FAULT("sweeper-other-identity") ? 0 : created_s,
        .consumer = advisory->consumer,
        .parks = view_starts_with(view_of(advisory->consumer), "adapter-"),
        .subject = original->subject,
        .sequence = advisory->sequence,
        .deliveries = advisory->deliveries,
        .class = "crash",
        .code = "crash",
        .reason = "the server gave up delivering it: no delivery ended with a verdict",
        .entity = entity,
        .first_seen_us = original->stored_us,
        .failed_at_us = wall_us(),
        .worker = "echora-dead-letters",
        .hop = (unsigned)replays,
        .payload = original->payload,
        .original = original->headers,
        .n_original = original->n_headers,
    };
    if (dead_letter_build(&facts, arena, &message, err) < 0)
        return -1;
    return bus_publish(dl->bus, &message, NULL, err);
}

static int sweep(struct dead_letters *dl, const struct event *event, struct arena *arena,
                 struct err *err)
{
    struct advisory advisory;
    struct stored_message original;
    bool found;
    if (read_advisory(event->payload, &advisory, err) < 0)
        return -1;
    if (is_own(advisory.stream))
        return 0;
    if (stream_message(dl->bus, advisory.stream, advisory.sequence, arena, &original, &found, err) <
        0)
        return -1;
    if (!found) {
        log_warn("an event that was given up is no longer in its stream",
                 LF_STR("stream", advisory.stream), LF_STR("consumer", advisory.consumer),
                 LF_I64("seq", (int64_t)advisory.sequence));
        return 0;
    }
    const struct view entity =
        event->deliveries < CAREFUL_FROM ? entity_of(&original, arena) : (struct view){0};
    return write_letter(dl, &advisory, &original, entity, arena, err);
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
