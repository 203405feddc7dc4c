/* See review.h. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/review.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "workers/catalogue/sql.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "decide", "the batch's memory is spent");
}

int review_find_copies(struct pg *pg, const struct batch *batch, bool ret[], struct err *err)
{
    CLEANUP(pg_array_deinit) struct pg_array ids;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    bool any = false;
    pg_array_init(&ids, PG_UUIDS, 1 << 20);
    for (size_t i = 0; i < batch->n; i++) {
        const struct event *e = &batch->events[i];
        bool claims = event_header(e, "Echora-Review") != NULL && !FAULT("copy-handled");
        pg_array_uuid(&ids, claims ? e->event_id : (struct uuid){0});
        ret[i] = false;
        any |= claims;
    }
    if (!any)
        return 0;
    struct pg_param param = pg_array_param(&ids);
    if (pg_query(pg, &sql_known_copies, &param, 1, &r, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++)
        ret[pg_get_i64(r, row, 0) - 1] = true;
    return 0;
}

/* Locks the review and tells which fields are still open; not pending when somebody was quicker. */
static int take(struct work *w, struct op *op, bool *ret_pending, struct err *err)
{
    struct decision *d = op->decision;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param id = pg_uuid(d->review);
    if (pg_query(w->pg, &sql_lock_review, &id, 1, &r, err) < 0)
        return -1;
    *ret_pending =
        PQntuples(r) > 0 && (view_is(pg_get_text(r, 0, 0), "pending") || FAULT("decision-twice"));
    if (*ret_pending && once_begin(w->pg, d->once, &d->answer, err) < 0)
        return -1;
    *ret_pending = *ret_pending && !d->answer;
    if (!*ret_pending)
        return 0;
    d->superseded = review_fields(pg_get_text(r, 0, 1));
    op->main.mask = d->approves ? d->fields & ~d->superseded : 0;
    if (!(op->main.mask & kind_bit(KIND_ANIME, "sources")))
        op->main.n_refs = 0;
    if (FAULT("approval-unordered"))
        op->clock = (struct clock){wall_us(), d->id};
    return 0;
}

int review_take(struct work *w, struct op *ops[], size_t *n, struct err *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        bool pending = true;
        if (ops[i]->decision) {
            ops[i]->decision->taken = false;
            ops[i]->decision->answer = NULL;
            if (take(w, ops[i], &pending, err) < 0)
                return -1;
        }
        if (pending)
            ops[kept++] = ops[i];
    }
    *n = kept;
    return 0;
}

/* The newest of the clocks of these fields. */
static struct clock newest(const struct entity *e, uint64_t fields)
{
    struct clock best = {.time_us = CLOCK_NEVER};
    for (unsigned i = 0; i < e->f.kind->n_fields; i++)
        if (fields & field_bit((int)i) && clock_cmp(e->f.clocks[i], best) > 0)
            best = e->f.clocks[i];
    return best;
}

/* Of these fields, those that something newer has set. */
static uint64_t overtaken(const struct entity *e, uint64_t fields, struct clock at)
{
    uint64_t found = 0;
    for (unsigned i = 0; i < e->f.kind->n_fields; i++)
        if (fields & field_bit((int)i) && clock_cmp(e->f.clocks[i], at) > 0)
            found |= field_bit((int)i);
    return found;
}

static int settle_one(struct work *w, struct op *op, struct err *err)
{
    struct decision *d = op->decision;
    struct entity *e = op->main.entity;
    uint64_t open = d->fields & ~d->superseded;
    uint64_t late = d->approves ? overtaken(e, open, op->clock) : 0;
    const char *state = !d->approves ? "rejected" : open & ~late ? "approved" : "superseded";
    const char *outcome = d->approves ? outcome_name(op->outcome) : "rejected";
    d->superseded |= late;
    d->taken = true;
    char *superseded = review_names(w->arena, d->superseded);
    char *decided = review_names(w->arena, open & ~late);
    struct outbox_row *row = arena_alloc(w->arena, sizeof(*row));
    char *action = arena_printf(w->arena, "review-%s", state);
    if (!superseded || !decided || !row || !action)
        return no_memory(err);
    const struct pg_param params[] = {
        pg_uuid(d->review),
        pg_text(view_of(state)),
        pg_text(view_of(d->reviewed_by)),
        pg_text(view_of(d->note)),
        pg_uuid(d->id),
        pg_i64(e->revision),
        pg_text(view_of(superseded)),
        late ? pg_uuid(newest(e, late).event) : pg_null(),
        pg_uuid(e->id),
        pg_text(view_of(outcome)),
        pg_text(view_of(decided)),
    };
    if (pg_query(w->pg, &sql_decide_review, params, ARRAY_LEN(params), NULL, err) < 0)
        return -1;
    const struct audit_facts facts = {.action = action,
                                      .actor = d->reviewed_by,
                                      .note = d->note,
                                      .event = d->id,
                                      .anime = op->main.id,
                                      .review = d->review,
                                      .update = d->update,
                                      .fields = open & ~late,
                                      .superseded = d->superseded,
                                      .revision = e->revision};
    if (review_audit(w->arena, &facts, row, err) < 0)
        return -1;
    if (op->trace)
        row->trace = *op->trace;
    return work_add(w, &w->rows, row) ? 0 : no_memory(err);
}

/* Of parked updates with one id the first. */
static void leave_out_equal(struct work *w)
{
    struct parked **p = (struct parked **)w->parked.p;
    size_t kept = 0;
    for (size_t i = 0; i < w->parked.n; i++) {
        size_t k = 0;
        while (k < kept && uuid_cmp(p[k]->review_id, p[i]->review_id) != 0)
            k++;
        if (k == kept)
            p[kept++] = p[i];
    }
    w->parked.n = kept;
}

/* An update that was parked before, whatever became of it, comes as another event of the same id,
 * or after the inbox forgot it: its review stands, and its copy was on the bus. */
static int leave_out_known(struct work *w, struct err *err)
{
    if (w->parked.n == 0 || FAULT("copy-twice"))
        return 0;
    CLEANUP(pg_array_deinit) struct pg_array ids;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    pg_array_init(&ids, PG_UUIDS, 1 << 20);
    leave_out_equal(w);
    for (size_t i = 0; i < w->parked.n; i++)
        pg_array_uuid(&ids, ((const struct parked *)w->parked.p[i])->review_id);
    struct pg_param param = pg_array_param(&ids);
    if (pg_query(w->pg, &sql_known_reviews, &param, 1, &r, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++)
        w->parked.p[pg_get_i64(r, row, 0) - 1] = NULL;
    size_t kept = 0;
    for (size_t i = 0; i < w->parked.n; i++)
        if (w->parked.p[i])
            w->parked.p[kept++] = w->parked.p[i];
    w->parked.n = kept;
    return 0;
}

int review_settle(struct work *w, struct err *err)
{
    for (size_t i = 0; i < w->ops.n; i++) {
        struct op *op = w->ops.p[i];
        if (op->decision && op->main.entity && settle_one(w, op, err) < 0)
            return -1;
    }
    return leave_out_known(w, err);
}

static int keep(struct work *w, struct decision *d, struct err *err)
{
    if (!d->taken)
        return once_drop(w->pg, d->once, err);
    if (d->reply(d->reply_ctx, &d->answer, err) < 0)
        return -1;
    return once_keep(w->pg, d->once, 200, d->answer, err);
}

int review_keep(struct work *w, struct op *const ops[], size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        struct decision *d = ops[i]->decision;
        if (d && d->once->asked && keep(w, d, err) < 0)
            return -1;
    }
    return 0;
}

/* Those of fields that moved alone: a thousand that wait about a title cost an update of the score
 * no lock. */
static int pending_of(struct work *w, PGresult **ret, struct err *err)
{
    CLEANUP(pg_array_deinit) struct pg_array ids;
    CLEANUP(pg_array_deinit) struct pg_array fields;
    pg_array_init(&ids, PG_UUIDS, 16 << 20);
    pg_array_init(&fields, PG_TEXTS, 16 << 20);
    for (size_t i = 0; i < w->entities.n; i++) {
        const struct entity *e = w->entities.p[i];
        /* Nothing can have waited for one that is made now, but what this transaction parks. */
        if (e->kind != KIND_ANIME || !e->reviews_due || (!e->in_db && w->parked.n == 0))
            continue;
        char *names = review_names(w->arena, e->reviews_due);
        if (!names)
            return no_memory(err);
        pg_array_uuid(&ids, e->id);
        pg_array_text(&fields, view_of(names));
    }
    if (ids.n == 0)
        return 0;
    struct pg_param params[] = {pg_array_param(&ids), pg_array_param(&fields)};
    return pg_query(w->pg, &sql_pending_reviews_of, params, 2, ret, err);
}

enum { REVIEWS, FIELDS, BY, NEWS, WHOLE, N_COLUMNS };

static void arrays_deinit(struct pg_array (*a)[N_COLUMNS])
{
    for (int i = 0; i < N_COLUMNS; i++)
        pg_array_deinit(&(*a)[i]);
}

int review_supersede(struct work *w, struct err *err)
{
    static const enum pg_array_kind kinds_[] = {PG_UUIDS, PG_TEXTS, PG_UUIDS, PG_TEXTS, PG_BOOLS};
    CLEANUP(arrays_deinit) struct pg_array a[N_COLUMNS];
    CLEANUP(pg_clearp) PGresult *r = NULL;
    for (int i = 0; i < N_COLUMNS; i++)
        pg_array_init(&a[i], kinds_[i], 16 << 20);
    if (FAULT("supersede-forgotten"))
        return 0;
    if (pending_of(w, &r, err) < 0)
        return -1;
    int ended = 0;
    for (int row = 0; r && row < PQntuples(r); row++) {
        const struct entity *e = work_by_id(w, KIND_ANIME, pg_get_uuid(r, row, 1));
        struct clock at = {pg_get_timestamp_us(r, row, 2), pg_get_uuid(r, row, 3)};
        uint64_t fields = review_fields(pg_get_text(r, row, 4));
        uint64_t before = review_fields(pg_get_text(r, row, 5));
        uint64_t news = e ? overtaken(e, fields & ~before, at) : 0;
        if (!news)
            continue;
        char *all = review_names(w->arena, before | news), *now = review_names(w->arena, news);
        if (!all || !now)
            return no_memory(err);
        bool whole = (before | news) == fields;
        pg_array_uuid(&a[REVIEWS], pg_get_uuid(r, row, 0));
        pg_array_text(&a[FIELDS], view_of(all));
        pg_array_uuid(&a[BY], newest(e, news).event);
        pg_array_text(&a[NEWS], view_of(now));
        pg_array_bool(&a[WHOLE], whole);
        ended += whole;
    }
    if (a[REVIEWS].n == 0)
        return 0;
    struct pg_param params[N_COLUMNS];
    for (int i = 0; i < N_COLUMNS; i++)
        params[i] = pg_array_param(&a[i]);
    if (pg_query(w->pg, &sql_supersede_reviews, params, N_COLUMNS, NULL, err) < 0)
        return -1;
    w->superseded = (size_t)ended;
    return 0;
}
