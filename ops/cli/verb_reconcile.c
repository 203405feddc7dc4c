// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/base/uuid.h"
#include "ops/cli/output.h"
#include "ops/cli/verbs.h"
#include "ops/sql.h"

/* A slow rate makes a page last. */
#define RECONCILE_TIMEOUT_MS (30 * 60 * 1000)

/* Ids of one request: a moment's work for the worker, so that there is progress to show. */
#define PAGE 2000

typedef Echora__Catalog__V1__CatalogReconcileRequest Request;
typedef Echora__Catalog__V1__CatalogReconcileReply Reply;

struct reconcile_options {
    const char *kind, *from, *to;
    bool repair;
    int64_t rate;
};

static const struct option options[] = {
    {"kind", OPT_ENUM, offsetof(struct reconcile_options, kind), "all", 0, 0,
     "all|anime|character|episode", "KIND", "Only things of this kind."},
    {"from", OPT_STRING, offsetof(struct reconcile_options, from), "", 0, 0, NULL, "ID",
     "First id to look at."},
    {"to", OPT_STRING, offsetof(struct reconcile_options, to), "", 0, 0, NULL, "ID",
     "Last id to look at."},
    {"repair", OPT_BOOL, offsetof(struct reconcile_options, repair), "false", 0, 0, NULL, NULL,
     "Also sends what differs, and what waits for its vector, through the ordinary sync path."},
    {"rate", OPT_INT, offsetof(struct reconcile_options, rate), "0", 0, 1000000, NULL, "N",
     "With --repair: at most N things a second; 0 = the worker's repair-rate."},
};

static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

/* How many things there are, for the bar; 0 = not known. */
static uint64_t how_many(struct cli *cli, const char *kind)
{
    static const char *const kinds[] = {"anime", "character", "episode"};
    CLEANUP(pg_clearp) PGresult *result = NULL;
    struct err ignored = ERR_INIT;
    uint64_t total = 0;
    struct pg *pg;

    if (!*cli->config.pg_url || cli_pg(cli, &pg, &ignored) < 0 ||
        pg_query(pg, &sql_catalogue_counts, NULL, 0, &result, &ignored) < 0)
        return 0;
    for (int i = 0; i < 3; i++)
        if (strcmp(kind, "all") == 0 || strcmp(kind, kinds[i]) == 0)
            total += (uint64_t)pg_get_i64(result, 0, i);
    return total;
}

static void add(Reply *total, const Reply *r)
{
    total->compared += r->compared;
    total->missing += r->missing;
    total->stale += r->stale;
    total->surplus += r->surplus;
    total->pending += r->pending;
    total->enqueued += r->enqueued;
}

/* Page by page. next: where it stands, and stays when it is interrupted; "" at the end. */
static int one_kind(struct cli *cli, const char *kind, char next[static UUID_TEXT], Reply *total,
                    struct bar *bar, struct err *err)
{
    const struct reconcile_options *o = cli->options;
    struct bus *bus;

    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    do {
        Request request = ECHORA__CATALOG__V1__CATALOG_RECONCILE_REQUEST__INIT;
        ProtobufCMessage *message = NULL;
        request.kind = text(kind);
        request.from_id = next;
        request.to_id = text(o->to);
        request.repair = o->repair;
        request.rate = (int32_t)o->rate;
        request.limit = PAGE;
        arena_reset(cli->arena);
        if (bus_call(bus, "catalog.reconcile", &request.base,
                     &echora__catalog__v1__catalog_reconcile_reply__descriptor,
                     RECONCILE_TIMEOUT_MS, cli->arena, &message, err) < 0)
            return err_wrap(err, "at %s %s", kind, *next ? next : "(the first)");
        const Reply *r = (const Reply *)(void *)message;
        add(total, r);
        (void)snprintf(next, UUID_TEXT, "%s", r->next_id);
        bar_update(bar, (uint64_t)total->compared);
    } while (*next && !interrupted());
    return 0;
}

static void answer(const struct cli *cli, const Reply *r)
{
    int64_t drift = r->missing + r->stale + r->surplus;

    if (cli->config.json)
        printf("{\"compared\":%" PRId64 ",\"missing\":%" PRId64 ",\"stale\":%" PRId64
               ",\"surplus\":%" PRId64 ",\"pending\":%" PRId64 ",\"enqueued\":%" PRId64 "}\n",
               r->compared, r->missing, r->stale, r->surplus, r->pending, r->enqueued);
    else
        printf("%" PRId64 " compared: %s%" PRId64 " missing, %" PRId64 " stale, %" PRId64
               " surplus%s, %" PRId64 " without their vector, %" PRId64 " enqueued\n",
               r->compared, paint(cli->color, drift ? PAINT_RED : PAINT_GREEN), r->missing,
               r->stale, r->surplus, paint_end(cli->color), r->pending, r->enqueued);
}

static int run(struct cli *cli, struct err *err)
{
    static const char *const kinds[] = {"anime", "character", "episode"};
    const struct reconcile_options *o = cli->options;
    Reply total = ECHORA__CATALOG__V1__CATALOG_RECONCILE_REPLY__INIT;
    struct uuid ignored;
    struct bar bar;
    int r = 0;

    if ((*o->from && !uuid_parse(view_of(o->from), &ignored)) ||
        (*o->to && !uuid_parse(view_of(o->to), &ignored)))
        return cli_usage(err, "--from and --to are UUIDs");
    bool whole = !*o->from && !*o->to;
    bar_start(&bar, "compared", whole ? how_many(cli, o->kind) : 0, cli->config.json);
    for (size_t i = 0; r == 0 && !interrupted() && i < ARRAY_LEN(kinds); i++) {
        char next[UUID_TEXT];
        if (strcmp(o->kind, "all") != 0 && strcmp(o->kind, kinds[i]) != 0)
            continue;
        (void)snprintf(next, sizeof(next), "%s", o->from);
        r = one_kind(cli, kinds[i], next, &total, &bar, err);
        if (r == 0 && *next)
            fprintf(stderr, "interrupted; `--kind %s --from %s` goes on here\n", kinds[i], next);
    }
    bar_end(&bar);
    if (r < 0)
        return -1;
    answer(cli, &total);
    bool drift = total.missing + total.stale + total.surplus > 0;
    return interrupted() || (drift && !o->repair) ? CLI_FAILED : CLI_OK;
}

const struct verb verb_reconcile = {
    .name = "reconcile",
    .args = "",
    .summary = "drift between PostgreSQL and Qdrant",
    .details = "Compares every id and revision. Exit code 1 when something differs and --repair "
               "was not given.\nWorkers do the same once a day by themselves (repair-interval).",
    .example = "echora reconcile --repair --rate 200",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct reconcile_options),
    .run = run,
};
