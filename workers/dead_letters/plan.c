// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/plan.h"

#include "contracts/field.h"
#include "contracts/json.h"
#include "events/base/fault.h"
#include "events/once.h"
#include "workers/dead_letters/audit.h"
#include "workers/dead_letters/filter.h"
#include "workers/dead_letters/requests.h"
#include "workers/dead_letters/sql.h"

typedef Echora__Ops__V1__DlqReplayRequest ReplayRequest;
typedef Echora__Ops__V1__DlqReplayReply ReplayReply;

enum {
    PLANS = 5,
    SAMPLE = 20,
    LIST_PART = 50000,
    FILTER_MAX = 16 << 10,
    MAX_FAILURE = 10,
    WAIT_S = 300
};

static int no_plan(struct err *err)
{
    return err_set(err, ERR_REJECT, "no-plan", "plan",
                   "there is no such plan, or it is over already");
}

static char *uuid_text(struct uuid id, struct arena *arena)
{
    char *text = arena_alloc(arena, UUID_TEXT);
    if (text != NULL)
        uuid_format(id, text);
    return text;
}

static DlqPlan *plan_of_row(const PGresult *rows, int row, struct arena *arena)
{
    DlqPlan *p = (DlqPlan *)message_new(&echora__ops__v1__dlq_plan__descriptor, arena);
    if (p == NULL)
        return NULL;
    p->id = uuid_text(pg_get_uuid(rows, row, 0), arena);
    p->action = arena_strdup(arena, pg_get_text(rows, row, 1));
    p->state = arena_strdup(arena, pg_get_text(rows, row, 2));
    p->reason = arena_strdup(arena, pg_get_text(rows, row, 3));
    p->actor = arena_strdup(arena, pg_get_text(rows, row, 4));
    p->rate = (int32_t)pg_get_i64(rows, row, 5);
    p->canary = pg_get_bool(rows, row, 6);
    p->max_failure_percent = (int32_t)pg_get_i64(rows, row, 7);
    p->total = pg_get_i64(rows, row, 8);
    p->created_at = timestamp_message(pg_get_timestamp_us(rows, row, 9), arena);
    p->waiting = pg_get_i64(rows, row, 10);
    p->sent = pg_get_i64(rows, row, 11);
    p->enqueued = pg_get_i64(rows, row, 12);
    p->done = pg_get_i64(rows, row, 13);
    p->failed = pg_get_i64(rows, row, 14);
    p->discarded = pg_get_i64(rows, row, 15);
    p->skipped = pg_get_i64(rows, row, 16);
    p->gone = pg_get_i64(rows, row, 17);
    return arena_overflowed(arena) ? NULL : p;
}

int plan_load(struct dead_letters *dl, const struct uuid *id, struct arena *arena, DlqPlan ***ret,
              size_t *ret_n, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param params[] = {id != NULL ? pg_uuid(*id) : pg_null(), pg_i32(PLANS)};
    if (pg_query(dl->pg, &sql_plan_get, params, ARRAY_LEN(params), &rows, err) < 0)
        return -1;
    const int n = PQntuples(rows);
    if (id != NULL && n == 0)
        return no_plan(err);
    DlqPlan **plans = arena_array(arena, (size_t)n + 1, sizeof(*plans));
    if (plans == NULL)
        return dlq_no_memory(err);
    for (int row = 0; row < n; row++) {
        plans[row] = plan_of_row(rows, row, arena);
        if (plans[row] == NULL)
            return dlq_no_memory(err);
    }
    *ret = plans;
    *ret_n = (size_t)n;
    return 0;
}

static int tell(struct dead_letters *dl, const char *action, const char *kind, struct uuid id,
                const ReplayRequest *asked, int64_t total, struct arena *arena, struct err *err)
{
    DlqAudit record = ECHORA__OPS__V1__DLQ_AUDIT__INIT;
    record.action = (char *)(uintptr_t)action;
    record.kind = (char *)(uintptr_t)kind;
    record.plan_id = uuid_text(id, arena);
    record.actor = asked->actor;
    record.filter = asked->filter;
    record.total = total;
    if (record.plan_id == NULL)
        return dlq_no_memory(err);
    return audit_write(dl, &record, arena, err);
}

int plan_end(struct dead_letters *dl, struct uuid id, const char *state, const char *reason,
             struct arena *arena, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param params[] = {pg_uuid(id), pg_text(view_of(state)),
                                      pg_text(view_of(reason))};
    DlqAudit record = ECHORA__OPS__V1__DLQ_AUDIT__INIT;
    if (pg_query(dl->pg, &sql_plan_stop, params, ARRAY_LEN(params), &rows, err) < 0)
        return -1;
    if (PQntuples(rows) == 0)
        return no_plan(err);
    record.action = (char *)(uintptr_t)(strcmp(state, "done") == 0 ? "end" : "stop");
    record.plan_id = uuid_text(id, arena);
    record.reason = (char *)(uintptr_t)reason;
    if (record.plan_id == NULL)
        return dlq_no_memory(err);
    return audit_write(dl, &record, arena, err);
}

/* A million letters take longer than one statement may. */
static int list_letters(struct dead_letters *dl, const ReplayRequest *asked, struct uuid id,
                        int64_t *ret_total, struct err *err)
{
    struct pg_param params[FILTER_PARAMS + 3];
    int64_t last = 0, n;
    filter_params(asked->filter, params);
    params[FILTER_PARAMS] = pg_uuid(id);
    params[FILTER_PARAMS + 2] = pg_i32(LIST_PART);
    *ret_total = 0;
    do {
        CLEANUP(pg_clearp) PGresult *rows = NULL;
        params[FILTER_PARAMS + 1] = pg_i64(last);
        if (pg_query(dl->pg, &sql_plan_letters, params, ARRAY_LEN(params), &rows, err) < 0)
            return -1;
        n = pg_get_i64(rows, 0, 0);
        last = pg_get_i64(rows, 0, 1);
        *ret_total += n;
        if (lane_stopping(dl->lane)) /* tells as well that this lane is alive */
            return err_set(err, ERR_UNAVAILABLE, "stopping", "plan", "the worker ends");
    } while (n == LIST_PART);
    return 0;
}

/* Inside the transaction: the plan's row, its letters, the record. */
static int make(struct dead_letters *dl, const char *action, const ReplayRequest *asked,
                struct uuid id, struct arena *arena, struct err *err)
{
    CLEANUP(buf_deinit) struct buf filter;
    int64_t total;
    buf_init(&filter, FILTER_MAX);
    if (json_encode(&asked->filter->base, &filter, err) < 0)
        return -1;
    const struct pg_param plan[] = {
        pg_uuid(id),
        pg_text(view_of(action)),
        pg_text(view_of(asked->actor)),
        pg_text(buf_view(&filter)),
        pg_i32(asked->rate),
        pg_bool(asked->canary),
        pg_i32(asked->max_failure_percent > 0 ? asked->max_failure_percent : MAX_FAILURE),
        pg_i32(asked->wait_seconds > 0 ? asked->wait_seconds : WAIT_S)};
    if (pg_query(dl->pg, &sql_plan_insert, plan, ARRAY_LEN(plan), NULL, err) < 0 ||
        list_letters(dl, asked, id, &total, err) < 0)
        return -1;
    const struct pg_param sum[] = {pg_uuid(id), pg_i64(total)};
    if (pg_query(dl->pg, &sql_plan_total, sum, ARRAY_LEN(sum), NULL, err) < 0)
        return -1;
    return tell(dl, "plan", action, id, asked, total, arena, err);
}

/* Inside the transaction. */
static int let_run(struct dead_letters *dl, const char *action, const ReplayRequest *asked,
                   struct uuid id, struct arena *arena, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param params[] = {
        pg_uuid(id),
        pg_text(view_of(action)),
        asked->rate > 0 ? pg_i32(asked->rate) : pg_null(),
        pg_bool(asked->canary),
        asked->max_failure_percent > 0 ? pg_i32(asked->max_failure_percent) : pg_null(),
        asked->wait_seconds > 0 ? pg_i32(asked->wait_seconds) : pg_null()};
    if (pg_query(dl->pg, &sql_plan_run, params, ARRAY_LEN(params), &rows, err) < 0)
        return -1;
    if (PQntuples(rows) == 0)
        return no_plan(err);
    return tell(dl, "run", action, id, asked, 0, arena, err);
}

static int stop(struct dead_letters *dl, const ReplayRequest *asked, struct uuid id,
                struct arena *arena, struct err *err)
{
    const char *reason = asked->actor[0] != '\0'
                             ? arena_printf(arena, "stopped by %s", asked->actor)
                             : "stopped by request";
    return reason != NULL ? plan_end(dl, id, "stopped", reason, arena, err) : dlq_no_memory(err);
}

static int check(const ReplayRequest *asked, struct uuid *ret_id, struct err *err)
{
    const bool named = asked->plan_id[0] != '\0';
    if (named == (asked->filter != NULL))
        return err_set(err, ERR_REJECT, "bad-request", "plan", "give a filter or a plan_id");
    if (named && !uuid_parse(view_of(asked->plan_id), ret_id))
        return err_set(err, ERR_REJECT, "bad-uuid", "plan", "plan_id is no UUID");
    if (!named && asked->stop)
        return err_set(err, ERR_REJECT, "bad-request", "plan", "stop needs a plan_id");
    if (asked->rate < 0 || asked->max_failure_percent < 0 || asked->max_failure_percent > 100 ||
        asked->wait_seconds < 0)
        return err_set(err, ERR_REJECT, "bad-request", "plan",
                       "rate, max_failure_percent or wait_seconds is out of range");
    if (!named)
        *ret_id = uuid_v7();
    return filter_check(asked->filter, err);
}

static int add_sample(struct dead_letters *dl, struct uuid id, ReplayReply *reply,
                      struct arena *arena, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param params[] = {pg_uuid(id), pg_i32(SAMPLE)};
    if (pg_query(dl->pg, &sql_plan_sample, params, ARRAY_LEN(params), &rows, err) < 0)
        return -1;
    reply->sample = arena_array(arena, SAMPLE, sizeof(DlqLetter *));
    if (reply->sample == NULL)
        return dlq_no_memory(err);
    for (int row = 0; row < PQntuples(rows); row++) {
        struct letter letter;
        if (letter_of_row(rows, row, arena, &letter, err) < 0)
            return -1;
        reply->sample[reply->n_sample] = letter_message(&letter, arena);
        if (reply->sample[reply->n_sample++] == NULL)
            return dlq_no_memory(err);
    }
    return 0;
}

/* Inside the transaction: what is asked for, and the reply that tells of it. */
static int change(struct dead_letters *dl, const char *action, const struct request *request,
                  struct uuid id, ProtobufCMessage **ret_reply, struct err *err)
{
    const ReplayRequest *asked = (const ReplayRequest *)request->message;
    const bool fresh = asked->plan_id[0] == '\0';
    struct arena *arena = request->arena;
    DlqPlan **plans;
    size_t n;
    ReplayReply *reply =
        (ReplayReply *)message_new(&echora__ops__v1__dlq_replay_reply__descriptor, arena);
    if (reply == NULL)
        return dlq_no_memory(err);
    if ((fresh && make(dl, action, asked, id, arena, err) < 0) ||
        (asked->stop && stop(dl, asked, id, arena, err) < 0) ||
        (!asked->stop && !asked->dry_run && let_run(dl, action, asked, id, arena, err) < 0) ||
        plan_load(dl, &id, arena, &plans, &n, err) < 0)
        return -1;
    reply->plan = plans[0];
    if (asked->dry_run && add_sample(dl, id, reply, arena, err) < 0)
        return -1;
    *ret_reply = &reply->base;
    return 0;
}

static int change_once(struct dead_letters *dl, const char *action, const struct once *once,
                       struct uuid id, ProtobufCMessage **ret_reply, struct err *err)
{
    const ReplayRequest *asked = (const ReplayRequest *)once->request->message;
    if (once_begin(dl->pg, once, ret_reply, err) < 0)
        return -1;
    if (*ret_reply != NULL)
        return 0;
    if (change(dl, action, once->request, id, ret_reply, err) < 0)
        return -1;
    return once_keep(dl->pg, once, asked->dry_run ? 200 : 202, *ret_reply, err);
}

static int answer(struct dead_letters *dl, const char *action, const struct request *request,
                  ProtobufCMessage **ret_reply, struct err *err)
{
    struct uuid id = {0};
    struct once once;
    if (check((const ReplayRequest *)request->message, &id, err) < 0 ||
        once_read(request, &once, err) < 0 || pg_begin(dl->pg, err) < 0)
        return -1;
    if (change_once(dl, action, &once, id, ret_reply, err) < 0) {
        pg_rollback(dl->pg);
        return -1;
    }
    KILL_POINT("before-commit");
    return pg_commit(dl->pg, err);
}

int answer_replay(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                  struct err *err)
{
    return answer(context, "replay", request, ret_reply, err);
}

int answer_discard(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                   struct err *err)
{
    return answer(context, "discard", request, ret_reply, err);
}
