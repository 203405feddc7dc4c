// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/client.h"

#include <stdio.h>
#include <stdlib.h>

#include "events/base/fault.h"
#include "events/http.h"

enum {
    BODY_MAX = 1 << 20, /* of requests made here; writes bring their own */
    REPLY_MAX = 16 << 20,
    PATH_MAX_BYTES = 512,
    CHILDREN_PAGE = 1000,
    MARGIN_MS = 5000, /* the server's own limit must be over first */
};

struct qdrant {
    struct http *http;
    struct http_reply reply;
    struct buf body;
    int64_t timeout_s;
    char collection[COLLECTION_NAME_MAX];
};

static bool is_plain_name(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n < COLLECTION_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == n;
}

int qdrant_open(struct qdrant **ret, const struct qdrant_options *o, struct err *err)
{
    if (!is_plain_name(o->collection))
        return err_set(err, ERR_FATAL, "config", "open qdrant",
                       "a collection's name has letters, digits, _ and - only");
    struct qdrant *q = calloc(1, sizeof(*q));
    if (!q)
        return err_set(err, ERR_RETRY, "no-memory", "open qdrant", "no memory");
    struct http_options http = {.base_url = o->url,
                                .api_key = o->api_key,
                                .dependency = DEP_QDRANT,
                                .connect_timeout_ms = o->limit_ms,
                                .timeout_ms = o->limit_ms ? o->limit_ms : o->timeout_ms + MARGIN_MS,
                                .max_reply = REPLY_MAX};
    q->timeout_s = o->timeout_ms >= 1000 ? o->timeout_ms / 1000 : 1;
    snprintf(q->collection, sizeof(q->collection), "%s", o->collection);
    http_reply_init(&q->reply, REPLY_MAX);
    buf_init(&q->body, BODY_MAX);
    q->http = http_new(&http);
    if (!q->http) {
        qdrant_close(q);
        return err_set(err, ERR_RETRY, "no-memory", "open qdrant", "no memory");
    }
    *ret = q;
    return 0;
}

struct qdrant *qdrant_close(struct qdrant *q)
{
    if (q) {
        http_free(q->http);
        http_reply_deinit(&q->reply);
        buf_deinit(&q->body);
        free(q);
    }
    return NULL;
}

const char *qdrant_collection(const struct qdrant *q)
{
    return q->collection;
}

/* The collection went away under us: not the event's fault, the probe makes it again. */
static void judge(const struct qdrant *q, struct err *err)
{
    if (err->class == ERR_UNCERTAIN || (err->class == ERR_REJECT && q->reply.status == 404))
        err->class = ERR_UNAVAILABLE;
    if (err->class == ERR_REJECT && q->reply.status != 400 && q->reply.status != 409 &&
        q->reply.status != 413 && q->reply.status != 422)
        err->class = ERR_UNAVAILABLE;
}

static int call(struct qdrant *q, const char *method, const char *path, struct view body,
                json_t **ret, struct err *err)
{
    if (http_call(q->http, method, path, body.n ? "application/json" : NULL, body, &q->reply, err) <
        0) {
        judge(q, err);
        return -1;
    }
    json_error_t why;
    *ret = json_loadb(q->reply.body.p ? q->reply.body.p : "", q->reply.body.n, 0, &why);
    return 0;
}

int qdrant_about(struct qdrant *q, json_t **ret, struct err *err)
{
    return call(q, "GET", "/", (struct view){0}, ret, err);
}

static int bad_reply(struct err *err, const char *op)
{
    return err_set_dep(err, ERR_UNAVAILABLE, DEP_QDRANT, "qdrant-reply", op,
                       "the answer is no result of Qdrant");
}

int qdrant_call(struct qdrant *q, const char *method, const char *path, struct view body,
                json_t **ret_result, struct err *err)
{
    json_t *root = NULL;
    if (call(q, method, path, body, &root, err) < 0)
        return -1;
    json_t *result = json_object_get(root, "result");
    if (!result || json_is_null(result)) {
        json_decref(root);
        return bad_reply(err, method);
    }
    if (ret_result)
        *ret_result = json_incref(result);
    json_decref(root);
    return 0;
}

/* What a read asks for is our own making, ids and limits: a refusal is no event's fault. */
static int read_call(struct qdrant *q, const char *path, struct view body, json_t **ret_result,
                     struct err *err)
{
    int rc = qdrant_call(q, "POST", path, body, ret_result, err);
    if (rc < 0 && err->class == ERR_REJECT)
        err->class = ERR_UNAVAILABLE;
    return rc;
}

static int check_completed(const json_t *result, const char *op, struct err *err)
{
    const char *status = json_string_value(json_object_get(result, "status"));
    if (status && strcmp(status, "completed") == 0)
        return 0;
    const char *code = "qdrant-reply";
    if (status && FAULT("acknowledged-is-done"))
        return 0;
    if (status && strcmp(status, "acknowledged") == 0)
        code = "qdrant-acknowledged";
    else if (status && strcmp(status, "wait_timeout") == 0)
        code = "qdrant-wait-timeout";
    return err_set_dep(err, ERR_UNAVAILABLE, DEP_QDRANT, code, op,
                       "the write is not known to have happened");
}

int qdrant_write(struct qdrant *q, const char *method, const char *path, struct view body,
                 struct err *err)
{
    char full[PATH_MAX_BYTES];
    snprintf(full, sizeof(full), "/collections/%s%s?wait=true&ordering=strong&timeout=%lld",
             q->collection, path, (long long)q->timeout_s);
    json_t *result = NULL;
    if (qdrant_call(q, method, full, body, &result, err) < 0)
        return -1;
    int rc = 0;
    if (json_array_size(result) > 0) {
        for (size_t i = 0; rc == 0 && i < json_array_size(result); i++)
            rc = check_completed(json_array_get(result, i), path, err);
    } else {
        rc = check_completed(result, path, err);
    }
    json_decref(result);
    return rc;
}

void stored_of_payload(const json_t *payload, struct stored *ret)
{
    *ret = (struct stored){.present = true};
    const json_t *rev = json_object_get(payload, "rev");
    if (json_is_integer(rev)) {
        ret->has_rev = true;
        ret->rev = json_integer_value(rev);
    }
    const char *emb = json_string_value(json_object_get(payload, "emb"));
    if (emb)
        snprintf(ret->emb, sizeof(ret->emb), "%s", emb);
    ret->deleted = json_is_true(json_object_get(payload, "deleted"));
}

static void put_ids(struct buf *b, const struct uuid ids[], size_t n)
{
    buf_puts(b, "{\"ids\":[");
    for (size_t i = 0; i < n; i++) {
        char text[UUID_TEXT];
        uuid_format(ids[i], text);
        buf_printf(b, "%s\"%s\"", i ? "," : "", text);
    }
    buf_puts(b, "],\"with_payload\":[\"rev\",\"emb\",\"deleted\"],\"with_vector\":false}");
}

/* The server answers in an order of its own. n is small. */
static void place(const json_t *point, const struct uuid ids[], size_t n, struct stored marks[])
{
    const char *text = json_string_value(json_object_get(point, "id"));
    struct uuid id;
    if (!text || !uuid_parse(view_of(text), &id))
        return;
    for (size_t i = 0; i < n; i++) {
        if (uuid_cmp(ids[i], id) == 0)
            stored_of_payload(json_object_get(point, "payload"), &marks[i]);
    }
}

int qdrant_read_marks(struct qdrant *q, const struct uuid ids[], size_t n, struct stored marks[],
                      struct err *err)
{
    memset(marks, 0, n * sizeof(*marks));
    if (n == 0)
        return 0;
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof(path), "/collections/%s/points?timeout=%lld", q->collection,
             (long long)q->timeout_s);
    buf_reset(&q->body);
    put_ids(&q->body, ids, n);
    json_t *result = NULL;
    if (buf_failed(&q->body))
        return buf_error(&q->body, "read marks", "the request", err);
    if (read_call(q, path, buf_view(&q->body), &result, err) < 0)
        return -1;
    int rc = json_is_array(result) ? 0 : bad_reply(err, "read marks");
    for (size_t i = 0; i < json_array_size(result); i++)
        place(json_array_get(result, i), ids, n, marks);
    json_decref(result);
    return rc;
}

int qdrant_scroll(struct qdrant *q, struct view body, json_t **ret_result, struct err *err)
{
    char path[PATH_MAX_BYTES];
    snprintf(path, sizeof(path), "/collections/%s/points/scroll", q->collection);
    json_t *result = NULL;
    if (read_call(q, path, body, &result, err) < 0)
        return -1;
    if (!json_is_array(json_object_get(result, "points")) && !FAULT("any-answer-is-a-page")) {
        json_decref(result);
        return bad_reply(err, "scroll");
    }
    *ret_result = result;
    return 0;
}

int qdrant_next_page(const json_t *result, const struct uuid *from, struct uuid *ret,
                     struct err *err)
{
    const json_t *offset = json_object_get(result, "next_page_offset");
    const char *text = json_string_value(offset);
    struct uuid next;
    if (!offset || json_is_null(offset))
        return 0;
    if (!text || !uuid_parse(view_of(text), &next) || (from && uuid_cmp(next, *from) <= 0))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_QDRANT, "qdrant-reply", "scroll",
                           "the next page does not lie behind this one");
    *ret = next;
    return 1;
}

static int report_children(const json_t *points, found_fn *found, void *ctx, struct err *err)
{
    for (size_t i = 0; i < json_array_size(points); i++) {
        const json_t *point = json_array_get(points, i);
        const char *text = json_string_value(json_object_get(point, "id"));
        const char *type =
            json_string_value(json_object_get(json_object_get(point, "payload"), "entity_type"));
        enum doc_kind kind = doc_kind_of(view_of(type ? type : ""));
        struct uuid id;
        if (text && uuid_parse(view_of(text), &id) && kind != N_DOC_KINDS &&
            found(ctx, kind, id, err) < 0)
            return -1;
    }
    return 0;
}

int qdrant_children(struct qdrant *q, struct uuid anime, found_fn *found, void *ctx,
                    struct err *err)
{
    char anime_text[UUID_TEXT];
    struct uuid next = {{0}};
    int more = 0;
    uuid_format(anime, anime_text);
    do {
        json_t *result = NULL;
        const struct uuid from = next;
        buf_reset(&q->body);
        buf_printf(&q->body,
                   "{\"limit\":%d,\"with_payload\":[\"entity_type\"],\"with_vector\":false,"
                   "\"filter\":{\"must\":[{\"key\":\"anime_ids\",\"match\":{\"value\":\"%s\"}}]}",
                   CHILDREN_PAGE, anime_text);
        if (more) {
            char text[UUID_TEXT];
            uuid_format(from, text);
            buf_printf(&q->body, ",\"offset\":\"%s\"", text);
        }
        buf_putc(&q->body, '}');
        if (buf_failed(&q->body))
            return buf_error(&q->body, "read children", "the request", err);
        if (qdrant_scroll(q, buf_view(&q->body), &result, err) < 0)
            return -1;
        int rc = report_children(json_object_get(result, "points"), found, ctx, err);
        more = rc < 0 ? rc : qdrant_next_page(result, more ? &from : NULL, &next, err);
        json_decref(result);
    } while (more > 0);
    return more;
}
