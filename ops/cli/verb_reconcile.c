// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "ops/cli/output.h"
#include "ops/cli/verbs.h"

/* It reads the whole catalogue and the whole index. */
#define RECONCILE_TIMEOUT_MS (30 * 60 * 1000)

struct reconcile_options {
    const char *kind;
    bool repair;
    int64_t rate;
};

static const struct option options[] = {
    {"kind", OPT_ENUM, offsetof(struct reconcile_options, kind), "all", 0, 0,
     "all|anime|character|episode", "KIND", "Only things of this kind."},
    {"repair", OPT_BOOL, offsetof(struct reconcile_options, repair), "false", 0, 0, NULL, NULL,
     "Also sends what differs through the ordinary sync path."},
    {"rate", OPT_INT, offsetof(struct reconcile_options, rate), "0", 0, 1000000, NULL, "N",
     "With --repair: at most N things a second; 0 = no limit."},
};

static int run(struct cli *cli, struct err *err)
{
    const struct reconcile_options *o = cli->options;
    Echora__Catalog__V1__CatalogReconcileRequest request =
        ECHORA__CATALOG__V1__CATALOG_RECONCILE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    if (strcmp(o->kind, "all") != 0)
        request.kind = (char *)(uintptr_t)o->kind;
    request.repair = o->repair;
    request.rate = (int32_t)o->rate;
    if (bus_call(bus, "catalog.reconcile", &request.base,
                 &echora__catalog__v1__catalog_reconcile_reply__descriptor, RECONCILE_TIMEOUT_MS,
                 cli->arena, &message, err) < 0)
        return -1;
    const Echora__Catalog__V1__CatalogReconcileReply *r =
        (const Echora__Catalog__V1__CatalogReconcileReply *)(void *)message;
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
    return drift && !o->repair ? CLI_FAILED : CLI_OK;
}

const struct verb verb_reconcile = {
    .name = "reconcile",
    .args = "",
    .summary = "drift between PostgreSQL and Qdrant",
    .details = "Compares every id and revision. Exit code 1 when something differs and --repair "
               "was not given.",
    .example = "echora reconcile --kind anime",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct reconcile_options),
    .run = run,
};
