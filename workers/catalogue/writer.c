/* See writer.h. Locks, in this order everywhere: the advisory lock that keeps creators and waiting
 * updates apart, rows by kind and id, references and aliases by their order, inbox rows by id. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "contracts/wire.h"
#include "events/base/fault.h"
#include "events/metrics.h"
#include "events/worker.h"
#include "workers/catalogue/announce.h"
#include "workers/catalogue/load.h"
#include "workers/catalogue/pending.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/sql.h"
#include "workers/catalogue/writer.h"

enum { ARENA_CAP = 256 << 20, REDO_MAX = 3, ARRAY_BYTES = 16 << 20 };

/* Key of the advisory lock of lock_creating.sql and lock_waiting.sql: "echora:c". */
static const int64_t CREATION_LOCK = 0x6563686f72613a63;

/* The tables grow from nothing within minutes of an import, and a plan made while they were empty
 * would read them whole for ever. So look-ups go by an index, in nested loops, and plans are made
 * anew after 1, 2, 4, 8 ... transactions: whatever was chosen is at most one doubling old. */
static const char settings[] =
    "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; "
    "SET plan_cache_mode = force_generic_plan; SET jit = off";

static const struct metric_def redone_def = {
    "echora_catalogue_redone_total", METRIC_COUNTER,
    "Transactions redone in place: serialisation failures, deadlocks, races for one new thing.", "",
    NULL};
static const struct metric_def halved_def = {"echora_catalogue_halved_total", METRIC_COUNTER,
                                             "Batches redone by halves after an error.", "", NULL};
static const struct metric_def outcomes_def = {
    "echora_catalogue_operations_total", METRIC_COUNTER,
    "Operations by outcome: applied, unchanged, parked, pending, rejected, duplicate.", "outcome",
    NULL};

int writer_init(struct writer *w, struct pg *pg, struct bus *bus, const struct risk_limits *limits,
                struct err *err)
{
    *w = (struct writer){.pg = pg,
                         .bus = bus,
                         .arena = arena_new(ARENA_CAP),
                         .store = store_new(),
                         .outbox = outbox_new("catalog"),
                         .limits = *limits};
    if (!w->arena || !w->store || !w->outbox) {
        writer_deinit(w);
        return err_set(err, ERR_FATAL, "no-memory", "open writer", "out of memory");
    }
    w->redone = metric_series(&redone_def, (const char *const[]){NULL});
    w->halved = metric_series(&halved_def, (const char *const[]){NULL});
    for (int i = OUTCOME_APPLIED; i <= OUTCOME_REJECTED; i++)
        w->outcomes[i] = metric_series(
            &outcomes_def, (const char *const[]){outcome_name((enum op_outcome)i), NULL});
    w->duplicates = metric_series(&outcomes_def, (const char *const[]){"duplicate", NULL});
    review_count(NULL, 0);
    return 0;
}

void writer_deinit(struct writer *w)
{
    w->outbox = outbox_free(w->outbox);
    w->store = store_free(w->store);
    w->arena = arena_free(w->arena);
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "write batch", "the batch's memory is spent");
}

static int begin(struct writer *w, struct err *err)
{
    if (pg_ensure(w->pg, err) < 0)
        return -1;
    if (w->generation != pg_generation(w->pg)) {
        if (pg_run(w->pg, settings, err) < 0)
            return -1;
        w->generation = pg_generation(w->pg);
        w->transactions = 0;
    }
    uint64_t n = ++w->transactions;
    if ((n & (n - 1)) == 0 && pg_run(w->pg, "DISCARD PLANS", err) < 0)
        return -1;
    return pg_begin(w->pg, err);
}

/* Leaves those out that were handled before, and all but the first of equal ones. Operations
 * without consumer are requests, which nobody delivers twice. */
static int leave_out_seen(struct writer *w, struct op *ops[], size_t *n, struct err *err)
{
    static const int64_t day_us = INT64_C(86400) * 1000000;
    CLEANUP(pg_array_deinit) struct pg_array ids;
    CLEANUP(pg_array_deinit) struct pg_array times;
    pg_array_init(&ids, PG_UUIDS, ARRAY_BYTES);
    pg_array_init(&times, PG_TIMESTAMPS, ARRAY_BYTES);
    struct index seen;
    index_init(&seen, w->arena);
    size_t kept = 0;
    const char *consumer = NULL;
    for (size_t i = 0; i < *n; i++) {
        struct op *op = ops[i];
        op->outcome = OUTCOME_NONE;
        op->revision = 0;
        if (op->consumer) {
            int64_t t = op->clock.time_us;
            int64_t day = t / day_us - (t % day_us < 0);
            uint8_t key[24];
            memcpy(key, op->clock.event.b, 16);
            memcpy(key + 16, &day, 8);
            if (index_get(&seen, (struct bytes){key, sizeof(key)}))
                continue;
            if (!index_put(&seen, (struct bytes){key, sizeof(key)}, op))
                return no_memory(err);
            consumer = op->consumer;
        }
        pg_array_uuid(&ids, op->clock.event);
        pg_array_timestamp(&times, op->clock.time_us);
        ops[kept++] = op;
    }
    *n = kept;
    if (!consumer)
        return 0;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param params[] = {pg_text(view_of(consumer)), pg_array_param(&ids),
                                pg_array_param(&times)};
    if (pg_query(w->pg, &sql_inbox_seen, params, 3, &r, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++)
        ops[pg_get_i64(r, row, 0) - 1] = NULL;
    kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (ops[i])
            ops[kept++] = ops[i];
    *n = kept;
    return 0;
}

static int lock_creation(struct writer *w, bool alone, struct err *err)
{
    struct pg_param key = pg_i64(CREATION_LOCK);
    if (FAULT("creation-unlocked"))
        return 0;
    return pg_query(w->pg, alone ? &sql_lock_waiting : &sql_lock_creating, &key, 1, NULL, err);
}

/* Loads under the right lock. Whether an update must wait shows after a first look; then the lock
 * is taken and looked again, before any row is locked for good. */
static int load(struct writer *w, struct work *work, struct op *ops[], size_t n, struct err *err)
{
    bool creates = false, updates = false;
    for (size_t i = 0; i < n; i++) {
        /* An update makes its id an alias when its references name whom it is about. */
        creates |= ops[i]->creates || ops[i]->n_members > 0 || ops[i]->main.n_refs > 0;
        updates |= !ops[i]->creates;
    }
    if (!updates) {
        if (creates && lock_creation(w, false, err) < 0)
            return -1;
        return load_ops(work, ops, n, err);
    }
    bool unknown;
    if (load_peek(work, ops, n, &unknown, err) < 0)
        return -1;
    if ((unknown || creates) && lock_creation(w, unknown, err) < 0)
        return -1;
    return load_ops(work, ops, n, err);
}

static int say_members(struct work *work, const struct follow *f, const PGresult *r,
                       struct err *err)
{
    for (int row = 0; row < PQntuples(r); row++) {
        if (uuid_cmp(pg_get_uuid(r, row, 0), f->anime->id) != 0)
            continue;
        struct entity *e =
            work_by_id(work, (enum entity_kind)pg_get_i64(r, row, 1), pg_get_uuid(r, row, 2));
        if (!e)
            continue;
        enum announcement_kind kind = SAY_COVERED;
        const char *what = NULL;
        if (f->kind == FOLLOW_NSFW) {
            kind = SAY_SYNCED;
            what = "nsfw";
        } else if (f->kind == FOLLOW_DELETED && pg_get_bool(r, row, 3)) {
            kind = SAY_SYNCED;
            what = "anime_ids";
        }
        if (work_say(work, f->op, e, kind, 0, what, err) < 0)
            return -1;
    }
    return 0;
}

/* Members whose search documents change with their anime. */
static int follow_members(struct work *work, struct err *err)
{
    if (work->follows.n == 0 || FAULT("members-not-followed"))
        return 0;
    CLEANUP(pg_array_deinit) struct pg_array ids;
    pg_array_init(&ids, PG_UUIDS, ARRAY_BYTES);
    for (size_t i = 0; i < work->follows.n; i++)
        pg_array_uuid(&ids, ((struct follow *)work->follows.p[i])->anime->id);
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param param = pg_array_param(&ids);
    if (pg_query(work->pg, &sql_load_members, &param, 1, &r, err) < 0)
        return -1;
    size_t rows = (size_t)PQntuples(r);
    struct uuid *members = arena_array(work->arena, rows, sizeof(*members));
    if (rows && !members)
        return no_memory(err);
    for (int kind = KIND_CHARACTER; kind <= KIND_EPISODE; kind++) {
        size_t n = 0;
        for (size_t row = 0; row < rows; row++)
            if (pg_get_i64(r, (int)row, 1) == kind)
                members[n++] = pg_get_uuid(r, (int)row, 2);
        if (load_ids(work, (enum entity_kind)kind, members, n, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < work->follows.n; i++)
        if (say_members(work, work->follows.p[i], r, err) < 0)
            return -1;
    work->follows.n = 0;
    return 0;
}

static int transact(struct writer *w, struct op *ops[], size_t n, bool *ret_hint, struct err *err)
{
    struct work work;
    arena_reset(w->arena);
    work_init(&work, w->pg, w->arena, &w->limits);
    if (leave_out_seen(w, ops, &n, err) < 0)
        return -1;
    if (n == 0)
        return pg_commit(w->pg, err);
    if (load(w, &work, ops, n, err) < 0 || review_take(&work, ops, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (work_apply(&work, ops[i], err) < 0)
            return -1;
    if (pending_apply(&work, err) < 0 || follow_members(&work, err) < 0 ||
        store_revisions(&work, err) < 0 || store_entities(w->store, &work, err) < 0 ||
        review_settle(&work, err) < 0)
        return -1;
    if (FAULT("outbox-apart") && (pg_commit(w->pg, err) < 0 || pg_begin(w->pg, err) < 0))
        return -1;
    size_t rows;
    /* The inbox rows are written while the announcements are made. */
    if (store_outcomes(&work, err) < 0 || announce_all(&work, w->outbox, &rows, err) < 0 ||
        store_check(&work, err) < 0 || review_supersede(&work, err) < 0 ||
        review_keep(&work, ops, n, err) < 0)
        return -1;
    KILL_POINT("before-commit");
    if (pg_commit(w->pg, err) < 0)
        return -1;
    KILL_POINT("after-commit");
    *ret_hint |= rows > 0;
    w->committed++;
    w->refused += work.refused.n;
    review_count("superseded", (double)work.superseded);
    return 0;
}

static bool is_race(const struct err *err)
{
    static const char *const codes[] = {"race", "stale", "pg-40001", "pg-40P01", "pg-23505"};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        if (strcmp(err->code, codes[i]) == 0)
            return true;
    return false;
}

/* One transaction, redone while it meets races. */
static int transact_patiently(struct writer *w, struct written written[], size_t n, bool *ret_hint,
                              struct err *err)
{
    struct op **ops = calloc(n, sizeof(struct op *));
    if (!ops)
        return no_memory(err);
    int result = -1;
    for (int redo = 0; redo <= REDO_MAX; redo++) {
        for (size_t i = 0; i < n; i++)
            ops[i] = written[i].op;
        *err = ERR_INIT;
        result = begin(w, err);
        if (result == 0)
            result = transact(w, ops, n, ret_hint, err);
        if (result == 0)
            break;
        pg_rollback(w->pg);
        if (!is_race(err) || FAULT("loser-not-redone"))
            break;
        metric_add(w->redone, 1);
    }
    free(ops);
    if (result < 0 && is_race(err))
        err->class = ERR_RETRY; /* 23505 between writers is no fault of the event */
    return FAULT("loser-not-redone") && is_race(err) ? 0 : result;
}

static void run_halving(struct writer *w, struct written written[], size_t n, bool *ret_hint)
{
    struct err err = ERR_INIT;
    if (n == 0)
        return;
    int result = transact_patiently(w, written, n, ret_hint, &err);
    bool splits = result < 0 && n > 1 && (err.class == ERR_RETRY || err.class == ERR_REJECT);
    if (splits) {
        metric_add(w->halved, 1);
        run_halving(w, written, n / 2, ret_hint);
        run_halving(w, written + n / 2, n - n / 2, ret_hint);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        struct op *op = written[i].op;
        written[i].err = result < 0 ? err : ERR_INIT;
        if (result < 0)
            continue;
        if (op->outcome == OUTCOME_REJECTED)
            written[i].err = op->err;
        metric_add(op->outcome == OUTCOME_NONE ? w->duplicates : w->outcomes[op->outcome], 1);
    }
}

void writer_run(struct writer *w, struct written written[], size_t n)
{
    bool hint = false;
    run_halving(w, written, n, &hint);
    if (hint && w->bus)
        outbox_hint(w->bus);
    arena_reset(w->arena);
}

/* Header values may be any bytes; what is stored is text. */
static const char *risk_flag(const struct event *event)
{
    const char *flag = event_header(event, "Echora-Risk");
    return flag && !utf8_is_valid(bytes_of(view_of(flag))) ? "?" : flag;
}

void writer_handle(struct writer *w, struct batch *batch)
{
    struct err err = ERR_INIT;
    struct op *ops = arena_array(batch->arena, batch->n, sizeof(*ops));
    struct written *written = arena_array(batch->arena, batch->n, sizeof(*written));
    size_t *position = arena_array(batch->arena, batch->n, sizeof(*position));
    bool *copies = arena_array(batch->arena, batch->n, sizeof(*copies));
    if (!ops || !written || !position || !copies)
        no_memory(&err);
    else
        (void)!review_find_copies(w->pg, batch, copies, &err);
    if (err.class != ERR_NONE) {
        batch_fail_rest(batch, &err);
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const struct event *event = &batch->events[i];
        if (copies[i]) {
            batch->verdicts[i].kind = VERDICT_SKIP;
            continue;
        }
        struct op *op = &ops[i];
        if (op_init(op, event->def, event->message, batch->arena, &err) < 0) {
            batch->verdicts[i] = verdict_of_err(&err);
            err = ERR_INIT;
            continue;
        }
        op->consumer = batch->consumer->durable;
        op->trace = &event->trace;
        op->payload = event->payload;
        op->risk_flag = risk_flag(event);
        /* It may have to wait: not without its headers. */
        if (!op->creates && event_headers(event, batch->arena, &op->headers, &op->n_headers) < 0) {
            no_memory(&err);
            batch->verdicts[i] = verdict_of_err(&err);
            err = ERR_INIT;
            continue;
        }
        op->stream_sequence = event->stream_sequence;
        op->stored_us = event->stored_us;
        position[n] = i;
        written[n++].op = op;
    }
    writer_run(w, written, n);
    for (size_t i = 0; i < n; i++) {
        struct verdict *v = &batch->verdicts[position[i]];
        if (written[i].err.class != ERR_NONE)
            *v = verdict_of_err(&written[i].err);
        else
            v->kind = written[i].op->outcome == OUTCOME_NONE ? VERDICT_SKIP : VERDICT_DONE;
    }
}
