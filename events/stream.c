/* Mechanism: the JSON API of JetStream, by requests of the bus. */
// SPDX-License-Identifier: Apache-2.0

#include "events/stream.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"

enum { HEADERS_MAX = 64 << 10 };

static void jsonp(json_t **j)
{
    json_decref(*j);
}

int stream_state(struct bus *bus, const char *stream, struct stream_state *ret, struct err *err)
{
    return stream_state_within(bus, stream, 0, ret, err);
}

int stream_state_within(struct bus *bus, const char *stream, int64_t timeout_ms,
                        struct stream_state *ret, struct err *err)
{
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", stream);
    json_t *info CLEANUP(jsonp) = NULL;
    if (bus_js_api_within(bus, subject, (struct view){0}, timeout_ms, &info, err) < 0)
        return -1;
    const char *created = json_string_value(json_object_get(info, "created"));
    const json_t *state = json_object_get(info, "state");
    if (created == NULL || state == NULL)
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", subject,
                           "the reply has no state");
    snprintf(ret->created, sizeof(ret->created), "%s", created);
    ret->messages = (uint64_t)json_integer_value(json_object_get(state, "messages"));
    ret->first_sequence = (uint64_t)json_integer_value(json_object_get(state, "first_seq"));
    ret->last_sequence = (uint64_t)json_integer_value(json_object_get(state, "last_seq"));
    return 0;
}

int stream_headers(struct bus *bus, const char *stream, uint64_t sequence, struct buf *headers,
                   bool *ret_found, struct err *err)
{
    char subject[128], body[48];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", stream);
    snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", sequence);
    json_t *reply CLEANUP(jsonp) = NULL;
    struct err e = ERR_INIT;
    if (bus_js_api(bus, subject, view_of(body), &reply, &e) < 0) {
        *ret_found = false;
        if (strcmp(e.code, "nats-10037") == 0) /* no message found */
            return 0;
        if (err != NULL)
            *err = e;
        return -1;
    }
    const char *text =
        json_string_value(json_object_get(json_object_get(reply, "message"), "hdrs"));
    size_t n = text != NULL ? strlen(text) : 0;
    *ret_found = true;
    if (n == 0)
        return 0;
    if (n > HEADERS_MAX)
        return err_set(err, ERR_REJECT, "too-large", subject, "headers of %zu bytes", n);
    unsigned char *out = buf_extend(headers, n / 4 * 3 + 3);
    if (out == NULL)
        return err_set(err, ERR_RETRY, "no-memory", subject, "headers do not fit");
    int decoded = EVP_DecodeBlock(out, (const unsigned char *)text, (int)n);
    if (decoded < 0)
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", subject,
                           "headers are no base64");
    /* Padding decodes to zero bytes; headers end in a newline anyway. */
    headers->n -= n / 4 * 3 + 3 - (size_t)decoded;
    return 0;
}

static int bad_reply(const char *subject, const char *what, struct err *err)
{
    return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", subject, "%s", what);
}

static int decode_base64(const json_t *text, struct arena *arena, struct view *ret,
                         const char *subject, struct err *err)
{
    const char *from = json_string_value(text);
    const size_t n = from != NULL ? json_string_length(text) : 0;
    unsigned char *out = arena_alloc(arena, n / 4 * 3 + 4);
    if (out == NULL)
        return err_set(err, ERR_RETRY, "no-memory", subject, "the message does not fit");
    int decoded = n > 0 ? EVP_DecodeBlock(out, (const unsigned char *)from, (int)n) : 0;
    if (decoded < 0)
        return bad_reply(subject, "the message is no base64", err);
    /* EVP_DecodeBlock counts what padding stands for. */
    for (size_t i = n; i > 0 && i + 2 > n && from[i - 1] == '='; i--)
        decoded--;
    *ret = (struct view){(const char *)out, (size_t)decoded};
    return 0;
}

/* "NATS/1.0\r\nName: value\r\n...\r\n\r\n" into an array. */
static int split_headers(struct view text, struct arena *arena, struct stored_message *ret)
{
    size_t lines = 0;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    struct bus_header *headers = arena_array(arena, lines + 1, sizeof(*headers));
    struct view line;
    if (headers == NULL)
        return -1;
    while (text.n > 0 && view_split(&text, '\n', &line)) {
        const char *colon = line.n > 0 ? memchr(line.p, ':', line.n) : NULL;
        if (colon == NULL)
            continue;
        const size_t at = (size_t)(colon - line.p);
        struct bus_header *h = &headers[ret->n_headers++];
        h->name = arena_strdup(arena, (struct view){line.p, at});
        h->value = arena_strdup(arena, view_trim((struct view){colon + 1, line.n - at - 1}));
        if (h->name == NULL || h->value == NULL)
            return -1;
    }
    ret->headers = headers;
    return 0;
}

static int read_stored(const json_t *message, const char *subject, struct arena *arena,
                       struct stored_message *ret, struct err *err)
{
    const char *its_subject = json_string_value(json_object_get(message, "subject"));
    int64_t seconds;
    int32_t nanos;
    struct view headers, payload;
    if (its_subject == NULL ||
        !rfc3339_parse(view_of(json_string_value(json_object_get(message, "time"))), &seconds,
                       &nanos))
        return bad_reply(subject, "the reply holds no message", err);
    if (decode_base64(json_object_get(message, "hdrs"), arena, &headers, subject, err) < 0 ||
        decode_base64(json_object_get(message, "data"), arena, &payload, subject, err) < 0)
        return -1;
    ret->subject = arena_strdup(arena, view_of(its_subject));
    ret->sequence = (uint64_t)json_integer_value(json_object_get(message, "seq"));
    ret->stored_us = seconds * 1000000 + nanos / 1000;
    ret->payload = bytes_of(payload);
    if (split_headers(headers, arena, ret) < 0 || ret->subject == NULL)
        return err_set(err, ERR_RETRY, "no-memory", subject, "the message does not fit");
    return 0;
}

static int get_message(struct bus *bus, const char *stream, const char *body, struct arena *arena,
                       struct stored_message *ret, bool *ret_found, struct err *err)
{
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", stream);
    json_t *reply CLEANUP(jsonp) = NULL;
    struct err e = ERR_INIT;
    *ret = (struct stored_message){0};
    if (bus_js_api(bus, subject, view_of(body), &reply, &e) < 0) {
        *ret_found = false;
        if (strcmp(e.code, "nats-10037") == 0) /* no message found */
            return 0;
        if (err != NULL)
            *err = e;
        return -1;
    }
    *ret_found = true;
    return read_stored(json_object_get(reply, "message"), subject, arena, ret, err);
}

int stream_message(struct bus *bus, const char *stream, uint64_t sequence, struct arena *arena,
                   struct stored_message *ret, bool *ret_found, struct err *err)
{
    char body[48];
    snprintf(body, sizeof(body), "{\"seq\":%" PRIu64 "}", sequence);
    return get_message(bus, stream, body, arena, ret, ret_found, err);
}

struct reading {
    const char *subject;
    struct arena *arena;
    struct stored_message *ret;
    bool *found;
};

static int take_message(void *ctx, size_t i, struct view text, struct err *err)
{
    const struct reading *r = ctx;
    json_t *reply CLEANUP(jsonp) = NULL;
    if (bus_js_reply(text, r->subject, &reply, err) < 0)
        return -1;
    r->found[i] = true;
    return read_stored(json_object_get(reply, "message"), r->subject, r->arena, &r->ret[i], err);
}

int stream_messages(struct bus *bus, const char *stream, const uint64_t sequences[], size_t n,
                    struct arena *arena, struct stored_message ret[], bool found[], struct err *err)
{
    char subject[128];
    struct bus_message *requests = arena_array(arena, n, sizeof(*requests));
    struct err *errs = arena_array(arena, n, sizeof(*errs));
    struct reading reading = {.subject = subject, .arena = arena, .ret = ret, .found = found};
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", stream);
    for (size_t i = 0; i < n && !arena_overflowed(arena); i++) {
        const char *body = arena_printf(arena, "{\"seq\":%" PRIu64 "}", sequences[i]);
        requests[i] = (struct bus_message){.subject = subject};
        requests[i].payload = bytes_of(view_of(body));
        ret[i] = (struct stored_message){0};
        found[i] = false;
    }
    if (arena_overflowed(arena))
        return err_set(err, ERR_RETRY, "no-memory", subject, "the requests do not fit");
    if (bus_request_many(bus, requests, n, take_message, &reading, errs, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (errs[i].class == ERR_NONE || strcmp(errs[i].code, "nats-10037") == 0)
            continue;
        if (err != NULL)
            *err = errs[i];
        return -1;
    }
    return 0;
}

int stream_next(struct bus *bus, const char *stream, uint64_t from, const char *filter,
                struct arena *arena, struct stored_message *ret, bool *ret_found, struct err *err)
{
    const char *body =
        arena_printf(arena, "{\"seq\":%" PRIu64 ",\"next_by_subj\":\"%s\"}", from, filter);
    if (body == NULL)
        return err_set(err, ERR_RETRY, "no-memory", stream, "the request does not fit");
    return get_message(bus, stream, body, arena, ret, ret_found, err);
}

const char *stored_header(const struct bus_header headers[], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(headers[i].name, name) == 0)
            return headers[i].value;
    }
    return NULL;
}

struct view stream_header(struct view headers, const char *name)
{
    struct view line;
    size_t n = strlen(name);
    while (headers.n > 0 && view_split(&headers, '\n', &line)) {
        if (line.n <= n || memcmp(line.p, name, n) != 0 || line.p[n] != ':')
            continue;
        return view_trim((struct view){line.p + n + 1, line.n - n - 1});
    }
    return (struct view){0};
}
