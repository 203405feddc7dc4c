// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/stamp.h"

#include "events/base/hash.h"

int stamp_event(const struct subject_def *def, const ProtobufCMessage *message,
                struct bytes payload, const struct trace_context *trace, struct arena *arena,
                struct bus_message *ret, struct err *err)
{
    struct envelope envelope;
    uint8_t digest[SHA256_SIZE];
    char traceparent[TRACEPARENT_MAX];
    struct bus_header *headers = arena_array(arena, STAMP_MAX_HEADERS, sizeof(*headers));

    envelope_read(def, message, &envelope);
    sha256(payload, digest);
    trace_format(trace, traceparent);
    struct view entity = envelope.entity_id.n ? envelope.entity_id : envelope.event_id;
    const char *id = arena_printf(arena, "%.*s-%02x%02x%02x%02x", VIEW_ARG(entity), digest[0],
                                  digest[1], digest[2], digest[3]);
    const char *event_id = arena_strdup(arena, envelope.event_id);
    const char *trace_text = arena_strdup(arena, view_of(traceparent));
    if (!headers || !id || !event_id || !trace_text)
        return err_set(err, ERR_REJECT, "too-large", "stamp event", "out of memory");
    size_t n = 0;
    headers[n++] = (struct bus_header){"Nats-Msg-Id", id};
    headers[n++] = (struct bus_header){"Nats-Expected-Stream", def->stream->name};
    headers[n++] = (struct bus_header){"Content-Type", "application/protobuf"};
    headers[n++] = (struct bus_header){"Echora-Event-Id", event_id};
    headers[n++] = (struct bus_header){"Echora-Schema", def->schema};
    headers[n++] = (struct bus_header){"traceparent", trace_text};
    *ret = (struct bus_message){
        .subject = def->subject, .payload = payload, .headers = headers, .n_headers = n};
    return 0;
}
