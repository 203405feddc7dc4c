// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/event_input.h"

#include "contracts/validate.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/base/uuid.h"
#include "ops/cli/cli.h"

int event_subject(const char *subject, const struct subject_def **ret, struct err *err)
{
    const struct subject_def *def = registry_subject(view_of(subject));

    if (!def || def->kind != SUBJECT_EVENT)
        return cli_usage(err, "\"%s\" is no event subject; `echora reference subjects` lists them",
                         subject);
    *ret = def;
    return 0;
}

void event_complete(json_t *json)
{
    char id[UUID_TEXT], time[RFC3339_MAX];
    int64_t now = wall_us();

    if (!json_is_object(json))
        return;
    if (!json_object_get(json, "eventId") && !json_object_get(json, "event_id")) {
        uuid_format(uuid_v7(), id);
        json_object_set_new(json, "eventId", json_string(id));
    }
    if (!json_object_get(json, "timestamp")) {
        rfc3339_format(now / 1000000, (int32_t)(now % 1000000) * 1000, time);
        json_object_set_new(json, "timestamp", json_string(time));
    }
}

/* The faults of the rules, and the size as it goes out. */
static unsigned check_message(const struct subject_def *def, const ProtobufCMessage *message,
                              fault_fn *report, void *ctx)
{
    unsigned n = validate_event(def, message, wall_us(), report, ctx);
    size_t size = protobuf_c_message_get_packed_size(message);

    if (size <= EVENT_MAX)
        return n;
    struct fault fault = {.code = "too-large", .path = "(payload)"};
    (void)snprintf(fault.text, sizeof(fault.text), "at most %u bytes", EVENT_MAX);
    (void)snprintf(fault.kind, sizeof(fault.kind), "%u bytes", (unsigned)size);
    report(ctx, &fault);
    return n + 1;
}

unsigned event_check_json(const struct subject_def *def, const json_t *json, struct arena *arena,
                          ProtobufCMessage **ret, fault_fn *report, void *ctx)
{
    ProtobufCMessage *message = NULL;
    unsigned n = json_decode_report(def->message, json, arena, &message, report, ctx);

    /* What could not be read counts as absent, so "missing" would be said of it once more. */
    if (n == 0 && message)
        n = check_message(def, message, report, ctx);
    if (ret)
        *ret = n == 0 ? message : NULL;
    return n;
}

unsigned event_check_bytes(const struct subject_def *def, struct bytes payload, struct arena *arena,
                           ProtobufCMessage **ret, fault_fn *report, void *ctx)
{
    struct err err = ERR_INIT;
    ProtobufCMessage *message = NULL;

    if (wire_decode(def->message, payload, WIRE_DECODE_MAX_DEFAULT, arena, &message, &err) < 0) {
        struct fault fault = {.code = err.code, .path = "(payload)", .kind = "bytes"};
        (void)snprintf(fault.text, sizeof(fault.text), "%.199s", err.text);
        report(ctx, &fault);
        return 1;
    }
    unsigned n = check_message(def, message, report, ctx);
    if (ret)
        *ret = n == 0 ? message : NULL;
    return n;
}

int event_encode(const ProtobufCMessage *message, struct arena *arena, struct bytes *ret,
                 struct err *err)
{
    size_t n = protobuf_c_message_get_packed_size(message);

    if (n > EVENT_MAX)
        return err_set(err, ERR_REJECT, "too-large", "encode event", "%zu bytes, at most %u", n,
                       EVENT_MAX);
    uint8_t *p = arena_alloc(arena, n + 1);
    if (!p)
        return err_set(err, ERR_REJECT, "too-large", "encode event", "out of memory");
    *ret = (struct bytes){p, protobuf_c_message_pack(message, p)};
    return 0;
}
