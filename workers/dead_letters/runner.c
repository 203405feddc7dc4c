// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/runner.h"

#include <inttypes.h>

#include "contracts/field.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "workers/dead_letters/gauges.h"
#include "workers/dead_letters/outcome.h"
#include "workers/dead_letters/pace.h"
#include "workers/dead_letters/plan.h"
#include "workers/dead_letters/republish.h"
#include "workers/dead_letters/sql.h"

enum {
    PAGE = 512,
    PAGE_BYTES = 8 << 20, /* of payloads; it is passed by one letter at most */
    DISCARD_PAGE = 2048,  /* nothing is read or published */
    SLICE_MS = 850,
    ARRAY_MAX = 4 << 20,
};

struct running {
    struct uuid id;
    char id_text[UUID_TEXT];
    bool discard, canary;
    int64_t rate, max_failure, wait_s, since_ms, turned_to;
};

/* 1: taken, 0: somebody else works on it, or it does not run. */
static int take(struct dead_letters *dl, struct running *plan, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_uuid(plan->id);
    if (pg_query(dl->pg, &sql_plan_take, &param, 1, &rows, err) < 0)
        return -1;
    if (PQntuples(rows) == 0)
        return 0;
    plan->discard = view_is(pg_get_text(rows, 0, 0), "discard");
    plan->rate = pg_get_i64(rows, 0, 1);
    plan->canary = pg_get_bool(rows, 0, 2) && !plan->discard;
    plan->max_failure = pg_get_i64(rows, 0, 3);
    plan->wait_s = pg_get_i64(rows, 0, 4);
    plan->since_ms = pg_get_i64(rows, 0, 5);
    plan->turned_to = pg_get_i64(rows, 0, 6);
    return 1;
}

/* How many letters the canary lets go now; 0 = it waits. *ret_stop says why the plan must stop. */
static int canary_quota(struct dead_letters *dl, const struct running *plan, int64_t *ret_n,
                        const char **ret_stop, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_uuid(plan->id);
    if (pg_query(dl->pg, &sql_plan_turned, &param, 1, &rows, err) < 0)
        return -1;
    const struct canary_counts counts = {.open = pg_get_i64(rows, 0, 0),
                                         .failed = pg_get_i64(rows, 0, 1),
                                         .turned = pg_get_i64(rows, 0, 2)};
    switch (canary_next(&counts, FAULT("canary-never-stops") ? 100 : plan->max_failure, ret_n)) {
    case CANARY_GO:
        break;
    case CANARY_WAIT:
        if (plan->since_ms > plan->wait_s * 1000)
            *ret_stop = arena_printf(
                dl->scratch, "canary: %" PRId64 " events have no outcome after %" PRId64 " s",
                counts.open, plan->wait_s);
        break;
    case CANARY_FAILED:
        *ret_stop = arena_printf(
            dl->scratch, "canary: %" PRId64 " of %" PRId64 " failed, more than %" PRId64 " %%",
            counts.failed, counts.turned, plan->max_failure);
        break;
    }
    return 0;
}

static int quota(struct dead_letters *dl, const struct running *plan, int64_t *ret_n,
                 const char **ret_stop, struct err *err)
{
    const int64_t page = plan->discard ? DISCARD_PAGE : PAGE;
    int64_t n = page, canary;
    *ret_stop = NULL;
    if (plan->rate > 0 && !plan->discard)
        n = pace_rate(plan->rate, plan->since_ms);
    if (plan->canary) {
        if (canary_quota(dl, plan, &canary, ret_stop, err) < 0)
            return -1;
        n = n < canary ? n : canary;
    }
    *ret_n = n < page ? n : page;
    return 0;
}

static int next_items(struct dead_letters *dl, const struct running *plan, int64_t most,
                      struct replay_page *page, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param params[] = {pg_uuid(plan->id), pg_i32((int32_t)most),
                                      pg_i64(plan->turned_to)};
    if (pg_query(dl->pg, &sql_next_items, params, ARRAY_LEN(params), &rows, err) < 0)
        return -1;
    const int n = PQntuples(rows);
    int64_t bytes = 0;
    page->items = arena_array(page->arena, (size_t)n + 1, sizeof(*page->items));
    bool *overtaken = arena_array(page->arena, (size_t)n + 1, sizeof(bool));
    if (page->items == NULL || overtaken == NULL)
        return dlq_no_memory(err);
    for (int i = 0; i < n && (plan->discard || bytes < PAGE_BYTES); i++) {
        DlqAuditItem *item =
            (DlqAuditItem *)message_new(&echora__ops__v1__dlq_audit_item__descriptor, page->arena);
        if (item == NULL)
            return dlq_no_memory(err);
        item->sequence = (uint64_t)pg_get_i64(rows, i, 0);
        item->id = arena_strdup(page->arena, pg_get_text(rows, i, 1));
        item->attempt = (int32_t)pg_get_i64(rows, i, 2);
        overtaken[i] = pg_get_bool(rows, i, 3);
        bytes += pg_get_i64(rows, i, 4);
        if (item->id == NULL)
            return dlq_no_memory(err);
        page->items[page->n++] = item;
    }
    page->overtaken = overtaken;
    return 0;
}

static void discard_page(struct replay_page *page)
{
    for (size_t i = 0; i < page->n; i++) {
        DlqAuditItem *item = page->items[i];
        const bool overtaken = page->overtaken[i];
        item->outcome = (char *)(uintptr_t)(overtaken ? "skipped" : "discarded");
        item->state = (char *)(uintptr_t)(overtaken ? "" : "discarded");
        item->attempt -= 1; /* no replay: the count stays */
    }
}

static int settle_items(struct dead_letters *dl, const struct running *plan,
                        const struct replay_page *page, struct err *err)
{
    static const enum pg_array_kind kinds[4] = {PG_I64S, PG_TEXTS, PG_TEXTS, PG_I64S};
    struct pg_array arrays[4];
    struct pg_param params[5] = {pg_uuid(plan->id)};
    for (int a = 0; a < 4; a++)
        pg_array_init(&arrays[a], kinds[a], ARRAY_MAX);
    for (size_t i = 0; i < page->n; i++) {
        const DlqAuditItem *item = page->items[i];
        pg_array_i64(&arrays[0], (int64_t)item->sequence);
        pg_array_text(&arrays[1], view_of(item->outcome));
        pg_array_text(&arrays[2], view_of(item->code));
        pg_array_i64(&arrays[3], (int64_t)item->sent_sequence);
    }
    for (int a = 0; a < 4; a++)
        params[a + 1] = pg_array_param(&arrays[a]);
    const int rc = pg_query(dl->pg, &sql_settle_items, params, ARRAY_LEN(params), NULL, err);
    for (int a = 0; a < 4; a++)
        pg_array_deinit(&arrays[a]);
    return rc;
}

/* Inside the transaction. *ret_more: the plan may go on at once. */
static int run_page(struct dead_letters *dl, struct running *plan, struct replay_page *page,
                    bool *ret_more, struct err *err)
{
    const char *stop;
    int64_t n;
    if (quota(dl, plan, &n, &stop, err) < 0)
        return -1;
    if (stop != NULL)
        return plan_end(dl, plan->id, "stopped", stop, page->arena, err);
    if (next_items(dl, plan, n > 0 ? n : 1, page, err) < 0)
        return -1;
    if (page->n == 0)
        return plan_end(dl, plan->id, "done", "", page->arena, err);
    if (n == 0)
        return 0;
    if (plan->discard)
        discard_page(page);
    else if (republish_page(dl, page, err) < 0)
        return -1;
    if (audit_letters(dl, plan->id_text, plan->discard ? "discard" : "replay", page->items, page->n,
                      page->arena, err) < 0 ||
        settle_items(dl, plan, page, err) < 0 || audit_apply(dl, page->items, page->n, err) < 0)
        return -1;
    *ret_more = true;
    const struct pg_param slice[] = {pg_uuid(plan->id),
                                     pg_i64((int64_t)page->items[page->n - 1]->sequence)};
    return pg_query(dl->pg, &sql_plan_slice, slice, ARRAY_LEN(slice), NULL, err);
}

/* What a person must look at before the plan goes on; else it is tried again. */
static bool needs_a_person(const struct dead_letters *dl, const struct err *err)
{
    return err->class == ERR_FATAL ||
           (err->class == ERR_UNAVAILABLE && err->dependency == DEP_NATS &&
            bus_connected(dl->bus) && strcmp(err->code, "nats-timeout") != 0);
}

static int stop_for(struct dead_letters *dl, const struct running *plan, const struct err *cause,
                    struct err *err)
{
    const char *reason = arena_printf(dl->scratch, "%s: %s", cause->code, cause->text);
    if (reason == NULL)
        return dlq_no_memory(err);
    log_err(LOG_LEVEL_WARN, "plan stopped", cause);
    return plan_end(dl, plan->id, "stopped", reason, dl->scratch, err);
}

static int work_on(struct dead_letters *dl, struct running *plan, bool *ret_more, struct err *err)
{
    struct replay_page page = {.plan_id = plan->id_text, .arena = dl->scratch};
    struct err trouble = ERR_INIT;
    *ret_more = false;
    arena_reset(dl->scratch);
    if (pg_begin(dl->pg, err) < 0)
        return -1;
    const int taken = take(dl, plan, &trouble);
    if (taken == 1 && run_page(dl, plan, &page, ret_more, &trouble) == 0) {
        if (pg_commit(dl->pg, err) < 0)
            return -1;
        if (*ret_more)
            gauges_count(page.items, page.n);
        KILL_POINT("replay-recorded");
        return 0;
    }
    pg_rollback(dl->pg);
    *ret_more = false;
    if (taken == 0)
        return 0;
    if (needs_a_person(dl, &trouble))
        return stop_for(dl, plan, &trouble, err);
    *err = trouble;
    return -1;
}

static int serve(struct dead_letters *dl, struct running *plan, int64_t until_ms, struct err *err)
{
    bool more = true;
    if (outcome_resolve(dl, plan->id, until_ms, err) < 0)
        return -1;
    while (more && mono_ms() < until_ms && !lane_stopping(dl->lane)) {
        if (work_on(dl, plan, &more, err) < 0)
            return -1;
    }
    return 0;
}

int runner_tick(struct dead_letters *dl, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const int64_t until_ms = mono_ms() + SLICE_MS;
    if (pg_query(dl->pg, &sql_plans_at_work, NULL, 0, &rows, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(rows); row++) {
        struct running plan = {.id = pg_get_uuid(rows, row, 0)};
        struct err trouble = ERR_INIT;
        uuid_format(plan.id, plan.id_text);
        if (serve(dl, &plan, until_ms, &trouble) == 0)
            continue;
        if (trouble.dependency == DEP_POSTGRES || !bus_connected(dl->bus)) {
            *err = trouble;
            return -1;
        }
        /* Such as the catalogue, which only some plans need: the others go on. */
        log_err(LOG_LEVEL_WARN, "a plan waits", &trouble);
    }
    return 0;
}
