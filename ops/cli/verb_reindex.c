/* A new collection beside the one that is served: filled from the catalogue, caught up while the
 * consumers of Qdrant sync are paused, and only then given the alias. Whatever happens the alias
 * points to a whole collection; the same command again goes on, for what is filled is not filled
 * twice. Changes after the last pass wait in ANIME_SYNC for workers of the new collection. */
// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>

#include "events/base/fault.h"
#include "ops/cli/output.h"
#include "ops/cli/pause.h"
#include "ops/cli/verbs.h"
#include "workers/qdrant/refill.h"
#include "workers/qdrant/schema.h"

#define WORKER "qdrant"
#define STEP 64
#define ARENA_MAX (16u << 20)
#define CALL_TIMEOUT_MS 30000
#define PAUSE_LIMIT_MS 60000
/* Passes go on until one finds no more than this; the rest is for the time of the pause. */
#define FEW 500
#define MOST_PASSES 5

struct reindex_options {
    const char *collection, *alias;
    struct embed_options embed;
};

static const struct option options[] = {
    {"collection", OPT_STRING, offsetof(struct reindex_options, collection), "", 0, 0, NULL, "NAME",
     "The new collection; made when missing."},
    {"collection-alias", OPT_STRING, offsetof(struct reindex_options, alias), "anime_database", 0,
     0, NULL, "NAME", "The name that searches use."},
    EMBED_OPTION_ROWS(struct reindex_options, embed),
};

struct filling {
    struct cli *cli;
    struct sync sync;
    struct arena *arena;
    atomic_bool owed;
    uint64_t total; /* of the catalogue; 0 = not known */
};

static int open_parts(struct filling *f, struct err *err)
{
    const struct reindex_options *o = f->cli->options;
    const struct qdrant_options qdrant = {.url = f->cli->config.qdrant_url,
                                          .api_key = f->cli->config.qdrant_api_key,
                                          .collection = o->collection,
                                          .timeout_ms = CALL_TIMEOUT_MS};
    struct bus *bus;

    if (cli_bus(f->cli, &bus, err) < 0 || qdrant_open(&f->sync.qdrant, &qdrant, err) < 0 ||
        embedder_open(&f->sync.embedder, &o->embed, err) < 0)
        return -1;
    f->sync.source = (struct source){bus, CALL_TIMEOUT_MS};
    f->sync.step = STEP;
    f->sync.owed = &f->owed;
    f->arena = arena_new(ARENA_MAX);
    return f->arena ? sync_init(&f->sync, err)
                    : err_set(err, ERR_RETRY, "no-memory", "reindex", "out of memory");
}

static void close_parts(struct filling *f)
{
    sync_deinit(&f->sync);
    embedder_close(f->sync.embedder);
    qdrant_close(f->sync.qdrant);
    arena_free(f->arena);
}

/* One look at everything. *ret_written: what was not there. */
static int pass(struct filling *f, const char *what, size_t *ret_written, size_t *ret_refused,
                struct err *err)
{
    struct bar bar;
    uint64_t seen = 0;
    int r = 0;

    *ret_written = *ret_refused = 0;
    atomic_store(&f->owed, false);
    bar_start(&bar, what, f->total, f->cli->config.json);
    for (enum doc_kind kind = DOC_ANIME; r == 0 && kind < N_DOC_KINDS; kind++) {
        struct refill_page page = {.more = true};
        bool first = true;
        while (r == 0 && page.more) {
            const struct uuid after = page.last;
            if (interrupted()) {
                r = err_set(err, ERR_RETRY, "interrupted", "reindex",
                            "the same command goes on where this ends");
                break;
            }
            r = refill_page(&f->sync, f->arena, kind, first ? NULL : &after, &page, err);
            first = false;
            seen += page.seen;
            *ret_written += page.written;
            *ret_refused += page.refused;
            bar_update(&bar, seen);
        }
    }
    bar_end(&bar);
    f->total = r == 0 ? seen : f->total;
    return r;
}

static int catch_up(struct filling *f, size_t *ret_refused, struct err *err)
{
    const struct reindex_options *o = f->cli->options;
    const char *reason = arena_printf(f->cli->arena, "reindex into %s", o->collection);
    size_t written;

    if (pause_worker(f->cli, WORKER, reason, PAUSE_LIMIT_MS, err) < 0)
        return -1;
    if (!FAULT("catch-up-omitted") && pass(f, "caught up", &written, ret_refused, err) < 0)
        return -1;
    if (atomic_load(&f->owed))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_EMBEDDING, "http-connect", "reindex",
                           "the embedding provider is away, and points wait for their vectors");
    return 0;
}

static int fill_and_switch(struct filling *f, size_t *ret_refused, struct err *err)
{
    const struct reindex_options *o = f->cli->options;
    const struct schema schema = {.alias = o->alias,
                                  .model = embedder_model(f->sync.embedder),
                                  .dimension = embedder_dimension(f->sync.embedder)};
    size_t written = FEW + 1;

    if (schema_ensure(f->sync.qdrant, &schema, err) < 0)
        return -1;
    if (FAULT("alias-before-fill") && schema_switch(f->sync.qdrant, o->alias, err) < 0)
        return -1;
    for (int i = 0; written > FEW && i < MOST_PASSES; i++)
        if (pass(f, "filled", &written, ret_refused, err) < 0)
            return -1;
    if (catch_up(f, ret_refused, err) < 0)
        return err_wrap(err, "the consumers of " WORKER " are paused until this command has ended "
                             "well, or `echora resume " WORKER "`");
    KILL_POINT("before-alias-switch");
    return schema_switch(f->sync.qdrant, o->alias, err);
}

static void answer(const struct filling *f, bool already, size_t refused)
{
    const struct reindex_options *o = f->cli->options;

    if (f->cli->config.json) {
        printf("{\"collection\":\"%s\",\"alias\":\"%s\",\"already\":%s,\"things\":%" PRIu64
               ",\"refused\":%zu}\n",
               o->collection, o->alias, already ? "true" : "false", f->total, refused);
        return;
    }
    if (already)
        printf("%s points to %s already\n", o->alias, o->collection);
    else
        printf("%s points to %s now: %" PRIu64 " things, %zu that can't be points\n", o->alias,
               o->collection, f->total, refused);
    printf("Next: start every echora-qdrant-sync with --collection %s and the same --embed "
           "options,\nthen `echora resume " WORKER "`.\n",
           o->collection);
}

static int run_open(struct filling *f, struct err *err)
{
    const struct reindex_options *o = f->cli->options;
    char target[COLLECTION_NAME_MAX];
    size_t refused = 0;

    if (open_parts(f, err) < 0 || schema_alias(f->sync.qdrant, o->alias, target, err) < 0)
        return -1;
    if (!*target)
        return err_set(err, ERR_REJECT, "qdrant-schema", "reindex",
                       "there is no alias %s: echora-qdrant-sync makes the first collection",
                       o->alias);
    const bool already = strcmp(target, o->collection) == 0;
    if (!already && fill_and_switch(f, &refused, err) < 0)
        return -1;
    answer(f, already, refused);
    return CLI_OK;
}

static int run(struct cli *cli, struct err *err)
{
    const struct reindex_options *o = cli->options;
    struct filling f = {.cli = cli};

    if (!*o->collection)
        return cli_usage(err, "--collection is required");
    int r = run_open(&f, err);
    close_parts(&f);
    return r;
}

const struct verb verb_reindex = {
    .name = "reindex",
    .args = "",
    .summary = "fills a new collection and lets the alias point to it",
    .details =
        "For another embedding model, or a fresh start. Searches are served all the while by the "
        "old\ncollection. At the end the consumers of " WORKER " are paused, what has changed is "
        "caught up, and the\nalias switches; then start the workers with the new collection and "
        "resume them. Broken off at\nany point, the same command goes on. Needs the rights of "
        "operator, and to write to Qdrant.",
    .example = "echora reindex --collection anime_database_v2 --embed-provider http --embed-url "
               "http://127.0.0.1:8080",
    .options = options,
    .n_options = ARRAY_LEN(options),
    .options_size = sizeof(struct reindex_options),
    .run = run,
};
