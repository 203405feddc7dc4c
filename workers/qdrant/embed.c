// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/embed.h"

#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/breaker.h"
#include "workers/qdrant/embed_hash.h"
#include "workers/qdrant/embed_http.h"

enum { CALL_MAX = 256 };

struct embedder {
    enum { PROVIDER_NONE, PROVIDER_HASH, PROVIDER_HTTP } provider;
    size_t dimension, batch;
    char model[160];
    struct feature_table *features;
    struct embed_http *http;
    struct breaker breaker; /* spares every batch the wait for a provider that is out */
    struct err cause;       /* what opened it */
};

static int open_provider(struct embedder *e, const struct embed_options *o, struct err *err)
{
    if (strcmp(o->provider, "none") == 0) {
        e->provider = PROVIDER_NONE;
        snprintf(e->model, sizeof(e->model), "none/1");
        return 0;
    }
    if (strcmp(o->provider, "hash") == 0) {
        e->provider = PROVIDER_HASH;
        e->dimension = HASH_DIMENSION;
        snprintf(e->model, sizeof(e->model), HASH_MODEL);
        e->features = feature_table_new();
        return e->features
                   ? 0
                   : err_set(err, ERR_RETRY, "no-memory", "embedding provider", "no memory");
    }
    e->provider = PROVIDER_HTTP;
    e->dimension = (size_t)o->dimension;
    snprintf(e->model, sizeof(e->model), "http/%s/%.100s/%zu", o->api, o->model, e->dimension);
    breaker_init(&e->breaker, DEP_EMBEDDING, (uint64_t)mono_us());
    return embed_http_open(&e->http, o, err);
}

int embedder_open(struct embedder **ret, const struct embed_options *o, struct err *err)
{
    struct embedder *e = calloc(1, sizeof(*e));
    if (!e)
        return err_set(err, ERR_RETRY, "no-memory", "embedding provider", "no memory");
    e->batch = o->batch > 0 && o->batch <= CALL_MAX ? (size_t)o->batch : 32;
    if (open_provider(e, o, err) < 0) {
        embedder_close(e);
        return -1;
    }
    *ret = e;
    return 0;
}

struct embedder *embedder_close(struct embedder *e)
{
    if (e) {
        feature_table_free(e->features);
        embed_http_close(e->http);
        free(e);
    }
    return NULL;
}

const char *embedder_model(const struct embedder *e)
{
    return e->model;
}

size_t embedder_dimension(const struct embedder *e)
{
    return e->dimension;
}

/* Halves a refused group until the text that is to blame stands alone. */
static int embed_group(struct embedder *e, const struct view texts[], size_t n, float *vectors,
                       bool *done, struct err *err)
{
    if (embed_http_texts(e->http, texts, n, vectors, err) == 0) {
        memset(done, 1, n * sizeof(*done));
        return 0;
    }
    if (err->class != ERR_REJECT || n == 1)
        return -1;
    size_t half = n / 2;
    struct err second = ERR_INIT;
    int rc = embed_group(e, texts, half, vectors, done, err);
    if (rc < 0 && err->class != ERR_REJECT)
        return -1;
    if (embed_group(e, texts + half, n - half, vectors + half * e->dimension, done + half,
                    &second) < 0) {
        *err = second;
        rc = -1;
    }
    return rc;
}

static int embed_remote(struct embedder *e, const struct document *const docs[], size_t n,
                        float *vectors, bool *done, struct err *err)
{
    int64_t now = mono_ms();
    if (!breaker_allows(&e->breaker) && !breaker_probe_due(&e->breaker, now)) {
        *err = e->cause;
        return -1;
    }
    int rc = 0;
    for (size_t at = 0; at < n; at += e->batch) {
        struct view texts[CALL_MAX];
        size_t size = n - at < e->batch ? n - at : e->batch;
        for (size_t i = 0; i < size; i++)
            texts[i] = docs[at + i]->text;
        struct err why = ERR_INIT;
        if (embed_group(e, texts, size, vectors + at * e->dimension, done + at, &why) == 0) {
            breaker_probed(&e->breaker, mono_ms(), true);
            continue;
        }
        rc = -1;
        *err = why;
        if (why.class == ERR_REJECT) { /* it is there, it does not like a text */
            breaker_probed(&e->breaker, mono_ms(), true);
            continue;
        }
        /* Bad credentials, too: nothing can be embedded now, and nothing waits for it. */
        err->class = ERR_UNAVAILABLE;
        e->cause = *err;
        breaker_trip(&e->breaker, mono_ms(), err);
        break;
    }
    return rc;
}

bool embedder_answers(struct embedder *e)
{
    const struct document probe = {.text = VIEW_LIT("echora")};
    const struct document *const docs[] = {&probe};
    float vector[EMBED_DIMENSION_MAX];
    struct err ignored = ERR_INIT;
    bool done;
    if (e->provider != PROVIDER_HTTP)
        return true;
    return embed_remote(e, docs, 1, vector, &done, &ignored) == 0;
}

int embed_documents(struct embedder *e, const struct document *const docs[], size_t n,
                    float *vectors, bool *done, struct err *err)
{
    memset(done, 0, n * sizeof(*done));
    if (e->provider == PROVIDER_HTTP)
        return embed_remote(e, docs, n, vectors, done, err);
    for (size_t i = 0; i < n; i++) {
        if (e->provider == PROVIDER_HASH &&
            hash_embed(e->features, docs[i]->parts, docs[i]->n_parts, vectors + i * e->dimension,
                       err) < 0)
            return -1;
        done[i] = true;
    }
    return 0;
}
