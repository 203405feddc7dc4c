// SPDX-License-Identifier: Apache-2.0
#include "workers/adapter/body.h"

#include <stdio.h>

#include "catalog.pb-c.h"
#include "contracts/field.h"
#include "contracts/registry.h"
#include "events/base/clock.h"
#include "events/base/fault.h"

/* So many names a list holds; there are fewer fields. */
#define LIST_MAX 64
#define NAME_MAX_BYTES 64
#define DIGITS 24

/* A form writes the value when it has that form; false when it has not. */
typedef bool form_fn(struct buf *out, struct view value);

static bool put_uuid(struct buf *out, struct view value)
{
    struct uuid id;
    char text[UUID_TEXT];

    if (!uuid_parse(value, &id))
        return false;
    uuid_format(id, text);
    buf_put_json_string(out, view_of(text));
    return true;
}

static bool put_count(struct buf *out, struct view value)
{
    int64_t n;

    if (!view_to_i64(value, 0, INT64_MAX, &n))
        return false;
    buf_put_i64(out, n);
    return true;
}

static bool put_subject(struct buf *out, struct view value)
{
    const struct subject_def *def = registry_subject(value);

    if (def == NULL)
        return false;
    buf_put_json_string(out, view_of(def->subject));
    return true;
}

/* A code that this house knows; of a peer's own (pg-23503) what is safe to say. */
static bool put_code(struct buf *out, struct view value)
{
    char code[32];

    if (value.n == 0 || value.n >= sizeof(code))
        return false;
    for (size_t i = 0; i < value.n; i++) {
        const char c = value.p[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-')
            return false;
        code[i] = c;
    }
    code[value.n] = '\0';
    if (error_code_find(code) == NULL)
        return false;
    buf_put_json_string(out, value);
    return true;
}

/* "catalog-updated", the last token of the dead letter's subject: the broker lets each user publish
 * only on its own. */
static bool put_consumer(struct buf *out, struct view value)
{
    static const char prefix[] = "anime.dlq.";

    if (!view_starts_with(value, prefix) || value.n == sizeof(prefix) - 1 ||
        value.n - (sizeof(prefix) - 1) > NAME_MAX_BYTES)
        return false;
    value = (struct view){value.p + sizeof(prefix) - 1, value.n - (sizeof(prefix) - 1)};
    for (size_t i = 0; i < value.n; i++) {
        const char c = value.p[i];
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-')
            return false;
    }
    buf_put_json_string(out, value);
    return true;
}

static bool is_hex(struct view value)
{
    for (size_t i = 0; i < value.n; i++) {
        const char c = value.p[i];
        if ((c < 'a' || c > 'f') && (c < '0' || c > '9'))
            return false;
    }
    return true;
}

static bool put_fingerprint(struct buf *out, struct view value)
{
    if (value.n != 16 || !is_hex(value))
        return false;
    buf_put_json_string(out, value);
    return true;
}

/* "artifact:sha256/<64 hex digits>" */
static bool put_artifact(struct buf *out, struct view value)
{
    static const char prefix[] = "artifact:sha256/";
    const size_t n = sizeof(prefix) - 1;

    if (!view_starts_with(value, prefix) || value.n != n + 64 ||
        !is_hex((struct view){value.p + n, 64}))
        return false;
    buf_put_json_string(out, value);
    return true;
}

static const ProtobufCFieldDescriptor *anime_field(struct view name)
{
    return field_by_name(&echora__catalog__v1__anime__descriptor, name);
}

static bool put_field_name(struct buf *out, struct view value)
{
    const ProtobufCFieldDescriptor *field = anime_field(value);

    if (field == NULL)
        return false;
    buf_put_json_string(out, view_of(field->name));
    return true;
}

/* "episode-count-lowered": a field and what is wrong with its change. What a publisher gave as its
 * reason is free text, and only said to be there. */
static bool put_risk(struct buf *out, struct view value)
{
    static const char *const whats[] = {"changed", "lowered", "backward", "removed", "cut"};
    char name[NAME_MAX_BYTES];
    size_t dash = 0;

    for (size_t i = 0; i < value.n && value.n < sizeof(name); i++) {
        name[i] = value.p[i] == '-' ? '_' : value.p[i];
        dash = value.p[i] == '-' ? i : dash;
    }
    const bool field = dash > 0 && anime_field((struct view){name, dash}) != NULL;
    const struct view what = {value.p + dash + 1, field ? value.n - dash - 1 : 0};
    for (size_t i = 0; field && i < ARRAY_LEN(whats); i++) {
        if (view_is(what, whats[i])) {
            buf_put_json_string(out, value);
            return true;
        }
    }
    return false;
}

enum source {
    FROM_HEADER,
    FROM_SUBJECT,
    FROM_SEQUENCE,
    FROM_FIELD, /* of the message: text, a number, or a list of texts */
};
struct allowed {
    const char *key;
    enum source source;
    const char *name; /* of the header or field */
    form_fn *form;
    const char *other; /* for members of a list that have another form; NULL leaves them out */
};

static const struct allowed dlq_keys[] = {
    {"event_id", FROM_HEADER, "Echora-Event-Id", put_uuid, NULL},
    {"subject", FROM_HEADER, "Echora-Dlq-Subject", put_subject, NULL},
    {"error_type", FROM_HEADER, "Echora-Dlq-Code", put_code, NULL},
    {"entity_id", FROM_HEADER, "Echora-Dlq-Entity", put_uuid, NULL},
    {"source_service", FROM_SUBJECT, NULL, put_consumer, NULL},
    {"attempt_count", FROM_HEADER, "Echora-Dlq-Deliveries", put_count, NULL},
    {"dlq_seq", FROM_SEQUENCE, NULL, put_count, NULL},
    {"fingerprint", FROM_HEADER, "Echora-Dlq-Fingerprint", put_fingerprint, NULL},
};
static const struct allowed risk_keys[] = {
    {"event_id", FROM_FIELD, "event_id", put_uuid, NULL},
    {"anime_id", FROM_FIELD, "anime_id", put_uuid, NULL},
    {"changed_fields", FROM_FIELD, "changed_fields", put_field_name, NULL},
    {"risk_reason", FROM_FIELD, "risk_reasons", put_risk, "flagged"},
};
static const struct allowed review_keys[] = {
    {"run_id", FROM_FIELD, "run_id", put_count, NULL},
    {"entry_count", FROM_FIELD, "entry_count", put_count, NULL},
    {"review_ref", FROM_FIELD, "review_ref", put_artifact, NULL},
};

static const struct {
    const char *name, *type;
    const struct allowed *keys;
    size_t n;
} routes[ROUTES] = {
    [ROUTE_DLQ] = {"dlq", "dead-letter.created", dlq_keys, ARRAY_LEN(dlq_keys)},
    [ROUTE_RISK] = {"risk", "update.review-requested", risk_keys, ARRAY_LEN(risk_keys)},
    [ROUTE_REVIEW] = {"review", "ingestion.review-ready", review_keys, ARRAY_LEN(review_keys)},
};

const char *route_name(enum route route)
{
    return routes[route].name;
}

bool route_find(struct view name, enum route *ret)
{
    for (enum route r = ROUTE_DLQ; r < ROUTES; r++) {
        if (view_is(name, routes[r].name)) {
            *ret = r;
            return true;
        }
    }
    return false;
}

static bool put_formed(struct buf *out, const struct allowed *a, struct view value)
{
    if (FAULT("redaction-off") && value.n > 0) {
        buf_put_json_string(out, value);
        return true;
    }
    return value.p != NULL && a->form(out, value);
}

static void put_list(struct buf *out, const struct allowed *a, char *const values[], size_t n)
{
    bool first = true, other = false;

    buf_putc(out, '[');
    for (size_t i = 0; i < n && i < LIST_MAX; i++) {
        const size_t before = out->n;

        if (!first)
            buf_putc(out, ',');
        if (put_formed(out, a, view_of(values[i]))) {
            first = false;
            continue;
        }
        out->n = before;
        other = true;
    }
    if (other && a->other != NULL) {
        buf_puts(out, first ? "" : ",");
        buf_put_json_string(out, view_of(a->other));
    }
    buf_putc(out, ']');
}

/* Text of a field, numbers in digits; its pointer is NULL when the field is of another kind. */
static struct view field_text(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f,
                              char digits[static DIGITS])
{
    const char *at = (const char *)m + f->offset;
    int64_t n;

    switch (f->type) {
    case PROTOBUF_C_TYPE_STRING:
        return view_of(*(char *const *)(const void *)at);
    case PROTOBUF_C_TYPE_INT64:
        n = *(const int64_t *)(const void *)at;
        break;
    case PROTOBUF_C_TYPE_INT32:
        n = *(const int32_t *)(const void *)at;
        break;
    default:
        return (struct view){0};
    }
    return (struct view){digits, (size_t)snprintf(digits, DIGITS, "%lld", (long long)n)};
}

static void put_value(struct buf *out, const struct allowed *a, const struct original *o)
{
    char digits[DIGITS];
    struct view value = {0};

    if (a->source == FROM_HEADER) {
        value = view_of(o->header(o->ctx, a->name));
    } else if (a->source == FROM_SUBJECT) {
        value = view_of(o->subject);
    } else if (a->source == FROM_SEQUENCE) {
        value.n = (size_t)snprintf(digits, DIGITS, "%llu", (unsigned long long)o->sequence);
        value.p = digits;
    } else {
        const ProtobufCFieldDescriptor *f = field_by_name(o->message->descriptor, view_of(a->name));

        if (f->label == PROTOBUF_C_LABEL_REPEATED) {
            const char *base = (const char *)o->message;
            put_list(out, a, *(char **const *)(const void *)(base + f->offset),
                     *(const size_t *)(const void *)(base + f->quantifier_offset));
            return;
        }
        value = field_text(o->message, f, digits);
    }
    if (!put_formed(out, a, value))
        buf_puts(out, "null");
}

static int64_t time_of(enum route route, const struct original *o)
{
    const char *text = route == ROUTE_DLQ ? o->header(o->ctx, "Echora-Dlq-Failed-At") : NULL;
    int64_t seconds;
    int32_t nanos;

    if (text != NULL && rfc3339_parse(view_of(text), &seconds, &nanos))
        return seconds * 1000000 + nanos / 1000;
    return o->time_us != 0 ? o->time_us : o->stored_us;
}

static void put_head(struct buf *out, const char *type, struct uuid id, int64_t time_us)
{
    char text[RFC3339_MAX], id_text[UUID_TEXT];
    int64_t seconds = time_us / 1000000, micros = time_us % 1000000;

    if (micros < 0) {
        seconds--;
        micros += 1000000;
    }
    rfc3339_format(seconds, (int32_t)(micros * 1000), text);
    uuid_format(id, id_text);
    buf_printf(out, "{\"type\":\"%s\",\"timestamp\":\"%s\",\"id\":\"%s\",\"data\":{", type, text,
               id_text);
}

static int finish(const struct buf *out, struct err *err)
{
    return buf_failed(out) ? buf_error(out, "write webhook", "the body", err) : 0;
}

int body_id(enum route route, const struct original *o, struct uuid *ret, struct err *err)
{
    if (route == ROUTE_DLQ) {
        const char *identity = o->header(o->ctx, "Nats-Msg-Id");
        char place[48];

        snprintf(place, sizeof(place), "ANIME_DLQ:%llu", (unsigned long long)o->sequence);
        *ret =
            uuid_v5(uuid_echora, view_of(identity != NULL && *identity != '\0' ? identity : place));
        return 0;
    }
    const ProtobufCFieldDescriptor *f = field_by_name(o->message->descriptor, VIEW_LIT("event_id"));
    char digits[DIGITS];

    if (uuid_parse(field_text(o->message, f, digits), ret))
        return 0;
    return err_set(err, ERR_REJECT, "bad-uuid", "write webhook", "the event has no id");
}

int body_build(enum route route, const struct original *o, struct uuid id, struct buf *out,
               struct err *err)
{
    put_head(out, routes[route].type, id, time_of(route, o));
    for (size_t i = 0; i < routes[route].n; i++) {
        const struct allowed *a = &routes[route].keys[i];

        buf_printf(out, "%s\"%s\":", i > 0 ? "," : "", a->key);
        put_value(out, a, o);
    }
    buf_puts(out, "}}");
    return finish(out, err);
}

int body_test(enum route route, struct uuid id, int64_t now_us, struct buf *out, struct err *err)
{
    put_head(out, "webhook.test", id, now_us);
    buf_printf(out, "\"route\":\"%s\"}}", routes[route].name);
    return finish(out, err);
}
