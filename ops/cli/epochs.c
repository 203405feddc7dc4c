// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/epochs.h"

#include "contracts/registry.h"
#include "events/stream.h"
#include "ops/sql.h"
#include "outbox/bounds.h"
#include "outbox/relayed.h"

#define MOST_STREAMS 16

static void wrong(struct epochs *e, const char *stream, const char *code, const char *what)
{
    const size_t n = strlen(e->text);

    e->wrong++;
    (void)snprintf(e->text + n, sizeof(e->text) - n, "%s%s: %s [%s]", n ? "; " : "", stream, what,
                   code);
}

static int read_state(struct bus *bus, const char *stream, struct stream_state *ret,
                      struct err *err)
{
    *ret = (struct stream_state){0};
    /* A stream that is not there has no creation time. */
    return stream_state(bus, stream, ret, err) < 0 && strcmp(err->code, "nats-10059") != 0 ? -1 : 0;
}

/* The messages from `first` to `last` are of the batch behind the newest one, which the relay has
 * not noted yet: its first message tells the bounds (outbox/bounds.h), and its rows are here. The
 * relay goes on from it. *ret_kept: nothing was purged that would tell. */
static int look_ahead(struct bus *bus, struct pg *pg, const char *stream, int64_t newest,
                      uint64_t first, uint64_t last, bool *ret_fine, bool *ret_kept,
                      struct err *err)
{
    struct relayed head CLEANUP(relayed_deinit) = {0}, tail CLEANUP(relayed_deinit) = {0};
    struct outbox_batch b;
    PGresult *r CLEANUP(pg_clearp) = NULL;

    *ret_fine = false;
    *ret_kept = true;
    if (relayed_look(bus, stream, last, &tail, err) < 0 ||
        relayed_look(bus, stream, first, &head, err) < 0)
        return -1;
    *ret_kept = head.kept && tail.kept;
    if (!head.has_position || head.batch != newest + 1 || !tail.has_position ||
        tail.batch != newest + 1)
        return 0;
    batch_init(&b);
    const bool read = bounds_parse(head.bounds, &b);
    const struct pg_param params[] = {pg_text(view_of(stream)), pg_i64(head.id),
                                      pg_text(head.event_id), pg_i64(b.last_id)};
    batch_deinit(&b);
    if (!read)
        return 0;
    if (pg_query(pg, &sql_outbox_has, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    *ret_fine = pg_get_bool(r, 0, 0);
    return 0;
}

/* before and after: the stream around the query, as a relay at work moves both. */
static int compare(struct bus *bus, struct pg *pg, struct epochs *e, const PGresult *rows, int row,
                   const char *stream, const struct stream_state *before,
                   const struct stream_state *after, struct err *err)
{
    const struct stream_def *def = registry_stream(view_of(stream));
    const int64_t newest = pg_get_i64(rows, row, 3), start = pg_get_i64(rows, row, 4),
                  n = pg_get_i64(rows, row, 5);
    bool fine, kept;

    if (!*after->created)
        wrong(e, stream, "epoch-stream", "the stream is gone");
    else if (!view_is(pg_get_text(rows, row, 1), after->created))
        wrong(e, stream, "epoch-stream", "the stream was created anew since the relay noted it");
    else if (!pg_get_bool(rows, row, 2))
        wrong(e, stream, "epoch-database", "the batches are of another PostgreSQL cluster");
    else if (n < 0 || !def || !def->sole_writer)
        return 0;
    else if ((int64_t)after->last_sequence < start)
        wrong(e, stream, "epoch-stream", "the stream has fewer messages than were published");
    else if ((int64_t)before->last_sequence > start + n) {
        if (look_ahead(bus, pg, stream, newest, (uint64_t)(start + n) + 1, before->last_sequence,
                       &fine, &kept, err) < 0)
            return -1;
        if (!fine)
            wrong(e, stream, kept ? "epoch-database" : "epoch-stream",
                  "the stream has more messages than the database knows of");
    }
    return 0;
}

int epochs_look(struct cli *cli, struct epochs *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL, *again = NULL;
    struct stream_state before[MOST_STREAMS], after;
    struct bus *bus;
    struct pg *pg;

    *ret = (struct epochs){0};
    if (cli_bus(cli, &bus, err) < 0 || cli_pg(cli, &pg, err) < 0 ||
        pg_query(pg, &sql_outbox_epochs, NULL, 0, &rows, err) < 0)
        return -1;
    const int n = PQntuples(rows) < MOST_STREAMS ? PQntuples(rows) : MOST_STREAMS;
    for (int i = 0; i < n; i++) {
        const char *name = arena_printf(cli->arena, "%.*s", VIEW_ARG(pg_get_text(rows, i, 0)));
        if (read_state(bus, name, &before[i], err) < 0)
            return -1;
    }
    if (pg_query(pg, &sql_outbox_epochs, NULL, 0, &again, err) < 0)
        return -1;
    for (int i = 0; i < n && i < PQntuples(again); i++) {
        const char *name = arena_printf(cli->arena, "%.*s", VIEW_ARG(pg_get_text(again, i, 0)));
        if (read_state(bus, name, &after, err) < 0 ||
            compare(bus, pg, ret, again, i, name, &before[i], &after, err) < 0)
            return -1;
    }
    ret->streams = (unsigned)n;
    return 0;
}
