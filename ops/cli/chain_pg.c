/* The chain as PostgreSQL knows it. */
// SPDX-License-Identifier: Apache-2.0
#include "contracts/registry.h"
#include "events/base/clock.h"
#include "ops/cli/chain.h"
#include "ops/cli/text.h"
#include "ops/sql.h"

static void copy_text(char *out, size_t size, struct view text)
{
    (void)snprintf(out, size, "%.*s", VIEW_ARG(text));
}

/* "traceparent: 00-<32>-<16>-01" among lines of headers. */
static void find_trace(struct view headers, char out[static 33])
{
    struct view line;

    out[0] = '\0';
    while (view_split(&headers, '\n', &line)) {
        static const char name[] = "traceparent: 00-";
        if (view_starts_with(line, name) && line.n >= sizeof(name) - 1 + 32)
            (void)snprintf(out, 33, "%.32s", line.p + sizeof(name) - 1);
    }
}

int chain_history(struct cli *cli, struct uuid entity, json_t **ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg_param params[] = {pg_uuid(entity)};
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_entity_history, params, 1, &result, err) < 0)
        return -1;
    json_t *list = json_array();
    for (int i = 0; i < PQntuples(result); i++) {
        json_t *row = json_object();
        char time[RFC3339_MAX];
        int64_t at_us = pg_get_timestamp_us(result, i, 5);
        rfc3339_format(at_us / 1000000, (int32_t)(at_us % 1000000) * 1000, time);
        struct view consumer = pg_get_text(result, i, 1), outcome = pg_get_text(result, i, 2);
        json_put(row, "eventId", json_uuid(pg_get_uuid(result, i, 0)));
        json_put(row, "consumer", json_stringn(consumer.p, consumer.n));
        json_put(row, "outcome", json_stringn(outcome.p, outcome.n));
        json_put(row, "revision", json_integer(pg_get_i64(result, i, 3)));
        json_put(row, "sequence", json_integer(pg_get_i64(result, i, 4)));
        json_put(row, "handledAt", json_string(time));
        json_array_append_new(list, row);
    }
    *ret = list;
    return 0;
}

int chain_entity(struct cli *cli, struct uuid id, struct chain_entity *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg_param params[] = {pg_uuid(id)};
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_canonical_id, params, 1, &result, err) < 0)
        return -1;
    *ret = (struct chain_entity){.found = PQntuples(result) > 0};
    if (!ret->found)
        return 0;
    copy_text(ret->kind, sizeof(ret->kind), pg_get_text(result, 0, 0));
    ret->id = pg_get_uuid(result, 0, 1);
    ret->revision = pg_get_i64(result, 0, 2);
    ret->deleted = pg_get_bool(result, 0, 3);
    copy_text(ret->title, sizeof(ret->title), pg_get_text(result, 0, 4));
    return 0;
}

int chain_handled(struct cli *cli, struct uuid event, struct chain_handled *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg_array ids;
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0)
        return -1;
    pg_array_init(&ids, PG_UUIDS, 1024);
    pg_array_uuid(&ids, event);
    struct pg_param params[] = {pg_array_param(&ids)};
    int r = pg_query(pg, &sql_event_handled, params, 1, &result, err);
    pg_array_deinit(&ids);
    if (r < 0)
        return -1;
    *ret = (struct chain_handled){.found = PQntuples(result) > 0};
    if (!ret->found)
        return 0;
    copy_text(ret->consumer, sizeof(ret->consumer), pg_get_text(result, 0, 1));
    copy_text(ret->outcome, sizeof(ret->outcome), pg_get_text(result, 0, 2));
    ret->revision = pg_get_i64(result, 0, 3);
    ret->sequence = (uint64_t)pg_get_i64(result, 0, 4);
    ret->entity = pg_get_uuid(result, 0, 5);
    ret->handled_us = pg_get_timestamp_us(result, 0, 6);
    return 0;
}

int chain_waiting(struct cli *cli, struct uuid entity, struct chain_waiting *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg_param params[] = {pg_uuid(entity)};
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_entity_waiting, params, 1, &result, err) < 0)
        return -1;
    *ret = (struct chain_waiting){.found = PQntuples(result) > 0};
    if (ret->found) {
        ret->event = pg_get_uuid(result, 0, 0);
        copy_text(ret->outcome, sizeof(ret->outcome), pg_get_text(result, 0, 1));
    }
    return 0;
}

int chain_rows(struct cli *cli, struct uuid entity, struct chain_row ret[CHAIN_ROWS], size_t *ret_n,
               struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg_param params[] = {pg_uuid(entity)};
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0 ||
        pg_query(pg, &sql_outbox_of_entity, params, 1, &result, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(result);
    *ret_n = n < CHAIN_ROWS ? n : CHAIN_ROWS;
    for (size_t i = 0; i < *ret_n; i++) {
        struct chain_row *row = &ret[i];
        *row = (struct chain_row){.event_id = pg_get_uuid(result, (int)i, 0),
                                  .created_us = pg_get_timestamp_us(result, (int)i, 3),
                                  .batch = pg_get_i64(result, (int)i, 5),
                                  .sequence = (uint64_t)pg_get_i64(result, (int)i, 6)};
        copy_text(row->stream, sizeof(row->stream), pg_get_text(result, (int)i, 1));
        copy_text(row->subject, sizeof(row->subject), pg_get_text(result, (int)i, 2));
        find_trace(pg_get_text(result, (int)i, 4), row->trace_id);
    }
    return 0;
}

/* Rows of the stream's open batch that are not known to be stored. */
static int64_t open_rows(struct cli *cli, const PGresult *result, int row)
{
    int64_t ends_at = pg_get_i64(result, row, 3), rows = pg_get_i64(result, row, 4);
    struct view name = pg_get_text(result, row, 0);
    struct err ignored = ERR_INIT;
    struct chain_stream state;

    if (rows == 0)
        return 0;
    for (const struct stream_def *const *s = registry_streams; *s; s++)
        if ((*s)->sole_writer && view_is(name, (*s)->name) &&
            chain_stream(cli, (*s)->name, &state, &ignored) == 0) {
            int64_t left = ends_at - (int64_t)state.last;
            return left < 0 ? 0 : left < rows ? left : rows;
        }
    return rows;
}

int chain_lag(struct cli *cli, struct chain_lag *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_outbox_lag, NULL, 0, &result, err) < 0)
        return -1;
    *ret = (struct chain_lag){0};
    for (int i = 0; i < PQntuples(result); i++) {
        double seconds = pg_get_double(result, i, 2);
        int64_t open = open_rows(cli, result, i);
        ret->rows += pg_get_i64(result, i, 1) + open;
        if (open > 0 && pg_get_double(result, i, 5) > seconds)
            seconds = pg_get_double(result, i, 5);
        if (seconds > ret->seconds)
            ret->seconds = seconds;
    }
    return 0;
}
