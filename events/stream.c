/* Mechanism: the JSON API of JetStream, by requests of the bus. */
// SPDX-License-Identifier: Apache-2.0

#include "events/stream.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADERS_MAX = 64 << 10 };

static void jsonp(json_t **j)
{
    json_decref(*j);
}

int stream_state(struct bus *bus, const char *stream, struct stream_state *ret, struct err *err)
{
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", stream);
    json_t *info CLEANUP(jsonp) = NULL;
    if (bus_js_api(bus, subject, (struct view){0}, &info, err) < 0)
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
