/* Everything that Qdrant sync reads of other programs, without a network: http_call and bus_call
 * are wrapped and answer with the pieces of the input, in turn.
 *
 * Property: whatever Qdrant and the catalogue answer, each operation ends, and nonsense is trouble
 * of who answered: no event is rejected for it. The first byte picks the operation; by its highest
 * bit the last piece is answered for ever, as a server that is stuck would. A piece "!503" is an
 * answer with that status. */
// SPDX-License-Identifier: Apache-2.0

#include <math.h>

#include "contracts/registry.h"
#include "contracts/wire.h"
#include "events/http.h"
#include "test/fuzz/demand.h"
#include "workers/qdrant/reconcile.h"
#include "workers/qdrant/schema.h"
#include "workers/qdrant/sync.h"

enum { CALLS_MAX = 20000, DECODE_MAX = 1 << 20 };

static struct bytes rest, last;
static bool stuck;
static unsigned calls;

static bool next_answer(struct bytes *ret)
{
    struct bytes piece;
    demand(++calls < CALLS_MAX, "an operation comes to its end", NULL);
    if (next_piece(&rest, &piece)) {
        last = piece;
    } else if (!stuck) {
        return false;
    }
    *ret = last;
    return true;
}

int __wrap_http_call(struct http *h, const char *method, const char *path, const char *content_type,
                     struct view body, struct http_reply *reply, struct err *err);
int __wrap_http_call(struct http *h, const char *method, const char *path, const char *content_type,
                     struct view body, struct http_reply *reply, struct err *err)
{
    struct bytes answer;
    int64_t status = 200;
    buf_reset(&reply->body);
    reply->status = 0;
    if (!next_answer(&answer))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_QDRANT, "http-connect", path, "no answer");
    if (answer.n == 4 && answer.p[0] == '!' &&
        !view_to_i64((struct view){(const char *)answer.p + 1, 3}, 100, 599, &status))
        status = 200;
    reply->status = (long)status;
    buf_append(&reply->body, answer.p, answer.n);
    enum err_class class = http_status_class(reply->status);
    if (class == ERR_NONE)
        return 0;
    char code[32];
    snprintf(code, sizeof(code), "http-%ld", reply->status);
    return err_set_dep(err, class, DEP_QDRANT, code, path, "refused");
}

int __wrap_bus_call(struct bus *bus, const char *subject, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *reply_type, int64_t timeout_ms,
                    struct arena *arena, ProtobufCMessage **ret_reply, struct err *err);
int __wrap_bus_call(struct bus *bus, const char *subject, const ProtobufCMessage *request,
                    const ProtobufCMessageDescriptor *reply_type, int64_t timeout_ms,
                    struct arena *arena, ProtobufCMessage **ret_reply, struct err *err)
{
    struct bytes answer;
    if (!next_answer(&answer) ||
        wire_decode(reply_type, answer, DECODE_MAX, arena, ret_reply, err) < 0)
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", subject, "no answer");
    return 0;
}

/* The events are the relay's. */
const char *__wrap_event_header(const struct event *event, const char *name);
const char *__wrap_event_header(const struct event *event, const char *name)
{
    return strcmp(name, "Echora-Position") == 0 ? "1:1" : NULL;
}

/* Trouble of a server, or a status that says 4xx itself. */
static void check_error(int rc, const struct err *err)
{
    demand(rc == 0 || err->class == ERR_UNAVAILABLE || err->class == ERR_RETRY ||
               strncmp(err->code, "http-4", 6) == 0,
           "nonsense is the server's trouble", err);
}

static int found(void *ctx, enum doc_kind kind, struct uuid id, struct err *err)
{
    demand(kind < N_DOC_KINDS, "a kind that exists", NULL);
    return 0;
}

static const struct uuid ids[3] = {
    {{0x01, 0x90, 0xa8, 0xa0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 1}},
    {{0x01, 0x90, 0xa8, 0xa0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 2}},
    {{0x01, 0x90, 0xa8, 0xa0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, 3}},
};
#define ID_TEXT(last) "0190a8a0-0000-7000-8000-00000000000" last

static void run_sync(struct qdrant *q, struct embedder *embedder)
{
    static const char *const subjects[] = {"anime.created", "character.synced", "episode.synced"};
    static const char *const id_texts[] = {ID_TEXT("1"), ID_TEXT("2"), ID_TEXT("3")};
    struct sync s = {.qdrant = q, .embedder = embedder, .step = 8};
    struct err err = ERR_INIT;
    struct event events[3] = {0};
    struct verdict verdicts[3] = {0};
    ProtobufCMessage *messages[3];
    struct arena *arena CLEANUP(arena_freep) = arena_new(DECODE_MAX);
    struct batch batch = {.events = events, .verdicts = verdicts, .n = 3, .arena = arena};

    demand(sync_init(&s, &err) == 0, "sync opens", &err);
    for (size_t i = 0; i < 3; i++) {
        events[i].def = registry_must(subjects[i]);
        events[i].entity_id = view_of(id_texts[i]);
        demand(wire_decode(events[i].def->message, (struct bytes){NULL, 0}, DECODE_MAX, arena,
                           &messages[i], &err) == 0,
               "an empty message", &err);
        events[i].message = messages[i];
    }
    sync_batch(&s, &batch);
    for (size_t i = 0; i < 3; i++) {
        const struct verdict *v = &verdicts[i];
        demand(v->kind != VERDICT_UNSET, "each event has a verdict", NULL);
        demand(v->kind != VERDICT_REJECT || strcmp(v->err.code, "too-large") == 0 ||
                   strncmp(v->err.code, "http-4", 6) == 0,
               "no event is rejected for an answer", &v->err);
        demand(v->kind != VERDICT_DONE || calls > 1, "nothing is done unseen", NULL);
    }
    sync_deinit(&s);
}

static void run_reconcile(struct qdrant *q)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(8 * DECODE_MAX);
    const struct reconcile r = {.qdrant = q, .arena = arena};
    const struct id_range all = {0};
    struct drift drift = {0};
    struct err err = ERR_INIT;
    check_error(reconcile_kind(&r, DOC_ANIME, &all, true, &drift, &err), &err);
}

static void run_schema(struct qdrant *q)
{
    const struct schema want = {.alias = "a", .model = "none/1"};
    struct err err = ERR_INIT;
    if (schema_ensure(q, &want, &err) < 0 && err.class == ERR_FATAL)
        demand(strncmp(err.code, "qdrant-", 7) == 0 || strncmp(err.code, "http-4", 6) == 0,
               "a fatal error has its name", &err);
}

static void run(uint8_t what, struct qdrant *q, struct embedder *embedder)
{
    struct stored marks[3];
    struct err err = ERR_INIT;
    switch (what % 6) {
    case 0:
        check_error(qdrant_read_marks(q, ids, 3, marks, &err), &err);
        for (size_t i = 0; i < 3; i++)
            demand(strnlen(marks[i].emb, EMB_TEXT) < EMB_TEXT, "emb fits", NULL);
        return;
    case 1:
        check_error(qdrant_children(q, ids[0], found, NULL, &err), &err);
        return;
    case 2:
        check_error(qdrant_write(q, "PUT", "/points", VIEW_LIT("{}"), &err), &err);
        return;
    case 3:
        run_schema(q);
        return;
    case 4:
        run_reconcile(q);
        return;
    default:
        run_sync(q, embedder);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const struct qdrant_options options = {
        .url = "http://127.0.0.1:1", .collection = "c", .timeout_ms = 1000};
    static const struct embed_options none = {.provider = "none"};
    static struct qdrant *q;
    static struct embedder *embedder;
    struct err err = ERR_INIT;
    if (n < 1)
        return 0;
    if (!q)
        demand(qdrant_open(&q, &options, &err) == 0 && embedder_open(&embedder, &none, &err) == 0,
               "opens", &err);
    rest = (struct bytes){data + 1, n - 1};
    last = (struct bytes){0};
    stuck = data[0] & 0x80;
    calls = 0;
    run(data[0] & 0x7f, q, embedder);
    return 0;
}
