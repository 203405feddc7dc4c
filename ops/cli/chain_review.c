/* A risky update's part of the chain: its review, and the attempts to tell people. */
// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "ops/cli/chain.h"
#include "ops/sql.h"

static void copy_text(char *out, size_t size, struct view text)
{
    (void)snprintf(out, size, "%.*s", VIEW_ARG(text));
}

int chain_review(struct cli *cli, struct uuid id, struct chain_review *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param params[] = {pg_uuid(id)};
    struct pg *pg;

    *ret = (struct chain_review){0};
    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_review_of, params, 1, &r, err) < 0)
        return -1;
    ret->found = PQntuples(r) > 0;
    if (!ret->found)
        return 0;
    ret->review = pg_get_uuid(r, 0, 0);
    ret->update = pg_get_uuid(r, 0, 1);
    ret->anime = pg_get_uuid(r, 0, 2);
    copy_text(ret->state, sizeof(ret->state), pg_get_text(r, 0, 3));
    copy_text(ret->fields, sizeof(ret->fields), pg_get_text(r, 0, 4));
    copy_text(ret->superseded, sizeof(ret->superseded), pg_get_text(r, 0, 5));
    copy_text(ret->reasons, sizeof(ret->reasons), pg_get_text(r, 0, 6));
    ret->created_us = pg_get_timestamp_us(r, 0, 7);
    ret->decided_us = pg_get_timestamp_us(r, 0, 8);
    copy_text(ret->reviewed_by, sizeof(ret->reviewed_by), pg_get_text(r, 0, 9));
    ret->superseded_by = pg_get_uuid(r, 0, 10);
    ret->revision = pg_get_i64(r, 0, 11);
    ret->reminder = pg_get_uuid(r, 0, 12);
    ret->has_row = pg_get_bool(r, 0, 13);
    return 0;
}

/* The table belongs to the event adapter's schema, which a fleet without webhooks need not have. */
static const struct pg_statement newest_delivery = {
    "newest_delivery",
    "SELECT route, attempt, status, error, class, started_at, coalesce(next_try_at > now(), false)"
    "  FROM adapter.delivery WHERE webhook_id IN ($1::uuid, $2::uuid)"
    " ORDER BY id DESC LIMIT 1"};

int chain_delivery(struct cli *cli, const struct chain_review *review, struct chain_delivery *ret,
                   struct err *err)
{
    CLEANUP(pg_clearp) PGresult *has = NULL;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg *pg;

    *ret = (struct chain_delivery){0};
    if (cli_pg(cli, &pg, err) < 0 || pg_query(pg, &sql_has_deliveries, NULL, 0, &has, err) < 0)
        return -1;
    ret->has_adapter = pg_get_bool(has, 0, 0);
    if (!ret->has_adapter)
        return 0;
    const struct pg_param params[] = {pg_uuid(review->review), pg_uuid(review->reminder)};
    if (pg_query(pg, &newest_delivery, params, 2, &r, err) < 0)
        return -1;
    ret->found = PQntuples(r) > 0;
    if (!ret->found)
        return 0;
    copy_text(ret->route, sizeof(ret->route), pg_get_text(r, 0, 0));
    ret->attempt = pg_get_i64(r, 0, 1);
    ret->status = pg_get_i64(r, 0, 2);
    copy_text(ret->error, sizeof(ret->error), pg_get_text(r, 0, 3));
    copy_text(ret->class, sizeof(ret->class), pg_get_text(r, 0, 4));
    ret->started_us = pg_get_timestamp_us(r, 0, 5);
    ret->goes_on = pg_get_bool(r, 0, 6);
    return 0;
}
