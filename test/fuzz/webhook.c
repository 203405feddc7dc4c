/* What stands in events and dead letters, and what of it a webhook says.
 *
 * Properties: the body is JSON of at most 20 kB with the keys of its route, every text in it is of
 * a form that no sentence has (lower-case letters, digits, - _ . : /), and the webhook-id is the
 * same each time. The first byte chooses the route; then lines "name: value" for a dead letter's
 * headers, or the bytes of a message. */
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>
#include <stdlib.h>

#include "contracts/registry.h"
#include "contracts/wire.h"
#include "test/fuzz/demand.h"
#include "workers/adapter/body.h"

enum { LINES_MAX = 32, ARENA_MAX = 4 << 20, DECODE_MAX = 1 << 20 };

struct headers {
    struct {
        const char *name, *value;
    } lines[LINES_MAX];
    size_t n;
};

static const char *header_of(const void *ctx, const char *name)
{
    const struct headers *h = ctx;
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->lines[i].name, name) == 0)
            return h->lines[i].value;
    }
    return NULL;
}

static void read_headers(struct arena *arena, struct view lines, struct headers *ret)
{
    struct view line;
    while (lines.p && ret->n < LINES_MAX && view_split(&lines, '\n', &line)) {
        struct view value = line, name = {0};
        if (!view_split(&value, ':', &name) || !value.p)
            continue;
        ret->lines[ret->n].name = arena_strdup(arena, name);
        ret->lines[ret->n].value = arena_strdup(arena, view_trim(value));
        demand(ret->lines[ret->n].name && ret->lines[ret->n].value, "memory", NULL);
        ret->n++;
    }
}

static void check_text(const char *text)
{
    for (; *text; text++)
        demand((*text >= 'a' && *text <= 'z') || (*text >= '0' && *text <= '9') ||
                   strchr("-_.:/", *text),
               "a text of an allowed form", NULL);
}

static void check_value(const json_t *value)
{
    size_t i;
    const json_t *one;
    if (json_is_string(value))
        check_text(json_string_value(value));
    json_array_foreach(value, i, one)
    {
        demand(json_is_string(one), "a list of texts", NULL);
        check_text(json_string_value(one));
    }
    demand(!json_is_object(value) && !json_is_real(value) && !json_is_boolean(value), "a kind",
           NULL);
}

static void check_body(enum route route, struct view body)
{
    static const char *const keys[ROUTES][9] = {
        [ROUTE_DLQ] = {"event_id", "subject", "error_type", "entity_id", "source_service",
                       "attempt_count", "dlq_seq", "fingerprint"},
        [ROUTE_RISK] = {"event_id", "anime_id", "changed_fields", "risk_reason"},
        [ROUTE_REVIEW] = {"run_id", "entry_count", "review_ref"},
    };
    json_t *json = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, NULL);
    const json_t *data = json_object_get(json, "data");
    size_t n = 0;
    demand(body.n <= BODY_MAX && json_object_size(json) == 4 && json_is_object(data), "JSON", NULL);
    for (; keys[route][n]; n++) {
        demand(json_object_get(data, keys[route][n]) != NULL, "a key of the route", NULL);
        check_value(json_object_get(data, keys[route][n]));
    }
    demand(json_object_size(data) == n, "no other key", NULL);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const subjects[ROUTES] = {"", "anime.updated", "ingestion.review.ready"};
    struct arena *arena = arena_new(ARENA_MAX);
    struct headers headers = {.n = 0};
    struct buf body = {.max = BODY_MAX};
    struct uuid id, again;
    struct err err = ERR_INIT;
    ProtobufCMessage *message = NULL;
    struct view rest = {(const char *)data + 1, size > 0 ? size - 1 : 0};
    demand(arena != NULL, "memory", NULL);
    if (size == 0) {
        arena_free(arena);
        return 0;
    }
    const enum route route = (enum route)(data[0] % ROUTES);
    if (route == ROUTE_DLQ)
        read_headers(arena, rest, &headers);
    else if (wire_decode(registry_must(subjects[route])->message, bytes_of(rest), DECODE_MAX, arena,
                         &message, &err) < 0)
        message = NULL;
    const struct original o = {.subject = route == ROUTE_DLQ && headers.n ? headers.lines[0].value
                                                                          : subjects[route],
                               .message = message,
                               .sequence = size,
                               .header = header_of,
                               .ctx = &headers};
    if ((route == ROUTE_DLQ || message) && body_id(route, &o, &id, &err) == 0) {
        demand(body_id(route, &o, &again, &err) == 0 && uuid_cmp(id, again) == 0, "one id", NULL);
        demand(body_build(route, &o, id, &body, &err) == 0, "a body", &err);
        check_body(route, buf_view(&body));
    }
    buf_deinit(&body);
    arena_free(arena);
    return 0;
}
