// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/outcome.h"

#include <stdio.h>

#include "contracts/field.h"
#include "contracts/wire.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/stream.h"
#include "workers/dead_letters/gauges.h"
#include "workers/dead_letters/progress.h"
#include "workers/dead_letters/sql.h"

enum { SEARCH_MAX = 500, FOUND_MAX_BYTES = 1 << 20, DECODE_MAX = 32 << 20 };

static int add_resolved(PGresult *rows, int row, struct arena *arena, DlqAuditItem **ret,
                        struct err *err)
{
    DlqAuditItem *item =
        (DlqAuditItem *)message_new(&echora__ops__v1__dlq_audit_item__descriptor, arena);
    if (item == NULL)
        return dlq_no_memory(err);
    item->sequence = (uint64_t)pg_get_i64(rows, row, 0);
    item->id = arena_strdup(arena, pg_get_text(rows, row, 1));
    item->attempt = (int32_t)pg_get_i64(rows, row, 2);
    item->outcome = arena_strdup(arena, pg_get_text(rows, row, 3));
    item->code = arena_strdup(arena, pg_get_text(rows, row, 4));
    item->sent_sequence = (uint64_t)pg_get_i64(rows, row, 5);
    *ret = item;
    return arena_overflowed(arena) ? dlq_no_memory(err) : 0;
}

/* Outcomes of what one consumer has settled, inside a transaction. */
static int resolve_page(struct dead_letters *dl, struct uuid plan, struct view stream,
                        struct view consumer, uint64_t settled, DlqAuditItem ***ret, size_t *ret_n,
                        struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    struct arena *arena = dl->scratch;
    char id_text[UUID_TEXT];
    const struct pg_param params[] = {pg_uuid(plan), pg_text(stream), pg_text(consumer),
                                      pg_i64((int64_t)settled)};
    if (pg_query(dl->pg, &sql_resolve_items, params, ARRAY_LEN(params), &rows, err) < 0)
        return -1;
    const int n = PQntuples(rows);
    DlqAuditItem **items = arena_array(arena, (size_t)n + 1, sizeof(*items));
    if (items == NULL)
        return dlq_no_memory(err);
    for (int row = 0; row < n; row++) {
        if (add_resolved(rows, row, arena, &items[row], err) < 0)
            return -1;
    }
    *ret = items;
    *ret_n = (size_t)n;
    uuid_format(plan, id_text);
    return n > 0 ? audit_letters(dl, id_text, "replay", items, *ret_n, arena, err) : 0;
}

static int resolve_for(struct dead_letters *dl, struct uuid plan, struct view stream,
                       struct view consumer, int64_t until_ms, struct err *err)
{
    struct consumer_progress progress;
    char stream_name[128], consumer_name[128];
    bool complete;
    DlqAuditItem **items = NULL;
    size_t n = 0;
    snprintf(stream_name, sizeof(stream_name), "%.*s", VIEW_ARG(stream));
    snprintf(consumer_name, sizeof(consumer_name), "%.*s", VIEW_ARG(consumer));
    /* In this order: a letter is stored before its event is settled. */
    if (progress_of(dl->bus, stream_name, consumer_name, &progress, err) < 0 ||
        progress_index_complete(dl->bus, &complete, err) < 0)
        return -1;
    if (!complete && !FAULT("outcome-before-index"))
        return 0;
    do {
        arena_reset(dl->scratch);
        if (pg_begin(dl->pg, err) < 0)
            return -1;
        if (resolve_page(dl, plan, stream, consumer, progress.settled_up_to, &items, &n, err) < 0) {
            pg_rollback(dl->pg);
            return -1;
        }
        if (pg_commit(dl->pg, err) < 0)
            return -1;
        gauges_count(items, n);
    } while (n > 0 && mono_ms() < until_ms && !lane_stopping(dl->lane));
    return 0;
}

struct search {
    struct dead_letters *dl;
    struct uuid plan;
    char plan_text[UUID_TEXT];
    char stream[128];
    uint64_t at; /* the next sequence to look at */
    struct pg_array consumers, entities, sequences;
};

static void note_event(struct search *s, const struct stored_message *m)
{
    const char *replay = stored_header(m->headers, m->n_headers, "Echora-Replay-Id");
    const char *consumer = stored_header(m->headers, m->n_headers, "Echora-Replay-For");
    const struct subject_def *def = registry_subject(view_of(m->subject));
    struct err ignored = ERR_INIT;
    ProtobufCMessage *message;
    struct envelope envelope;
    if (replay == NULL || consumer == NULL || strcmp(replay, s->plan_text) != 0 || def == NULL ||
        def->kind != SUBJECT_EVENT ||
        wire_decode(def->message, m->payload, DECODE_MAX, s->dl->scratch, &message, &ignored) < 0)
        return;
    envelope_read(def, message, &envelope);
    pg_array_text(&s->consumers, view_of(consumer));
    pg_array_text(&s->entities, envelope.entity_id);
    pg_array_i64(&s->sequences, (int64_t)m->sequence);
}

static int look_through(struct search *s, int64_t until_ms, struct err *err)
{
    for (int looked = 0; looked < SEARCH_MAX && mono_ms() < until_ms; looked++) {
        struct stored_message message;
        bool found;
        arena_reset(s->dl->scratch);
        if (stream_next(s->dl->bus, s->stream, s->at, ">", s->dl->scratch, &message, &found, err) <
            0)
            return -1;
        if (!found)
            break;
        note_event(s, &message);
        s->at = message.sequence + 1;
    }
    const struct pg_param found[] = {pg_uuid(s->plan), pg_array_param(&s->consumers),
                                     pg_array_param(&s->entities), pg_array_param(&s->sequences)};
    const struct pg_param searched[] = {pg_uuid(s->plan), pg_i64((int64_t)s->at)};
    if (pg_query(s->dl->pg, &sql_found_items, found, ARRAY_LEN(found), NULL, err) < 0)
        return -1;
    return pg_query(s->dl->pg, &sql_plan_searched, searched, ARRAY_LEN(searched), NULL, err);
}

/* Events that the relay was to publish: where they stand in its stream. */
static int search_enqueued(struct dead_letters *dl, struct uuid plan, int64_t until_ms,
                           struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_uuid(plan);
    if (pg_query(dl->pg, &sql_enqueued_at, &param, 1, &rows, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct search s = {.dl = dl, .plan = plan, .at = (uint64_t)pg_get_i64(rows, row, 1)};
        struct pg_array *const arrays[] = {&s.consumers, &s.entities, &s.sequences};
        uuid_format(plan, s.plan_text);
        snprintf(s.stream, sizeof(s.stream), "%.*s", VIEW_ARG(pg_get_text(rows, row, 0)));
        for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
            pg_array_init(arrays[i], i < 2 ? PG_TEXTS : PG_I64S, FOUND_MAX_BYTES);
        const int rc = look_through(&s, until_ms, err);
        for (size_t i = 0; i < ARRAY_LEN(arrays); i++)
            pg_array_deinit(arrays[i]);
        if (rc < 0)
            return -1;
    }
    return 0;
}

int outcome_resolve(struct dead_letters *dl, struct uuid plan, int64_t until_ms, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_uuid(plan);
    if (search_enqueued(dl, plan, until_ms, err) < 0 ||
        pg_query(dl->pg, &sql_sent_to, &param, 1, &rows, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct err e = ERR_INIT;
        if (resolve_for(dl, plan, pg_get_text(rows, row, 0), pg_get_text(rows, row, 1), until_ms,
                        &e) == 0 ||
            strcmp(e.code, "nats-10014") == 0) /* the consumer is not there: no outcome */
            continue;
        *err = e;
        return -1;
    }
    return 0;
}
