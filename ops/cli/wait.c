// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/wait.h"

#include <stdlib.h>

#include "events/base/clock.h"
#include "ops/cli/chain.h"
#include "ops/cli/fleet.h"
#include "ops/cli/output.h"
#include "ops/sql.h"

#define FIRST_PAUSE_MS 20
#define LONGEST_PAUSE_MS 250

void wait_list_add(struct wait_list *list, const char *event_id, uint64_t sequence)
{
    if (list->n == list->room) {
        size_t room = list->room ? 2 * list->room : 1024;
        struct uuid *ids = realloc(list->ids, room * sizeof(*ids));
        if (!ids)
            abort();
        list->ids = ids;
        list->room = room;
    }
    if (uuid_parse(view_of(event_id), &list->ids[list->n]))
        list->n++;
    if (sequence > list->last_sequence)
        list->last_sequence = sequence;
}

void wait_list_free(struct wait_list *list)
{
    free(list->ids);
    *list = (struct wait_list){0};
}

int wait_check(struct cli *cli, struct err *err)
{
    struct pg *pg;

    if (!*cli->config.pg_url)
        return cli_usage(err, "--wait looks into PostgreSQL: set pg-url (or ECHORA_PG_URL)");
    return cli_pg(cli, &pg, err);
}

struct stage {
    struct cli *cli;
    int64_t end_ms;
    const char *durable, *stream;
    uint64_t target;
    int64_t row;
    struct uuid event; /* one of those that are waited for */
    int64_t timeout_ms;
};

/* 1 when reached, 0 when not yet; *ret_left is how much is left to do. */
typedef int reached_fn(struct stage *s, uint64_t *ret_left, struct err *err);

static int handled(struct stage *s, uint64_t *ret_left, struct err *err)
{
    struct chain_consumer c;

    if (chain_consumer(s->cli, s->stream, s->durable, &c, err) < 0)
        return -1;
    *ret_left = c.pending + c.ack_pending;
    return c.ack_floor >= s->target || *ret_left == 0;
}

static int relayed(struct stage *s, uint64_t *ret_left, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg_param params[] = {pg_i64(s->row)};
    struct chain_stream state;
    struct pg *pg;

    if (cli_pg(s->cli, &pg, err) < 0 ||
        pg_query(pg, &sql_outbox_behind, params, 1, &result, err) < 0 ||
        chain_stream(s->cli, "ANIME_SYNC", &state, err) < 0)
        return -1;
    uint64_t behind = (uint64_t)pg_get_i64(result, 0, 0);
    uint64_t ends_at = (uint64_t)pg_get_i64(result, 0, 1);
    *ret_left = behind + (ends_at > state.last ? ends_at - state.last : 0);
    s->target = ends_at;
    return *ret_left == 0;
}

static int indexed(struct stage *s, uint64_t *ret_left, struct err *err)
{
    struct fleet_consumer consumers[FLEET_MAX_CONSUMERS];
    size_t n = fleet_consumers(consumers);
    bool all = true;

    *ret_left = 0;
    for (size_t i = 0; i < n; i++) {
        struct chain_consumer c;
        if (strcmp(consumers[i].stream, "ANIME_SYNC") != 0)
            continue;
        if (chain_consumer(s->cli, "ANIME_SYNC", consumers[i].spec->durable, &c, err) < 0)
            return -1;
        *ret_left += c.pending + c.ack_pending;
        all = all && (c.pending + c.ack_pending == 0 || c.ack_floor >= s->target);
    }
    return all;
}

static int reach(struct stage *s, const char *what, reached_fn *reached, struct err *err)
{
    struct bar bar = {0};
    int64_t pause = FIRST_PAUSE_MS;
    uint64_t left = 0, most = 0;

    for (bool first = true;; first = false) {
        arena_reset(s->cli->arena);
        int r = reached(s, &left, err);
        if (first) {
            most = left;
            bar_start(&bar, what, most, s->cli->config.json);
        }
        if (r != 0) {
            bar_end(&bar);
            return r < 0 ? -1 : 0;
        }
        if (left > most)
            most = left;
        bar_update(&bar, most - left);
        if (mono_ms() >= s->end_ms || !wait_ms(pause)) {
            char id[UUID_TEXT];
            bar_end(&bar);
            uuid_format(s->event, id);
            return err_set(err, ERR_RETRY, "timeout", "wait",
                           "not %s within %g s; `echora follow %s` says where it stands", what,
                           (double)s->timeout_ms / 1000, id);
        }
        pause = pause * 2 < LONGEST_PAUSE_MS ? pause * 2 : LONGEST_PAUSE_MS;
    }
}

static int newest_row(struct cli *cli, int64_t *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_outbox_newest, NULL, 0, &result, err) < 0)
        return -1;
    *ret = pg_get_i64(result, 0, 0);
    return 0;
}

static int count_outcomes(struct cli *cli, const struct wait_list *list, struct wait_result *ret,
                          struct err *err)
{
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct pg_array ids;
    struct pg *pg;

    if (cli_pg(cli, &pg, err) < 0)
        return -1;
    pg_array_init(&ids, PG_UUIDS, 64 + 20 * list->n);
    for (size_t i = 0; i < list->n; i++)
        pg_array_uuid(&ids, list->ids[i]);
    struct pg_param params[] = {pg_array_param(&ids)};
    int r = pg_query(pg, &sql_outcomes, params, 1, &result, err);
    pg_array_deinit(&ids);
    if (r < 0)
        return -1;
    const struct {
        const char *outcome;
        uint64_t *count;
    } counts[] = {{"applied", &ret->applied},
                  {"unchanged", &ret->unchanged},
                  {"parked", &ret->parked},
                  {"pending", &ret->pending}};
    uint64_t known = 0;
    *ret = (struct wait_result){0};
    for (int i = 0; i < PQntuples(result); i++)
        for (size_t k = 0; k < ARRAY_LEN(counts); k++)
            if (view_is(pg_get_text(result, i, 0), counts[k].outcome)) {
                *counts[k].count = (uint64_t)pg_get_i64(result, i, 1);
                known += *counts[k].count;
            }
    ret->rejected = list->n > known ? list->n - known : 0;
    return 0;
}

int wait_indexed(struct cli *cli, const struct subject_def *def, const struct wait_list *list,
                 int64_t timeout_ms, struct wait_result *ret, struct err *err)
{
    struct fleet_consumer consumers[FLEET_MAX_CONSUMERS];
    size_t n = fleet_consumers(consumers);
    struct stage s = {.cli = cli,
                      .end_ms = mono_ms() + timeout_ms,
                      .target = list->last_sequence,
                      .event = list->ids[0],
                      .timeout_ms = timeout_ms};

    for (size_t i = 0; i < n && !s.durable; i++)
        if (strcmp(consumers[i].filter, def->subject) == 0 && consumers[i].spec->subject) {
            s.durable = consumers[i].spec->durable;
            s.stream = consumers[i].stream;
        }
    if (!s.durable)
        return cli_usage(err, "--wait: nobody consumes %s", def->subject);
    if (reach(&s, "handled", handled, err) < 0 || newest_row(cli, &s.row, err) < 0 ||
        reach(&s, "relayed", relayed, err) < 0 || reach(&s, "indexed", indexed, err) < 0)
        return -1;
    return count_outcomes(cli, list, ret, err);
}
