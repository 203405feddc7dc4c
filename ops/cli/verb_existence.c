/* delete and restore: by request to the catalogue, which judges. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/base/uuid.h"
#include "ops/cli/text.h"
#include "ops/cli/verbs.h"

#define CALL_TIMEOUT_MS 30000

struct existence_options {
    const char *reason, *actor, *merge_into;
    int64_t expected_revision;
};

#define COMMON_OPTIONS                                                                             \
    {"reason", OPT_STRING, offsetof(struct existence_options, reason),                             \
     "",       0,          0,                                                                      \
     NULL,     "TEXT",     "Why, for the audit; required."},                                       \
        {"actor", OPT_STRING, offsetof(struct existence_options, actor),                           \
         "",      0,          0,                                                                   \
         NULL,    "NAME",     "Who asks, for the audit; the login name by default."},              \
    {                                                                                              \
        "expected-revision", OPT_INT, offsetof(struct existence_options, expected_revision), "0",  \
            0, INT64_MAX, NULL, "N", "Refuse unless it stands at this revision; 0 = any."          \
    }

static const struct option delete_options[] = {
    COMMON_OPTIONS,
    {"merge-into", OPT_STRING, offsetof(struct existence_options, merge_into), "", 0, 0, NULL, "ID",
     "Id and references go to this anime in the same transaction."},
};
static const struct option restore_options[] = {COMMON_OPTIONS};

/* The request's strings are not written to. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

static const char *actor_of(const struct existence_options *o)
{
    return *o->actor ? o->actor : login_name();
}

static int check(struct cli *cli, struct bus **ret, struct err *err)
{
    const struct existence_options *o = cli->options;
    struct uuid id;

    if (!uuid_parse(view_of(cli->args[0]), &id))
        return cli_usage(err, "ID is the UUID of an anime");
    if (!*o->reason)
        return cli_usage(err, "--reason is required");
    return cli_bus(cli, ret, err);
}

static void answer(const struct cli *cli, const char *what, int64_t revision)
{
    if (cli->config.json)
        printf("{\"id\":\"%s\",\"state\":\"%s\",\"revision\":%" PRId64 "}\n", cli->args[0], what,
               revision);
    else
        printf("%s %s, revision %" PRId64 "\n", cli->args[0], what, revision);
}

static int run_delete(struct cli *cli, struct err *err)
{
    const struct existence_options *o = cli->options;
    Echora__Catalog__V1__CatalogDeleteRequest request =
        ECHORA__CATALOG__V1__CATALOG_DELETE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (check(cli, &bus, err) < 0)
        return -1;
    request.anime_id = cli->args[0];
    request.reason = text(o->reason);
    request.actor = text(actor_of(o));
    request.merge_into = text(o->merge_into);
    request.expected_revision = o->expected_revision;
    if (bus_call(bus, "catalog.anime.delete", &request.base,
                 &echora__catalog__v1__catalog_delete_reply__descriptor, CALL_TIMEOUT_MS,
                 cli->arena, &message, err) < 0)
        return -1;
    const Echora__Catalog__V1__CatalogDeleteReply *reply =
        (const Echora__Catalog__V1__CatalogDeleteReply *)(void *)message;
    answer(cli, reply->already_deleted ? "was deleted already" : "deleted", reply->revision);
    return CLI_OK;
}

static int run_restore(struct cli *cli, struct err *err)
{
    const struct existence_options *o = cli->options;
    Echora__Catalog__V1__CatalogRestoreRequest request =
        ECHORA__CATALOG__V1__CATALOG_RESTORE_REQUEST__INIT;
    ProtobufCMessage *message = NULL;
    struct bus *bus;

    if (check(cli, &bus, err) < 0)
        return -1;
    request.anime_id = cli->args[0];
    request.reason = text(o->reason);
    request.actor = text(actor_of(o));
    request.expected_revision = o->expected_revision;
    if (bus_call(bus, "catalog.anime.restore", &request.base,
                 &echora__catalog__v1__catalog_restore_reply__descriptor, CALL_TIMEOUT_MS,
                 cli->arena, &message, err) < 0)
        return -1;
    answer(cli, "restored",
           ((const Echora__Catalog__V1__CatalogRestoreReply *)(void *)message)->revision);
    return CLI_OK;
}

const struct verb verb_delete = {
    .name = "delete",
    .args = "ID",
    .summary = "hides an anime; with --merge-into it becomes another one's alias",
    .details = "Erases nothing: `echora restore` brings it back. Search forgets it within moments.",
    .example = "echora delete 0190a8a0-0000-7000-8000-000000000001 --reason duplicate",
    .min_args = 1,
    .max_args = 1,
    .options = delete_options,
    .n_options = ARRAY_LEN(delete_options),
    .options_size = sizeof(struct existence_options),
    .run = run_delete,
};
const struct verb verb_restore = {
    .name = "restore",
    .args = "ID",
    .summary = "brings a deleted anime back",
    .example =
        "echora restore 0190a8a0-0000-7000-8000-000000000001 --reason \"deleted by mistake\"",
    .min_args = 1,
    .max_args = 1,
    .options = restore_options,
    .n_options = ARRAY_LEN(restore_options),
    .options_size = sizeof(struct existence_options),
    .run = run_restore,
};
