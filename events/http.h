/* HTTP client by libcurl: one easy handle of one lane, reused, bounded replies, classified errors.
 *
 * 408, 425, 429, 5xx, timeouts and resets are ERR_UNAVAILABLE (429 with Retry-After as a hint), a
 * reset on a reused connection is ERR_UNCERTAIN for writes, other 4xx ERR_REJECT, 401/403
 * ERR_FATAL. Codes http-<status>, http-timeout, http-connect, http-reset, http-tls, http-protocol,
 * http-too-large, http-url, http-aborted. No redirects, no proxy from the environment. Connections
 * are kept for 3 s, under Qdrant's 5 s keep-alive. The trace that is current goes along
 * (traceparent).
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"
#include "events/base/err.h"

struct http;

struct http_options {
    const char *base_url;
    const char *bearer;  /* "" = none */
    const char *api_key; /* header api-key; "" = none */
    const char *ca_file; /* PEM that certificates are checked with; "" = the system's authorities */
    enum dependency dependency;
    int64_t connect_timeout_ms; /* default 2,000 */
    int64_t timeout_ms;         /* whole call, default 15,000 */
    size_t max_reply;           /* bytes, default 64 MiB */
    /* Monotonic ms at which running and later calls are given up (within a second), 0 = never; may
     * be set by another thread. NULL when not needed. */
    const _Atomic int64_t *give_up_at;
};

struct http_reply {
    long status;
    struct buf body; /* owned by the caller: init by http_reply_init, kept between calls */
    int64_t retry_after_ms;
    char content_type[80];
};
void http_reply_init(struct http_reply *r, size_t max);
void http_reply_deinit(struct http_reply *r);

/* curl_global_init must have run (worker_main and the CLI do it before threads start). Options are
 * copied. NULL when out of memory, or when a credential holds a control character. */
struct http *http_new(const struct http_options *options);
struct http *http_free(struct http *h);
/* method "GET", "PUT", ...; path is appended to base_url; body with content type, or empty.
 * Returns 0 for every status that the table calls good (2xx); else -1 with the status in *reply (0
 * when there was none). The lesser of max_reply and the reply buffer's maximum holds. */
MUST_CHECK int http_call(struct http *h, const char *method, const char *path,
                         const char *content_type, struct view body, struct http_reply *reply,
                         struct err *err);
/* The table: how a status counts. Exposed for tests. */
enum err_class http_status_class(long status);
/* The same for curl's errors (CURLcode, not 0); write: the method changes something; reused: the
 * connection was. *ret_code is static text. */
enum err_class http_curl_class(int curl_code, bool write, bool reused, const char **ret_code);
