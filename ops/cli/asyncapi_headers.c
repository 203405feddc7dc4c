/* The headers of the document, and what each means. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/attr.h"
#include "ops/cli/asyncapi.h"

struct header {
    const char *name, *description, *pattern; /* pattern: NULL = any text */
};

/* What every publish carries (spec subjects.md, "Headers"). */
static const struct header of_event[] = {
    {"Nats-Msg-Id", "<entity id>-<first 8 hex of the payload's SHA-256>: repeats inside the "
                    "stream's window are dropped."},
    {"Nats-Expected-Stream", "The stream's name: a publish to the wrong cluster fails loudly."},
    {"Content-Type", "application/protobuf"},
    {"Echora-Event-Id", "The event's id, as in the message."},
    {"Echora-Schema", "The message's full name."},
    {"traceparent", "W3C trace context."},
    {"tracestate", "W3C trace context."},
};

/* What a dead letter carries beside the original's headers (spec dead-letters.md). */
static const struct header of_dead_letter[] = {
    {"Nats-Msg-Id", "<stream>:<its creation, Unix s>:<consumer>:<sequence>: one per failure."},
    {"Echora-Dlq-Stream", "Where the event lies."},
    {"Echora-Dlq-Consumer", "Who gave it up."},
    {"Echora-Dlq-Subject", "The event's subject."},
    {"Echora-Dlq-Seq", "Its sequence in the stream."},
    {"Echora-Dlq-Deliveries", "How often it was tried."},
    {"Echora-Dlq-Class", "reject, retry-exhausted, crash or expired."},
    {"Echora-Dlq-Code", "Stable; see ops/reference/codes.md."},
    {"Echora-Dlq-Reason", "For people; holds no field values."},
    {"Echora-Dlq-Fingerprint", "The same for equal failures."},
    {"Echora-Dlq-Entity", "The id of the thing it is about, as the event has it."},
    {"Echora-Dlq-First-Seen", "When the broker stored the event."},
    {"Echora-Dlq-Failed-At", "When it was given up."},
    {"Echora-Dlq-Worker", "The process that wrote the dead letter."},
    {"Echora-Dlq-Hop", "Replays so far."},
};

static const struct header of_validate[] = {
    {"Echora-Subject", "The subject to validate for."},
    {"Content-Type", "application/protobuf (default) or application/json."},
};

/* Requests that have their effect once, however often they come (events/once.h). */
static const struct header of_once[] = {
    {"Content-Type", "application/protobuf (default) or application/json."},
    {"Echora-Idem",
     "<hex SHA-256 of the caller's key>:<token>. The same key again gets the first one's reply and "
     "has no effect; a token below the highest that came is refused. Left out: every request has "
     "its effect.",
     "^[0-9a-f]{64}:[1-9][0-9]*$"},
};

static const struct {
    const struct header *rows;
    size_t n;
    const char *required; /* NULL = none */
} tables[] = {
    [ASYNCAPI_EVENT] = {of_event, ARRAY_LEN(of_event), "Nats-Msg-Id"},
    [ASYNCAPI_DEAD_LETTER] = {of_dead_letter, ARRAY_LEN(of_dead_letter), "Echora-Dlq-Code"},
    [ASYNCAPI_VALIDATE] = {of_validate, ARRAY_LEN(of_validate), "Echora-Subject"},
    [ASYNCAPI_ONCE] = {of_once, ARRAY_LEN(of_once), NULL},
};

json_t *asyncapi_headers(enum asyncapi_headers which)
{
    json_t *members = json_object(), *schema;

    for (size_t i = 0; i < tables[which].n; i++) {
        const struct header *row = &tables[which].rows[i];

        json_object_set_new(members, row->name,
                            json_pack("{s:s, s:s, s:s*}", "type", "string", "description",
                                      row->description, "pattern", row->pattern));
    }
    schema = json_pack("{s:s, s:o}", "type", "object", "properties", members);
    if (tables[which].required != NULL)
        json_object_set_new(schema, "required", json_pack("[s]", tables[which].required));
    return schema;
}
