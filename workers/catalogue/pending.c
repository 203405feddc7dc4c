/* See pending.h. The shared advisory lock (writer.c) is held: whoever lets an update wait is done,
 * or has not begun to look. */
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "contracts/json.h"
#include "contracts/wire.h"
#include "events/base/fault.h"
#include "workers/catalogue/load.h"
#include "workers/catalogue/pending.h"
#include "workers/catalogue/sql.h"

enum { ARRAY_BYTES = 16 << 20 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "apply waiting updates",
                   "the batch's memory is spent");
}

/* *ret is the value of the first header of that name, NULL when there is none. False when memory is
 * out: an update must not lose its flag for that. */
static bool pending_header(struct view json, const char *name, struct arena *arena,
                           const char **ret)
{
    json_error_t why = {0};
    json_auto_t *pairs = json_loadb(json.p, json.n, 0, &why);
    size_t i;
    json_t *pair;
    *ret = NULL;
    if (!pairs && json_no_memory(&why))
        return false;
    json_array_foreach(pairs, i, pair)
    {
        const char *have = json_string_value(json_array_get(pair, 0));
        const char *value = json_string_value(json_array_get(pair, 1));
        if (have && value && strcmp(have, name) == 0)
            return (*ret = arena_strdup(arena, view_of(value))) != NULL;
    }
    return true;
}

static int refuse(struct work *w, const char *consumer, struct clock clock, const struct err *why,
                  struct err *err)
{
    struct refused *refused = arena_alloc(w->arena, sizeof(*refused));
    if (!refused)
        return no_memory(err);
    *refused = (struct refused){consumer, clock.event, clock.time_us, *why};
    return work_add(w, &w->refused, refused) ? 0 : no_memory(err);
}

/* The stored event as an operation; NULL and refused when it can't be one any more. */
static int op_of_row(struct work *w, const PGresult *r, int row, struct op **ret, struct err *err)
{
    const struct subject_def *def = registry_subject(pg_get_text(r, row, 1));
    struct bytes stored = pg_get_bytea(r, row, 3);
    uint8_t *payload = arena_alloc(w->arena, stored.n);
    struct op *op = arena_zalloc(w->arena, sizeof(*op));
    char *consumer = arena_strdup(w->arena, pg_get_text(r, row, 0));
    struct trace_context *trace = arena_zalloc(w->arena, sizeof(*trace));
    if (!payload || !op || !consumer || !trace)
        return no_memory(err);
    memcpy(payload, stored.p, stored.n);
    ProtobufCMessage *message;
    struct err bad = ERR_INIT;
    *ret = NULL;
    if (!def || !def->message ||
        wire_decode(def->message, (struct bytes){payload, stored.n}, WIRE_DECODE_MAX_DEFAULT,
                    w->arena, &message, &bad) < 0 ||
        op_init(op, def, message, w->arena, &bad) < 0) {
        const struct clock clock = {pg_get_timestamp_us(r, row, 8), pg_get_uuid(r, row, 7)};
        return arena_overflowed(w->arena) ? no_memory(err) : refuse(w, consumer, clock, &bad, err);
    }
    if (!pending_header(pg_get_text(r, row, 2), "Echora-Risk", w->arena, &op->risk_flag))
        return no_memory(err);
    op->consumer = consumer;
    op->payload = (struct bytes){payload, stored.n};
    op->stream_sequence = (uint64_t)pg_get_i64(r, row, 4);
    op->stored_us = pg_get_timestamp_us(r, row, 5);
    op->from_pending = true;
    if (trace_parse(pg_get_text(r, row, 6), (struct view){0}, trace))
        op->trace = trace;
    *ret = op;
    return 0;
}

static int take(struct work *w, struct pg_array *ids, struct list *ret_ops, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param param = pg_array_param(ids);
    if (pg_query(w->pg, &sql_take_pending, &param, 1, &r, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++) {
        struct op *op = NULL;
        if (op_of_row(w, r, row, &op, err) < 0)
            return -1;
        if (op && !work_add(w, ret_ops, op))
            return no_memory(err);
    }
    return 0;
}

int pending_apply(struct work *w, struct err *err)
{
    size_t entities = 0, aliases = 0;
    for (;;) {
        CLEANUP(pg_array_deinit) struct pg_array ids;
        pg_array_init(&ids, PG_UUIDS, ARRAY_BYTES);
        for (; entities < w->entities.n; entities++) {
            const struct entity *e = w->entities.p[entities];
            if (!e->in_db)
                pg_array_uuid(&ids, e->id);
        }
        for (; aliases < w->aliases.n; aliases++)
            pg_array_uuid(&ids, ((struct new_alias *)w->aliases.p[aliases])->id);
        if (ids.n == 0 || FAULT("pending-forgotten"))
            return 0;
        struct list ops = {0};
        if (take(w, &ids, &ops, err) < 0)
            return -1;
        if (ops.n == 0)
            return 0;
        if (load_ops(w, (struct op *const *)ops.p, ops.n, err) < 0)
            return -1;
        for (size_t i = 0; i < ops.n; i++) {
            const struct op *op = ops.p[i];
            if (work_apply(w, ops.p[i], err) < 0)
                return -1;
            if (op->outcome == OUTCOME_REJECTED &&
                refuse(w, op->consumer, op->clock, &op->err, err) < 0)
                return -1;
        }
    }
}
