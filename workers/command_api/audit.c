/* Who did what, on the stream AUDIT: one record of each POST that came with a good token, and of
 * each approval one more, before anything is done. What is kept of token, key and body is their
 * hash. Calls above their rate leave none: the stream keeps 400 days and refuses when it is full,
 * so nobody may fill it by being refused. */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <jansson.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"
#include "events/bus.h"
#include "events/log.h"
#include "workers/command_api/call.h"

#define RECORD_MAX 8192

static const struct metric_def failures_def = {
    "echora_command_audit_failures_total", METRIC_COUNTER,
    "Audit records that the stream AUDIT did not take.", "", NULL};

static void put_text(struct buf *out, const char *name, struct view text)
{
    buf_printf(out, ",\"%s\":", name);
    buf_put_json_string(out, text);
}

static void put_hash(struct buf *out, const char *name, const uint8_t hash[static SHA256_SIZE])
{
    buf_printf(out, ",\"%s\":\"", name);
    buf_put_hex(out, (struct bytes){hash, SHA256_SIZE});
    buf_putc(out, '"');
}

static void put_digest(struct buf *out, const char *name, struct view of)
{
    uint8_t hash[SHA256_SIZE];

    if (of.p == NULL)
        return;
    sha256(bytes_of(of), hash);
    put_hash(out, name, hash);
}

/* UUIDs have more than one spelling, and are looked for in one. */
static void put_id(struct buf *out, const char *text)
{
    char spelled[UUID_TEXT];
    struct uuid id;

    if (!uuid_parse(view_of(text), &id))
        return;
    uuid_format(id, spelled);
    buf_puts(out, spelled);
}

/* The members that name things, as they were checked. */
static void put_ids(const struct call *c, struct buf *out)
{
    static const char *const names[] = {"run_id",   "snapshot_id",       "review_id",
                                        "sequence", "decision_batch_id", "plan_id"};
    const char *between = "";

    buf_puts(out, ",\"ids\":{");
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const json_t *value = json_object_get(c->members, names[i]);

        if (json_is_integer(value)) {
            buf_printf(out, "%s\"%s\":%" PRId64, between, names[i],
                       (int64_t)json_integer_value(value));
        } else if (json_is_string(value)) {
            buf_printf(out, "%s\"%s\":\"", between, names[i]);
            put_id(out, json_string_value(value));
            buf_putc(out, '"');
        } else {
            continue;
        }
        between = ",";
    }
    buf_putc(out, '}');
}

static void put_outcome(const struct call *c, struct buf *out)
{
    buf_printf(out, ",\"status\":%d", call_status(c));
    put_text(out, "code", view_of(call_code(c)));
    buf_printf(out, ",\"replayed\":%s,\"ms\":%" PRId64, c->replayed ? "true" : "false",
               (mono_us() - c->began_us) / 1000);
}

static int write_record(struct call *c, bool outcome, struct err *err)
{
    static const struct bus_header headers[] = {{"Content-Type", "application/json"}};
    struct buf out CLEANUP(buf_deinit) = {.max = RECORD_MAX};
    const int64_t now = wall_us();
    char at[RFC3339_MAX];

    rfc3339_format(now / 1000000, (int32_t)(now % 1000000) * 1000, at);
    buf_printf(&out, "{\"at\":\"%s\",\"kind\":\"%s\",\"request_id\":\"%s\"", at,
               outcome ? "outcome" : "intent", c->id);
    put_text(&out, "client", view_of(c->caller.client));
    put_text(&out, "sub", view_of(c->caller.sub));
    put_text(&out, "call", view_of(c->route->call));
    put_text(&out, "path", c->target.path);
    if (c->members_checked)
        put_ids(c, &out);
    if (c->caller.has_jti)
        put_hash(&out, "jti_sha256", c->caller.jti_sha256);
    put_digest(&out, "key_sha256", c->key);
    put_digest(&out, "body_sha256", buf_view(&c->body));
    if (outcome)
        put_outcome(c, &out);
    buf_putc(&out, '}');
    if (buf_failed(&out))
        return buf_error(&out, "audit", "the record", err);
    const struct bus_message message = {.subject = "audit.command",
                                        .payload = bytes_of(buf_view(&out)),
                                        .headers = headers,
                                        .n_headers = ARRAY_LEN(headers)};
    return outcome ? bus_acks_publish(c->api->audit, &message, c->id, err)
                   : bus_publish(c->api->bus, &message, NULL, err);
}

void call_audit_failed(void *ctx, const char *request_id, const struct err *err)
{
    metric_add(metric_series(&failures_def, (const char *[]){NULL}), 1);
    log_error("no audit record", LF_STR("request_id", request_id), LF_STR("code", err->code),
              LF_STR("op", err->op), LF_STR("reason", err->text));
}

static bool write_or_tell(struct call *c, bool outcome)
{
    struct err err = ERR_INIT;

    if (write_record(c, outcome, &err) == 0)
        return true;
    call_audit_failed(NULL, c->id, &err);
    return false;
}

bool call_audit_intent(struct call *c)
{
    return !c->approves || strcmp(c->route->method, "POST") != 0 || FAULT("intent-unwritten") ||
           write_or_tell(c, false) ||
           refuse(&c->refusal, PROBLEM_UNAVAILABLE,
                  "The audit can't be written now, so nothing was done.");
}

/* A responder may say the same word behind the checks: its calls are recorded. */
static bool is_above_rate(const struct call *c)
{
    return c->refusal.problem == PROBLEM_RATE && !c->members_checked;
}

void call_audit_outcome(struct call *c)
{
    if (c->authenticated && strcmp(c->route->method, "POST") == 0 && !is_above_rate(c))
        (void)write_or_tell(c, true);
}
