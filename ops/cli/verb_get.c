// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/json.h"
#include "events/base/buf.h"
#include "ops/cli/chain.h"
#include "ops/cli/output.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"

#define REPLY_MAX (64u << 20)
#define CALL_TIMEOUT_MS 30000

struct get_options {
    bool history;
};

static const struct option options[] = {
    {"history", OPT_BOOL, offsetof(struct get_options, history), "true", 0, 0, NULL, NULL,
     "What its events did, from PostgreSQL when pg-url is set; =false leaves it out."},
};

/* "anime" → "catalog.anime.get"; NULL for another kind. */
static const char *subject_of(struct arena *arena, const char *kind)
{
    const char *subject = arena_printf(arena, "catalog.%s.get", kind);
    const struct subject_def *def = subject ? registry_subject(view_of(subject)) : NULL;

    return def && def->kind == SUBJECT_REQUEST ? subject : NULL;
}

static int print_entry(const struct cli *cli, const ProtobufCMessage *entry, json_t *history,
                       struct err *err)
{
    struct buf text;
    json_t *document = NULL;

    buf_init(&text, REPLY_MAX);
    int r = json_encode(entry, &text, err);
    if (r == 0)
        r = json_parse(buf_view(&text), &document, err);
    buf_deinit(&text);
    if (r < 0) {
        json_decref(history);
        return -1;
    }
    if (history)
        json_object_set_new(document, "history", history);
    print_json(document, cli->config.json);
    json_decref(document);
    return 0;
}

static int run(struct cli *cli, struct err *err)
{
    const struct get_options *o = cli->options;
    const char *subject = subject_of(cli->arena, cli->args[0]);
    Echora__Catalog__V1__CatalogGetRequest request = ECHORA__CATALOG__V1__CATALOG_GET_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;
    struct uuid id;

    if (!subject)
        return cli_usage(err, "KIND is record, anime, character or episode");
    if (!uuid_parse(view_of(cli->args[1]), &id))
        return cli_usage(err, "ID is a UUID");
    if (cli_bus(cli, &bus, err) < 0)
        return -1;
    request.ids = &cli->args[1];
    request.n_ids = 1;
    request.include_deleted = true;
    if (bus_call(bus, subject, &request.base, &echora__catalog__v1__catalog_get_reply__descriptor,
                 CALL_TIMEOUT_MS, cli->arena, &message, err) < 0)
        return -1;
    const Echora__Catalog__V1__CatalogGetReply *reply =
        (const Echora__Catalog__V1__CatalogGetReply *)(void *)message;
    if (reply->n_entries == 0)
        return err_set(err, ERR_REJECT, "not-found", "get", "no %s with this id", cli->args[0]);
    json_t *history = NULL;
    if (o->history && *cli->config.pg_url) {
        struct uuid own;
        if (!uuid_parse(view_of(reply->entries[0]->canonical_id), &own))
            own = id;
        if (chain_history(cli, own, &history, err) < 0)
            return -1;
    }
    return print_entry(cli, &reply->entries[0]->base, history, err) < 0 ? -1 : CLI_OK;
}

const struct verb verb_get = {
    .name = "get",
    .args = "KIND ID",
    .summary = "the committed record, with its revision and history",
    .details = "KIND is record (an anime with characters and episodes), anime, character or "
               "episode.\nAsks the catalogue; deleted ones are shown too. An alias is as good as "
               "the id.",
    .example = "echora get anime 0190a8a0-0000-7000-8000-000000000001",
    .min_args = 2,
    .max_args = 2,
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct get_options),
    .run = run,
};
