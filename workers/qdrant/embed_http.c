// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/embed_http.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "contracts/json.h"
#include "events/base/fault.h"
#include "events/http.h"

enum {
    BODY_MAX = 4 << 20,
    REPLY_MAX = 32 << 20,
    TEXT_MAX = 24 << 10, /* bytes; models read some 8,192 tokens */
};

struct embed_http {
    struct http *http;
    const char *api, *model;
    size_t dimension;
    struct buf body;
    struct http_reply reply;
};

int embed_http_open(struct embed_http **ret, const struct embed_options *o, struct err *err)
{
    if (!o->url[0])
        return err_set(err, ERR_FATAL, "config", "embedding provider",
                       "embed-url is needed with embed-provider http");
    struct embed_http *e = calloc(1, sizeof(*e));
    struct http_options http = {.base_url = o->url,
                                .bearer = o->key,
                                .dependency = DEP_EMBEDDING,
                                .timeout_ms = o->timeout_ms,
                                .max_reply = REPLY_MAX};
    if (!e || !(e->http = http_new(&http))) {
        free(e);
        return err_set(err, ERR_RETRY, "no-memory", "embedding provider", "no memory");
    }
    e->api = o->api;
    e->model = o->model;
    e->dimension = (size_t)o->dimension;
    buf_init(&e->body, BODY_MAX);
    http_reply_init(&e->reply, REPLY_MAX);
    *ret = e;
    return 0;
}

struct embed_http *embed_http_close(struct embed_http *e)
{
    if (e) {
        http_free(e->http);
        buf_deinit(&e->body);
        http_reply_deinit(&e->reply);
        free(e);
    }
    return NULL;
}

static struct view cut(struct view text)
{
    if (text.n > TEXT_MAX) {
        text.n = TEXT_MAX;
        while (text.n > 0 && ((unsigned char)text.p[text.n] & 0xc0) == 0x80)
            text.n--;
    }
    /* Providers refuse an empty text. */
    return text.n ? text : VIEW_LIT("-");
}

static const char *put_body(struct embed_http *e, const struct view texts[], size_t n)
{
    bool tei = strcmp(e->api, "tei") == 0, ollama = strcmp(e->api, "ollama") == 0;
    struct buf *b = &e->body;
    buf_reset(b);
    buf_puts(b, tei ? "{\"normalize\":true,\"truncate\":true,\"inputs\":[" : "{\"model\":");
    if (!tei) {
        buf_put_json_string(b, view_of(e->model));
        buf_puts(b, ollama ? ",\"truncate\":true,\"input\":["
                           : ",\"encoding_format\":\"float\",\"input\":[");
    }
    for (size_t i = 0; i < n; i++) {
        buf_puts(b, i ? "," : "");
        buf_put_json_string(b, cut(texts[i]));
    }
    buf_puts(b, "]}");
    return tei ? "/embed" : ollama ? "/api/embed" : "/v1/embeddings";
}

static int bad_reply(struct err *err, const char *what)
{
    return err_set_dep(err, ERR_REJECT, DEP_EMBEDDING, "embed-reply", "embed texts",
                       "the provider's reply is refused: %s", what);
}

static int read_vector(const json_t *values, size_t dimension, float *vector, struct err *err)
{
    if (!json_is_array(values) || json_array_size(values) != dimension)
        return bad_reply(err, "a vector has another dimension than embed-dimension");
    double squares = 0;
    for (size_t i = 0; i < dimension; i++) {
        const json_t *value = json_array_get(values, i);
        if (!json_is_number(value))
            return bad_reply(err, "a vector holds something that is no number");
        double v = json_number_value(value);
        squares += v * v;
    }
    if (!isnormal(squares) && !FAULT("any-vector-accepted"))
        return bad_reply(err, "a vector is zero or not finite");
    /* In doubles up to here: what a float can't hold may still have a direction. */
    double norm = sqrt(squares);
    for (size_t i = 0; i < dimension; i++)
        vector[i] = (float)(json_number_value(json_array_get(values, i)) / norm);
    return 0;
}

/* The vector of text i, by its position or by the index that the reply gives it. */
static const json_t *vector_of(const char *api, const json_t *list, size_t at, size_t *ret_index)
{
    const json_t *item = json_array_get(list, at);
    *ret_index = at;
    if (strcmp(api, "openai") != 0)
        return item;
    const json_t *index = json_object_get(item, "index");
    if (json_is_integer(index) && json_integer_value(index) >= 0)
        *ret_index = (size_t)json_integer_value(index);
    return json_object_get(item, "embedding");
}

static int read_list(const char *api, const json_t *list, size_t n, size_t dimension,
                     float *vectors, struct err *err)
{
    if (!json_is_array(list) || json_array_size(list) != n)
        return bad_reply(err, "it does not hold one vector for each text");
    bool *seen = calloc(n, sizeof(*seen));
    if (!seen)
        return err_set(err, ERR_RETRY, "no-memory", "embed texts", "no memory");
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        size_t index;
        const json_t *values = vector_of(api, list, i, &index);
        if (index >= n || seen[index])
            rc = bad_reply(err, "its indexes are not those of the texts");
        else
            rc = read_vector(values, dimension, vectors + index * dimension, err);
        if (rc == 0)
            seen[index] = true;
    }
    free(seen);
    return rc;
}

int embed_http_parse(const char *api, struct view reply, size_t n, size_t dimension, float *vectors,
                     struct err *err)
{
    json_error_t why = {0};
    json_t *root = json_loadb(reply.p ? reply.p : "", reply.n, 0, &why);
    if (!root && json_no_memory(&why))
        return err_set(err, ERR_RETRY, "no-memory", "embed texts", "no memory");
    if (!root)
        return bad_reply(err, "it is no JSON");
    const json_t *list = strcmp(api, "tei") == 0      ? root
                         : strcmp(api, "ollama") == 0 ? json_object_get(root, "embeddings")
                                                      : json_object_get(root, "data");
    int rc = read_list(api, list, n, dimension, vectors, err);
    json_decref(root);
    return rc;
}

int embed_http_texts(struct embed_http *e, const struct view texts[], size_t n, float *vectors,
                     struct err *err)
{
    const char *path = put_body(e, texts, n);
    if (buf_failed(&e->body))
        return buf_error(&e->body, "embed texts", "the request", err);
    if (http_call(e->http, "POST", path, "application/json", buf_view(&e->body), &e->reply, err) <
        0)
        return -1;
    return embed_http_parse(e->api, buf_view(&e->reply.body), n, e->dimension, vectors, err);
}
