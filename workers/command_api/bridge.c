// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/bridge.h"

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/gen/ops.pb-c.h"
#include "contracts/json.h"
#include "contracts/registry.h"
#include "contracts/wire.h"

#define DECODE_MAX ((size_t)64 << 20)
#define REPLY_MAX ((size_t)16 << 20)

bool bridge_request(struct call *c, struct buf *out)
{
    ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;

    if (json_decode_value(registry_must(c->route->subject)->message, c->members, c->arena, &message,
                          &err) == 0 &&
        wire_encode(message, out, &err) == 0)
        return true;
    if (err.class != ERR_REJECT)
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "No memory.");
    violate(&c->refusal, "", "meaning");
    return false;
}

/* A partial record: what is not set was not asked for. */
bool bridge_is_sparse(const ProtobufCMessageDescriptor *type)
{
    return strcmp(type->name, "echora.catalog.v1.Anime") == 0;
}

static bool has_own_form(const ProtobufCFieldDescriptor *field)
{
    const ProtobufCMessageDescriptor *type = field->descriptor;

    return strncmp(type->name, "google.protobuf.", sizeof("google.protobuf.") - 1) == 0;
}

static void write_message(const ProtobufCMessage *m, const char *const names[], bool sparse,
                          struct buf *out);

/* One value of a field, at p. Texts and numbers that have one form everywhere are not ours to
 * write: they go through the canonical writer. */
static bool write_own(const ProtobufCFieldDescriptor *field, const void *p, bool sparse,
                      struct buf *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_put_i64(out, *(const int64_t *)p);
        return true;
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *m = *(const ProtobufCMessage *const *)p;

        if (m == NULL)
            buf_puts(out, "null");
        else if (!has_own_form(field))
            write_message(m, NULL, sparse || bridge_is_sparse(m->descriptor), out);
        else
            return false;
        return true;
    }
    default:
        return false;
    }
}

bool bridge_has_zero(const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return true;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_ENUM)
        return false;
    return field->label == PROTOBUF_C_LABEL_NONE;
}

/* The canonical form leaves these out. */
static const char *zero_of(const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return field_is_map(field) ? "{}" : "[]";
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return "\"\"";
    case PROTOBUF_C_TYPE_BOOL:
        return "false";
    default:
        return "0";
    }
}

static void write_field(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field,
                        bool sparse, struct buf *out)
{
    const char *at = (const char *)m + field->offset;
    struct err err = ERR_INIT;

    if (field->label == PROTOBUF_C_LABEL_REPEATED && !field_is_map(field) &&
        field->type == PROTOBUF_C_TYPE_MESSAGE && !has_own_form(field)) {
        const size_t n = *(const size_t *)((const char *)m + field->quantifier_offset);
        const ProtobufCMessage *const *list = *(const ProtobufCMessage *const *const *)at;

        buf_putc(out, '[');
        for (size_t i = 0; i < n; i++) {
            if (i > 0)
                buf_putc(out, ',');
            write_message(list[i], NULL, sparse, out);
        }
        buf_putc(out, ']');
        return;
    }
    if (field->label != PROTOBUF_C_LABEL_REPEATED && write_own(field, at, sparse, out))
        return;
    if (!field_is_set(m, field) && bridge_has_zero(field)) {
        buf_puts(out, zero_of(field));
        return;
    }
    if (json_encode_field(m, field, out, &err) < 0)
        out->failed = true;
}

static bool is_named(const char *const names[], const char *name)
{
    for (; names != NULL && *names != NULL; names++) {
        if (strcmp(*names, name) == 0)
            return true;
    }
    return false;
}

static void write_message(const ProtobufCMessage *m, const char *const names[], bool sparse,
                          struct buf *out)
{
    bool first = true;

    buf_putc(out, '{');
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &m->descriptor->fields[i];

        if ((names != NULL && !is_named(names, field->name)) || (sparse && !field_is_set(m, field)))
            continue;
        buf_puts(out, first ? "\"" : ",\"");
        buf_puts(out, field->name);
        buf_puts(out, "\":");
        write_field(m, field, sparse, out);
        first = false;
    }
    buf_putc(out, '}');
}

void bridge_write(const ProtobufCMessage *message, const char *const names[], struct buf *out)
{
    write_message(message, names, false, out);
}

static void write_plan(struct call *c, const ProtobufCMessage *reply, struct buf *out)
{
    const Echora__Ops__V1__DlqReplayReply *m = (const Echora__Ops__V1__DlqReplayReply *)reply;
    const bool dry = json_is_true(json_object_get(c->members, "dry_run"));

    buf_puts(out, "{\"plan_id\":");
    buf_put_json_string(out, view_of(m->plan != NULL ? m->plan->id : ""));
    if (dry) {
        const char *const sample[] = {"sample", NULL};

        c->status = 200;
        buf_puts(out, ",\"plan\":");
        if (m->plan != NULL)
            bridge_write(&m->plan->base, NULL, out);
        else
            buf_puts(out, "null");
        struct buf rest = {.max = REPLY_MAX};
        bridge_write(reply, sample, &rest);
        buf_putc(out, ',');
        buf_append(out, rest.n > 0 ? rest.p + 1 : "}", rest.n > 0 ? rest.n - 1 : 1);
        out->failed |= buf_failed(&rest);
        buf_deinit(&rest);
        return;
    }
    buf_putc(out, '}');
}

static void write_drift(const ProtobufCMessage *reply, struct buf *out)
{
    struct buf counts = {.max = REPLY_MAX};

    bridge_write(reply, NULL, &counts);
    buf_puts(out, "{\"state\":\"done\",");
    buf_append(out, counts.n > 0 ? counts.p + 1 : "}", counts.n > 0 ? counts.n - 1 : 1);
    out->failed |= buf_failed(&counts);
    buf_deinit(&counts);
}

const char *const *bridge_names(enum bridge bridge)
{
    static const char *const review[] = {
        "anime_id", "changed_fields", "risk_reasons", "state", "current", "proposed", NULL};
    static const char *const decision[] = {"state", "revision", NULL};

    return bridge == BRIDGE_REVIEW ? review : bridge == BRIDGE_DECISION ? decision : NULL;
}

static void write_reply(struct call *c, const ProtobufCMessage *reply, struct buf *out)
{
    const char *const *names = bridge_names(c->route->bridge);

    c->status = c->route->success;
    switch (c->route->bridge) {
    case BRIDGE_REVIEW: {
        const Echora__Catalog__V1__CatalogReviewGetReply *m =
            (const Echora__Catalog__V1__CatalogReviewGetReply *)reply;

        if (m->review != NULL)
            bridge_write(&m->review->base, names, out);
        return;
    }
    case BRIDGE_DECISION:
        bridge_write(reply, names, out);
        return;
    case BRIDGE_LETTER: {
        const Echora__Ops__V1__DlqShowReply *m = (const Echora__Ops__V1__DlqShowReply *)reply;

        if (m->letter != NULL)
            bridge_write(&m->letter->base, NULL, out);
        return;
    }
    case BRIDGE_PLAN:
        write_plan(c, reply, out);
        return;
    case BRIDGE_RECONCILE:
        write_drift(reply, out);
        return;
    case BRIDGE_COMMAND:
    case BRIDGE_ARTIFACT:
    case BRIDGE_LETTERS:
        bridge_write(reply, NULL, out);
        return;
    }
}

bool bridge_reply(struct call *c, struct bytes reply)
{
    ProtobufCMessage *message = NULL;
    struct err err = ERR_INIT;
    struct buf out CLEANUP(buf_deinit) = {.max = REPLY_MAX};

    if (wire_decode(registry_must(c->route->subject)->reply, reply, DECODE_MAX, c->arena, &message,
                    &err) < 0)
        return refuse(&c->refusal, PROBLEM_FAILED, "The responder's answer can't be read.");
    write_reply(c, message, &out);
    const char *copy = arena_strdup(c->arena, buf_view(&out));
    if (buf_failed(&out) || copy == NULL || out.n == 0)
        return refuse(&c->refusal, PROBLEM_FAILED, "The responder's answer can't be told.");
    c->reply = (struct view){copy, out.n};
    return true;
}

/* Codes whose meaning the caller has a word for. What a responder says in text is for logs: it may
 * name a person. */
static const struct {
    const char *code;
    enum problem problem;
    const char *detail;
} known[] = {
    {"not-found", PROBLEM_NOT_FOUND, "There is no such thing."},
    {"no-letter", PROBLEM_NOT_FOUND, "There is no such dead letter."},
    {"no-plan", PROBLEM_NOT_FOUND, "There is no such plan, or it is over already."},
    {"already-decided", PROBLEM_DECIDED, "The contrary was decided before."},
    {"review-expired", PROBLEM_DECIDED, "Nobody decided in time, so it was discarded."},
    {"decision-reused", PROBLEM_IDEMPOTENCY, "The decision's id belongs to another update."},
    {"idempotency-conflict", PROBLEM_IDEMPOTENCY, "The key came before with another request."},
    {"stale-token", PROBLEM_IN_PROGRESS, "Another call with this key took over."},
    {"reply-too-large", PROBLEM_FAILED, "The answer is too large for the bus."},
};

bool bridge_refusal(struct call *c, const char *code, const char *class)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(code, known[i].code) == 0)
            return refuse(&c->refusal, known[i].problem, "%s", known[i].detail);
    }
    if (class != NULL && strcmp(class, err_class_name(ERR_REJECT)) != 0)
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "The responder can't serve now.");
    violate(&c->refusal, "", code);
    return false;
}
