/* The attempt log and the state of routes, in PostgreSQL. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "workers/adapter/adapter.h"
#include "workers/adapter/sql.h"

enum {
    IDS,
    SEQUENCES,
    STARTS,
    MILLISECONDS,
    STATUSES,
    ERRORS,
    CLASSES,
    NEXTS,
    TRIGGERS,
    ASKED_BY,
    ANSWERS,
    COLUMNS
};
static const enum pg_array_kind kinds[COLUMNS] = {
    [IDS] = PG_UUIDS,         [SEQUENCES] = PG_I64S,   [STARTS] = PG_TIMESTAMPS,
    [MILLISECONDS] = PG_I64S, [STATUSES] = PG_I32S,    [ERRORS] = PG_TEXTS,
    [CLASSES] = PG_TEXTS,     [NEXTS] = PG_TIMESTAMPS, [TRIGGERS] = PG_TEXTS,
    [ASKED_BY] = PG_TEXTS,    [ANSWERS] = PG_TEXTS,
};
#define COLUMN_MAX ((size_t)1 << 20)

static void put(struct pg_array columns[static COLUMNS], const struct attempt *a)
{
    pg_array_uuid(&columns[IDS], a->webhook_id);
    pg_array_i64(&columns[SEQUENCES], (int64_t)a->stream_sequence);
    pg_array_timestamp(&columns[STARTS], a->started_us);
    pg_array_i64(&columns[MILLISECONDS], a->outcome.ms);
    pg_array_i64(&columns[STATUSES], a->outcome.status);
    pg_array_text(&columns[ERRORS], view_of(a->outcome.code));
    pg_array_text(&columns[CLASSES], view_of(judgement_name(a->judgement)));
    if (a->next_us != 0)
        pg_array_timestamp(&columns[NEXTS], a->next_us);
    else
        pg_array_null(&columns[NEXTS]);
    pg_array_text(&columns[TRIGGERS], view_of(a->trigger));
    pg_array_text(&columns[ASKED_BY], view_of(a->asked_by));
    pg_array_text(&columns[ANSWERS], view_of(a->answer));
}

int record_attempts(struct pg *pg, enum route route, const char *stream,
                    const struct attempt attempts[], size_t n, struct err *err)
{
    struct pg_array columns[COLUMNS];
    struct pg_param params[COLUMNS + 2];

    for (int c = 0; c < COLUMNS; c++)
        pg_array_init(&columns[c], kinds[c], COLUMN_MAX);
    for (size_t i = 0; i < n; i++)
        put(columns, &attempts[i]);
    params[0] = pg_text(view_of(route_name(route)));
    params[1] = pg_text(view_of(stream));
    for (int c = 0; c < COLUMNS; c++)
        params[c + 2] = pg_array_param(&columns[c]);
    const int rc = pg_query(pg, &sql_insert_attempts, params, COLUMNS + 2, NULL, err);
    for (int c = 0; c < COLUMNS; c++)
        pg_array_deinit(&columns[c]);
    return rc;
}

int record_announced(struct pg *pg, const struct uuid ids[], size_t n, bool ret[], struct err *err)
{
    CLEANUP(pg_array_deinit) struct pg_array array;
    CLEANUP(pg_clearp) PGresult *rows = NULL;

    pg_array_init(&array, PG_UUIDS, COLUMN_MAX);
    for (size_t i = 0; i < n; i++) {
        pg_array_uuid(&array, ids[i]);
        ret[i] = FAULT("copy-unchecked");
    }
    const struct pg_param param = pg_array_param(&array);
    if (pg_query(pg, &sql_announced, &param, 1, &rows, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(rows); row++)
        ret[pg_get_i64(rows, row, 0) - 1] = true;
    return 0;
}

int record_forget(struct pg *pg, int64_t keep_ms, int64_t keep_rows, struct err *err)
{
    const struct pg_param params[] = {pg_timestamptz(wall_us() - keep_ms * 1000),
                                      pg_i64(keep_rows)};

    return pg_query(pg, &sql_forget_attempts, params, 2, NULL, err);
}

static int set_route(struct pg *pg, enum route route, bool enabled, const char *reason,
                     const char *actor, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(route_name(route))), pg_bool(enabled),
                                      pg_text(view_of(reason)), pg_text(view_of(actor))};

    return pg_query(pg, &sql_set_route, params, 4, NULL, err);
}

int record_disable(struct pg *pg, enum route route, const char *reason, const char *actor,
                   struct err *err)
{
    return set_route(pg, route, false, reason, actor, err);
}

int record_enable(struct pg *pg, enum route route, const char *actor, struct err *err)
{
    return set_route(pg, route, true, "", actor, err);
}

int record_check(struct pg *pg, enum route route, struct err *err)
{
    const struct pg_param param = pg_text(view_of(route_name(route)));
    CLEANUP(pg_clearp) PGresult *rows = NULL;

    if (pg_query(pg, &sql_get_route, &param, 1, &rows, err) < 0)
        return -1;
    if (PQntuples(rows) == 0 || pg_get_bool(rows, 0, 0))
        return 0;
    return err_set(err, ERR_RETRY, "route-disabled", "webhook",
                   "route %s is disabled: %.*s; `echora webhook enable %s` enables it",
                   route_name(route), VIEW_ARG(pg_get_text(rows, 0, 1)), route_name(route));
}

int record_find(struct pg *pg, enum route route, struct uuid webhook_id, char ret_stream[static 64],
                uint64_t *ret_sequence, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(route_name(route))), pg_uuid(webhook_id)};
    CLEANUP(pg_clearp) PGresult *rows = NULL;

    if (pg_query(pg, &sql_find_event, params, 2, &rows, err) < 0)
        return -1;
    if (PQntuples(rows) == 0)
        return err_set(err, ERR_REJECT, "no-event", "find event",
                       "the log has no such webhook of route %s", route_name(route));
    snprintf(ret_stream, 64, "%.*s", VIEW_ARG(pg_get_text(rows, 0, 0)));
    *ret_sequence = (uint64_t)pg_get_i64(rows, 0, 1);
    return 0;
}
