// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/worker.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "workers/qdrant/answer.h"
#include "workers/qdrant/repair.h"
#include "workers/qdrant/schema.h"
#include "workers/qdrant/sync.h"

enum {
    PROBE_MS = 800, /* the runtime wants an answer within 900 */
    CATALOGUE_TIMEOUT_MS = 15000,
    ARENA_MAX = 16 << 20,
};

struct settings {
    const char *url, *key, *collection, *alias;
    int64_t timeout_ms, step;
    int64_t repair_interval_ms, repair_rate;
    struct embed_options embed;
};

#define AT(member) offsetof(struct settings, member)
static const struct option option_rows[] = {
    {.name = "qdrant-url",
     .kind = OPT_STRING,
     .offset = AT(url),
     .default_text = "http://127.0.0.1:6333",
     .placeholder = "URL",
     .help = "Qdrant's REST address; version 1.16 or later."},
    {.name = "qdrant-api-key-file",
     .kind = OPT_SECRET_FILE,
     .offset = AT(key),
     .default_text = "",
     .placeholder = "FILE",
     .help = "File that holds Qdrant's API key."},
    {.name = "qdrant-timeout",
     .kind = OPT_DURATION,
     .offset = AT(timeout_ms),
     .default_text = "10s",
     .min = 1000,
     .max = 60000,
     .placeholder = "DURATION",
     .help = "How long Qdrant may take for one write."},
    {.name = "collection",
     .kind = OPT_STRING,
     .offset = AT(collection),
     .default_text = "anime_database_v1",
     .placeholder = "NAME",
     .help = "The collection that is kept equal to the catalogue; made when missing."},
    {.name = "collection-alias",
     .kind = OPT_STRING,
     .offset = AT(alias),
     .default_text = "anime_database",
     .placeholder = "NAME",
     .help = "The name that searches use; set to the collection when it points nowhere."},
    {.name = "sync-step",
     .kind = OPT_INT,
     .offset = AT(step),
     .default_text = "64",
     .min = 1,
     .max = SOURCE_IDS_MAX,
     .placeholder = "N",
     .help = "Most entities that are read, embedded and written at once."},
    {.name = "repair-interval",
     .kind = OPT_DURATION,
     .offset = AT(repair_interval_ms),
     .default_text = "24h",
     .min = 0,
     .max = 30LL * 86400 * 1000,
     .placeholder = "TIME",
     .help =
         "How often the index is compared with the catalogue and repaired, by one worker of all; "
         "vectors that are owed are made sooner. 0 = only by request."},
    {.name = "repair-rate",
     .kind = OPT_INT,
     .offset = AT(repair_rate),
     .default_text = "500",
     .min = 1,
     .max = 100000,
     .placeholder = "N",
     .help = "Things a second that such a repair looks at, and that a request enqueues at most."},
    EMBED_OPTION_ROWS(struct settings, embed),
};
#undef AT

struct context {
    struct lane *lane;
    struct sync sync;
    struct qdrant *probe;
    struct arena *arena;
    struct schema schema;
    struct repair *repair;
};

/* Set once any context has made or checked the collection; cleared when it is found missing. */
static atomic_bool schema_ready;
/* Points may wait for vectors: at the start it is not known. */
static atomic_bool vectors_owed = true;

static void close_context(void *ctx)
{
    struct context *c = ctx;
    repair_free(c->repair);
    sync_deinit(&c->sync);
    embedder_close(c->sync.embedder);
    qdrant_close(c->sync.qdrant);
    qdrant_close(c->probe);
    arena_free(c->arena);
    free(c);
}

static int open_parts(struct context *c, const struct settings *o, struct err *err)
{
    struct qdrant_options options = {
        .url = o->url, .api_key = o->key, .collection = o->collection, .timeout_ms = o->timeout_ms};
    if (qdrant_open(&c->sync.qdrant, &options, err) < 0)
        return -1;
    options.limit_ms = PROBE_MS;
    if (qdrant_open(&c->probe, &options, err) < 0 ||
        embedder_open(&c->sync.embedder, &o->embed, err) < 0)
        return -1;
    c->arena = arena_new(ARENA_MAX);
    if (!c->arena)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "no memory");
    c->sync.source = (struct source){lane_bus(c->lane), CATALOGUE_TIMEOUT_MS};
    c->sync.step = (size_t)o->step;
    c->sync.owed = &vectors_owed;
    c->schema = (struct schema){.alias = o->alias,
                                .model = embedder_model(c->sync.embedder),
                                .dimension = embedder_dimension(c->sync.embedder)};
    const struct repair_settings repair = {.source = c->sync.source,
                                           .qdrant = c->sync.qdrant,
                                           .embedder = c->sync.embedder,
                                           .arena = c->arena,
                                           .owed = &vectors_owed,
                                           .interval_ms = o->repair_interval_ms,
                                           .rate = o->repair_rate};
    c->repair = repair_new(&repair);
    if (!c->repair)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "no memory");
    return sync_init(&c->sync, err);
}

static int open_context(struct lane *lane, void **ret, struct err *err)
{
    struct context *c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "no memory");
    c->lane = lane;
    if (open_parts(c, lane_options(lane), err) < 0) {
        close_context(c);
        return -1;
    }
    *ret = c;
    return 0;
}

/* Also what makes the collection: no lane fetches before the first good probe. */
static int probe_qdrant(struct context *c, struct err *err)
{
    bool there = false;
    if (schema_exists(c->probe, &there, err) < 0)
        return -1;
    if (there && atomic_load(&schema_ready))
        return 0;
    if (schema_ensure(c->sync.qdrant, &c->schema, err) < 0)
        return -1;
    atomic_store(&schema_ready, true);
    return 0;
}

static int probe_catalogue(struct context *c, struct err *err)
{
    static const struct uuid last = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                      0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    const struct source source = {c->sync.source.bus, PROBE_MS};
    const RevisionsReply *reply;
    arena_reset(c->arena);
    return source_revisions(&source, DOC_ANIME, &last, 1, c->arena, &reply, err);
}

static int probe(void *ctx, enum dependency dep, struct err *err)
{
    switch (dep) {
    case DEP_QDRANT:
        return probe_qdrant(ctx, err);
    case DEP_CATALOGUE:
        return probe_catalogue(ctx, err);
    default:
        return 0; /* the embedding provider is never waited for */
    }
}

static void handle(void *ctx, struct batch *batch)
{
    struct context *c = ctx;
    sync_batch(&c->sync, batch);
}

static int tick(void *ctx, struct err *err)
{
    struct context *c = ctx;
    return repair_step(c->repair, err);
}

static int reconcile(void *ctx, const struct request *request, ProtobufCMessage **ret_reply,
                     struct err *err)
{
    struct context *c = ctx;
    const struct settings *settings = lane_options(c->lane);
    const struct answering answering = {.lane = c->lane,
                                        .source = c->sync.source,
                                        .qdrant = c->sync.qdrant,
                                        .arena = c->arena,
                                        .rate = settings->repair_rate};
    return answer_reconcile(&answering, request, ret_reply, err);
}

/* One durable per subject; all alike. */
#define CONSUMER(durable_, subject_)                                                               \
    {                                                                                              \
        .durable = (durable_), .subject = (subject_), .handle = handle, .batch_max = 64,           \
        .ack_wait_ms = 30000, .max_ack_pending = 1024                                              \
    }
static const struct consumer_spec consumers[] = {
    CONSUMER("qdrant-anime-created", "anime.created"),
    CONSUMER("qdrant-anime-synced", "anime.synced"),
    CONSUMER("qdrant-anime-deleted", "anime.deleted"),
    CONSUMER("qdrant-character-synced", "character.synced"),
    CONSUMER("qdrant-episode-synced", "episode.synced"),
};
static const struct request_spec requests[] = {
    {.subject = "catalog.reconcile", .answer = reconcile},
};

const struct worker_spec qdrant_worker = {
    .name = "qdrant",
    .summary = "Keeps the search index in Qdrant equal to what the catalogue has committed.",
    .options = option_rows,
    .n_options = ARRAY_LEN(option_rows),
    .options_size = sizeof(struct settings),
    .consumers = consumers,
    .n_consumers = ARRAY_LEN(consumers),
    .requests = requests,
    .n_requests = ARRAY_LEN(requests),
    .lanes = 2, /* one reads and embeds while the other one's write is under way */
    .needs = 1u << DEP_QDRANT | 1u << DEP_CATALOGUE,
    .open = open_context,
    .close = close_context,
    .probe = probe,
    .tick = tick,
};
