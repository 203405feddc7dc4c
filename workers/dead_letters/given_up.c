// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/given_up.h"

#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/deadletter.h"
#include "events/log.h"
#include "events/metrics.h"
#include "events/stream.h"

enum { DECODE_MAX = 32 << 20 };

static const struct metric_def swept_def = {
    "echora_dlq_swept_total", METRIC_COUNTER,
    "Dead letters written for workers that could not, by what told of the event: the server's "
    "advisory, or reconciliation of consumers.",
    "by", NULL};

bool given_up_is_own(const char *stream)
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

static int write_letter(struct dead_letters *dl, const struct given_up *event,
                        const struct stored_message *original, struct view entity,
                        struct arena *arena, bool *ret_new, struct err *err)
{
    const char *hop = stored_header(original->headers, original->n_headers, "Echora-Replay-Hop");
    struct stream_state state;
    int64_t created_s, replays = 0;
    int32_t nanos;
    struct bus_message message;
    struct bus_ack ack;
    if (stream_state(dl->bus, event->stream, &state, err) < 0)
        return -1;
    if (!rfc3339_parse(view_of(state.created), &created_s, &nanos))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", "sweep",
                           "stream info without its creation time");
    if (hop != NULL)
        (void)!view_to_i64(view_of(hop), 0, 1000000, &replays);
    const struct dead_letter facts = {
        .stream = event->stream,
        .stream_created_s = FAULT("sweeper-other-identity") ? 0 : created_s,
        .consumer = event->consumer,
        .parks = view_starts_with(view_of(event->consumer), "adapter-"),
        .subject = original->subject,
        .sequence = event->sequence,
        .deliveries = event->deliveries,
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
    if (bus_publish(dl->bus, &message, &ack, err) < 0)
        return -1;
    *ret_new = !ack.duplicate;
    return 0;
}

int given_up_write(struct dead_letters *dl, const struct given_up *event, enum given_up_by by,
                   bool decode, struct arena *arena, bool *ret_new, struct err *err)
{
    struct stored_message original;
    bool found;
    *ret_new = false;
    if (stream_message(dl->bus, event->stream, event->sequence, arena, &original, &found, err) < 0)
        return -1;
    if (!found) {
        log_warn("an event that was given up is no longer in its stream",
                 LF_STR("stream", event->stream), LF_STR("consumer", event->consumer),
                 LF_I64("seq", (int64_t)event->sequence));
        return 0;
    }
    const struct view entity = decode ? entity_of(&original, arena) : (struct view){0};
    if (write_letter(dl, event, &original, entity, arena, ret_new, err) < 0)
        return -1;
    if (*ret_new)
        metric_add(metric_series(
                       &swept_def,
                       (const char *[]){by == GIVEN_UP_ADVISORY ? "advisory" : "reconciliation"}),
                   1);
    return 0;
}
