// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/worker.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "workers/qdrant/reconcile.h"
#include "workers/qdrant/schema.h"
#include "workers/qdrant/sync.h"

enum {
    PROBE_MS = 800, /* the runtime wants an answer within 900 */
    CATALOGUE_TIMEOUT_MS = 15000,
    ARENA_MAX = 16 << 20,
};

struct settings {
    const char *url, *key, *collection, *alias;
    const char *provider, *embed_api, *embed_url, *embed_model, *embed_key;
    int64_t timeout_ms, step;
    int64_t embed_dimension, embed_batch, embed_timeout_ms;
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
    {.name = "embed-provider",
     .kind = OPT_ENUM,
     .offset = AT(provider),
     .default_text = "hash",
     .choices = "none|hash|http",
     .placeholder = "NAME",
     .help = "Who makes dense vectors: nobody (BM25 alone), feature hashing, or a service."},
    {.name = "embed-api",
     .kind = OPT_ENUM,
     .offset = AT(embed_api),
     .default_text = "openai",
     .choices = "openai|tei|ollama",
     .placeholder = "NAME",
     .help = "What the embedding service speaks."},
    {.name = "embed-url",
     .kind = OPT_STRING,
     .offset = AT(embed_url),
     .default_text = "",
     .placeholder = "URL",
     .help = "The embedding service's address, without the path of the call."},
    {.name = "embed-model",
     .kind = OPT_STRING,
     .offset = AT(embed_model),
     .default_text = "bge-m3",
     .placeholder = "NAME",
     .help = "Model to ask for; a collection holds the vectors of one model only."},
    {.name = "embed-key-file",
     .kind = OPT_SECRET_FILE,
     .offset = AT(embed_key),
     .default_text = "",
     .placeholder = "FILE",
     .help = "File that holds the embedding service's bearer token."},
    {.name = "embed-dimension",
     .kind = OPT_INT,
     .offset = AT(embed_dimension),
     .default_text = "1024",
     .min = 1,
     .max = EMBED_DIMENSION_MAX,
     .placeholder = "N",
     .help = "Dimension of the service's vectors; others are refused."},
    {.name = "embed-batch",
     .kind = OPT_INT,
     .offset = AT(embed_batch),
     .default_text = "32",
     .min = 1,
     .max = 256,
     .placeholder = "N",
     .help = "Texts in one call of the embedding service."},
    {.name = "embed-timeout",
     .kind = OPT_DURATION,
     .offset = AT(embed_timeout_ms),
     .default_text = "10s",
     .min = 100,
     .max = 60000,
     .placeholder = "DURATION",
     .help = "How long one call of the embedding service may take."},
};
#undef AT

struct context {
    struct lane *lane;
    struct sync sync;
    struct qdrant *probe;
    struct arena *arena;
    struct schema schema;
};

/* Set once any context has made or checked the collection; cleared when it is found missing. */
static atomic_bool schema_ready;

static void close_context(void *ctx)
{
    struct context *c = ctx;
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
    const struct embed_options embed = {.provider = o->provider,
                                        .api = o->embed_api,
                                        .url = o->embed_url,
                                        .model = o->embed_model,
                                        .key = o->embed_key,
                                        .dimension = o->embed_dimension,
                                        .batch = o->embed_batch,
                                        .timeout_ms = o->embed_timeout_ms};
    if (qdrant_open(&c->sync.qdrant, &options, err) < 0)
        return -1;
    options.limit_ms = PROBE_MS;
    if (qdrant_open(&c->probe, &options, err) < 0 ||
        embedder_open(&c->sync.embedder, &embed, err) < 0)
        return -1;
    c->arena = arena_new(ARENA_MAX);
    if (!c->arena)
        return err_set(err, ERR_RETRY, "no-memory", "open worker", "no memory");
    c->sync.source = (struct source){lane_bus(c->lane), CATALOGUE_TIMEOUT_MS};
    c->sync.step = (size_t)o->step;
    c->schema = (struct schema){.alias = o->alias,
                                .model = embedder_model(c->sync.embedder),
                                .dimension = embedder_dimension(c->sync.embedder)};
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

static bool pause_lane(void *ctx, int64_t ms)
{
    return lane_pause(ctx, ms);
}

typedef Echora__Catalog__V1__CatalogReconcileRequest ReconcileRequest;
typedef Echora__Catalog__V1__CatalogReconcileReply ReconcileReply;

static int parse_bound(const char *text, bool *ret_has, struct uuid *ret, struct err *err)
{
    *ret_has = text && text[0];
    if (*ret_has && !uuid_parse(view_of(text), ret))
        return err_set(err, ERR_REJECT, "bad-uuid", "reconcile", "a bound is no UUID");
    return 0;
}

static int answer_reconcile(void *ctx, const struct request *request, ProtobufCMessage **ret_reply,
                            struct err *err)
{
    struct context *c = ctx;
    const ReconcileRequest *asked = (const ReconcileRequest *)request->message;
    const struct reconcile r = {.source = c->sync.source,
                                .qdrant = c->sync.qdrant,
                                .arena = c->arena,
                                .rate = asked->rate,
                                .pause = pause_lane,
                                .pause_ctx = c->lane};
    struct id_range range = {0};
    struct drift drift = {0};
    enum doc_kind only = doc_kind_of(view_of(asked->kind));
    if (asked->kind[0] && only == N_DOC_KINDS)
        return err_set(err, ERR_REJECT, "bad-kind", "reconcile", "no such kind");
    if (parse_bound(asked->from_id, &range.has_from, &range.from, err) < 0 ||
        parse_bound(asked->to_id, &range.has_to, &range.to, err) < 0)
        return -1;
    for (enum doc_kind kind = DOC_ANIME; kind < N_DOC_KINDS; kind++) {
        if ((only == N_DOC_KINDS || kind == only) &&
            reconcile_kind(&r, kind, &range, asked->repair, &drift, err) < 0)
            return -1;
    }
    ReconcileReply *reply = (ReconcileReply *)arena_alloc(request->arena, sizeof(*reply));
    if (!reply)
        return err_set(err, ERR_RETRY, "no-memory", "reconcile", "arena is full");
    *reply = (ReconcileReply)ECHORA__CATALOG__V1__CATALOG_RECONCILE_REPLY__INIT;
    reply->compared = drift.compared;
    reply->missing = drift.missing;
    reply->stale = drift.stale;
    reply->surplus = drift.surplus;
    reply->pending = drift.pending;
    reply->enqueued = drift.enqueued;
    *ret_reply = &reply->base;
    return 0;
}

/* One durable per subject; all alike. */
#define CONSUMER(durable_, subject_)                                                               \
    {                                                                                              \
        .durable = (durable_), .subject = (subject_), .handle = handle, .ack_wait_ms = 30000,      \
        .max_ack_pending = 1024                                                                    \
    }
static const struct consumer_spec consumers[] = {
    CONSUMER("qdrant-anime-created", "anime.created"),
    CONSUMER("qdrant-anime-synced", "anime.synced"),
    CONSUMER("qdrant-anime-deleted", "anime.deleted"),
    CONSUMER("qdrant-character-synced", "character.synced"),
    CONSUMER("qdrant-episode-synced", "episode.synced"),
};
static const struct request_spec requests[] = {
    {.subject = "catalog.reconcile", .answer = answer_reconcile},
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
    .needs = 1u << DEP_QDRANT | 1u << DEP_CATALOGUE,
    .open = open_context,
    .close = close_context,
    .probe = probe,
};
