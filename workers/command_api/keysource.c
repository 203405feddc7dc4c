// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/keysource.h"

#include <stdlib.h>

#include "events/http.h"
#include "workers/command_api/document.h"

struct keysource {
    char *path; /* NULL: a URL */
    struct http *http;
    struct http_reply reply;
};

static const char what[] = "the issuer's keys";

static struct keysource *no_memory(struct keysource *s, struct err *err)
{
    (void)err_set(err, ERR_RETRY, "no-memory", "open keys", "out of memory");
    return keysource_close(s);
}

struct keysource *keysource_open(const char *source, const char *ca_file, int64_t timeout_ms,
                                 const _Atomic int64_t *give_up_at, struct err *err)
{
    const struct http_options options = {.base_url = source,
                                         .ca_file = ca_file,
                                         .connect_timeout_ms = timeout_ms,
                                         .timeout_ms = timeout_ms,
                                         .max_reply = JWKS_MAX,
                                         .give_up_at = give_up_at};
    const struct view text = view_of(source);
    struct keysource *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return no_memory(NULL, err);
    http_reply_init(&s->reply, JWKS_MAX);
    if (view_starts_with(text, "https://") || view_starts_with(text, "http://"))
        s->http = http_new(&options);
    else
        s->path = strdup(source);
    return s->http != NULL || s->path != NULL ? s : no_memory(s, err);
}

struct keysource *keysource_close(struct keysource *s)
{
    if (s != NULL) {
        (void)http_free(s->http);
        http_reply_deinit(&s->reply);
        free(s->path);
        free(s);
    }
    return NULL;
}

bool keysource_is_file(const struct keysource *s)
{
    return s->path != NULL;
}

int keysource_read(struct keysource *s, struct keyset **ret, struct err *err)
{
    int rc;

    if (s->path != NULL)
        rc = document_read(s->path, &s->reply.body, err);
    else
        rc = http_call(s->http, "GET", "", NULL, (struct view){0}, &s->reply, err);
    if (rc == 0)
        rc = jwks_parse(buf_view(&s->reply.body), ret, err);
    return rc == 0 ? 0 : err_wrap(err, "%s", s->path != NULL ? s->path : what);
}
