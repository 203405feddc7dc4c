/* The easy handle keeps its connection between calls; per-call options are set anew each time and
 * replace each other, so nothing of one call leaks into the next. */
// SPDX-License-Identifier: Apache-2.0
#include "events/http.h"

#include <curl/curl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/trace.h"

#define PATH_MAX_BYTES 2048
#define MAX_RETRY_AFTER_MS ((int64_t)3600 * 1000)
#define KEEP_CONNECTION_S 3L

struct http {
    CURL *curl;
    char *base_url;             /* no slash at the end */
    char *ca_file;              /* NULL = the system's */
    struct curl_slist *headers; /* credentials, and an empty Expect */
    enum dependency dependency;
    int64_t connect_timeout_ms, timeout_ms;
    size_t max_reply;
    const _Atomic int64_t *give_up_at;
};

void http_reply_init(struct http_reply *r, size_t max)
{
    *r = (struct http_reply){0};
    buf_init(&r->body, max);
}

void http_reply_deinit(struct http_reply *r)
{
    buf_deinit(&r->body);
}

/* Where a running call puts its reply. */
struct sink {
    struct buf *body;
    size_t max;
    bool too_large;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct sink *sink = arg;
    (void)size; /* always 1 */
    if (n > sink->max - sink->body->n) {
        sink->too_large = true;
        return 0;
    }
    buf_append(sink->body, data, n);
    return buf_failed(sink->body) ? 0 : n;
}

/* Called by curl about once a second; other than 0 ends the call. */
static int on_progress(void *arg, curl_off_t dltotal, curl_off_t dlnow, curl_off_t ultotal,
                       curl_off_t ulnow)
{
    const struct http *h = arg;
    int64_t at = atomic_load_explicit(h->give_up_at, memory_order_relaxed);
    return at != 0 && mono_ms() >= at;
}

static bool has_control(const char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            return true;
        }
    }
    return false;
}

/* Appends "name value"; false when it cannot. Secrets pass through memory only. */
static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
    if (has_control(value)) {
        return false;
    }
    char *line = NULL;
    if (asprintf(&line, "%s%s", name, value) < 0) {
        return false;
    }
    struct curl_slist *longer = curl_slist_append(*list, line);
    free(line);
    if (longer) {
        *list = longer;
    }
    return longer != NULL;
}

static bool set_up(struct http *h, const struct http_options *o)
{
    size_t n = strlen(o->base_url);
    while (n && o->base_url[n - 1] == '/') {
        n--;
    }
    h->base_url = strndup(o->base_url, n);
    h->curl = curl_easy_init();
    if (!h->base_url || !h->curl || !add_header(&h->headers, "Expect:", "")) {
        return false;
    }
    if (o->bearer && o->bearer[0] &&
        !add_header(&h->headers, "Authorization: Bearer ", o->bearer)) {
        return false;
    }
    if (o->api_key && o->api_key[0] && !add_header(&h->headers, "api-key: ", o->api_key)) {
        return false;
    }
    if (o->ca_file && o->ca_file[0] && !(h->ca_file = strdup(o->ca_file))) {
        return false;
    }
    h->dependency = o->dependency;
    h->connect_timeout_ms = o->connect_timeout_ms > 0 ? o->connect_timeout_ms : 2000;
    h->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : 15000;
    h->max_reply = o->max_reply ? o->max_reply : (size_t)64 << 20;
    h->give_up_at = o->give_up_at;
    return true;
}

struct http *http_new(const struct http_options *options)
{
    struct http *h = calloc(1, sizeof *h);
    if (h && !set_up(h, options)) {
        h = http_free(h);
    }
    return h;
}

struct http *http_free(struct http *h)
{
    if (h) {
        if (h->curl) {
            curl_easy_cleanup(h->curl);
        }
        curl_slist_free_all(h->headers);
        free(h->base_url);
        free(h->ca_file);
        free(h);
    }
    return NULL;
}

enum err_class http_status_class(long status)
{
    if (status >= 200 && status <= 299) {
        return ERR_NONE;
    }
    switch (status) {
    case 401:
    case 403:
        return ERR_FATAL;
    case 408:
    case 425:
    case 429:
        return ERR_UNAVAILABLE;
    default:
        /* A redirect or a status out of range comes from something that is not the peer: no event
         * is to blame. */
        return status >= 400 && status <= 499 ? ERR_REJECT : ERR_UNAVAILABLE;
    }
}

enum err_class http_curl_class(int curl_code, bool write, bool reused, const char **ret_code)
{
    switch (curl_code) {
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        *ret_code = "http-connect";
        return ERR_UNAVAILABLE;
    case CURLE_OPERATION_TIMEDOUT:
        *ret_code = "http-timeout";
        return ERR_UNAVAILABLE;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_AGAIN:
        *ret_code = "http-reset";
        return write && reused ? ERR_UNCERTAIN : ERR_UNAVAILABLE;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_SHUTDOWN_FAILED:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
        *ret_code = "http-tls";
        return ERR_UNAVAILABLE;
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        *ret_code = "http-url";
        return ERR_FATAL;
    case CURLE_WRITE_ERROR: /* our own sink refused, see classify */
        *ret_code = "http-too-large";
        return ERR_REJECT;
    case CURLE_OUT_OF_MEMORY:
        *ret_code = "no-memory";
        return ERR_RETRY;
    case CURLE_ABORTED_BY_CALLBACK:
        *ret_code = "http-aborted";
        return ERR_RETRY;
    default:
        *ret_code = "http-protocol";
        return ERR_UNAVAILABLE;
    }
}

static bool is_write(const char *method)
{
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0;
}

static CURLcode set_request(struct http *h, const char *method, const char *url, struct view body,
                            struct curl_slist *headers, struct sink *sink)
{
    CURL *c = h->curl;
    CURLcode rc = CURLE_OK;
#define SET(option, value) rc = rc != CURLE_OK ? rc : curl_easy_setopt(c, option, value)
    curl_easy_reset(c); /* keeps connections and the DNS cache */
    SET(CURLOPT_URL, url);
    SET(CURLOPT_HTTPHEADER, headers);
    if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (body.n || (is_write(method) && strcmp(method, "DELETE") != 0)) {
        SET(CURLOPT_POSTFIELDS, body.n ? body.p : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
        SET(CURLOPT_CUSTOMREQUEST, method);
    } else {
        SET(CURLOPT_HTTPGET, 1L);
        SET(CURLOPT_CUSTOMREQUEST, method);
    }
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, sink);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)h->connect_timeout_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)h->timeout_ms);
    SET(CURLOPT_MAXAGE_CONN, KEEP_CONNECTION_S);
    SET(CURLOPT_MAXCONNECTS, 1L);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PROXY, ""); /* destinations come from our configuration alone */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_USERAGENT, "echora/" ECHORA_VERSION);
    if (h->ca_file) {
        SET(CURLOPT_CAINFO, h->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    if (h->give_up_at) {
        SET(CURLOPT_XFERINFOFUNCTION, on_progress);
        SET(CURLOPT_XFERINFODATA, h);
        SET(CURLOPT_NOPROGRESS, 0L);
    }
#undef SET
    return rc;
}

static void read_facts(CURL *c, struct http_reply *reply, bool *ret_reused)
{
    curl_off_t retry_after = 0;
    const char *type = NULL;
    long connects = 1;
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &reply->status);
    curl_easy_getinfo(c, CURLINFO_NUM_CONNECTS, &connects);
    if (curl_easy_getinfo(c, CURLINFO_RETRY_AFTER, &retry_after) == CURLE_OK && retry_after > 0) {
        reply->retry_after_ms = retry_after > MAX_RETRY_AFTER_MS / 1000
                                    ? MAX_RETRY_AFTER_MS
                                    : (int64_t)retry_after * 1000;
    }
    if (curl_easy_getinfo(c, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type) {
        snprintf(reply->content_type, sizeof reply->content_type, "%s", type);
    }
    *ret_reused = connects == 0;
}

static int fail_by_curl(const struct http *h, CURLcode rc, const char *op, bool write, bool reused,
                        const struct sink *sink, struct err *err)
{
    const char *code;
    enum err_class class = http_curl_class((int)rc, write, reused, &code);
    if (rc == CURLE_WRITE_ERROR && !sink->too_large) {
        return err_set(err, ERR_RETRY, "no-memory", op, "no memory for the reply");
    }
    if (rc == CURLE_WRITE_ERROR) {
        return err_set_dep(err, class, h->dependency, code, op,
                           "the reply is larger than %zu bytes", sink->max);
    }
    return err_set_dep(err, class, h->dependency, code, op, "%s%s", curl_easy_strerror(rc),
                       class == ERR_UNCERTAIN ? "; the request may have been served" : "");
}

static int judge_status(const struct http *h, const char *op, const struct http_reply *reply,
                        struct err *err)
{
    enum err_class class = http_status_class(reply->status);
    if (class == ERR_NONE) {
        return 0;
    }
    char code[32];
    snprintf(code, sizeof code, "http-%ld", reply->status);
    err_set_dep(err, class, h->dependency, code, op, "%s answered with status %ld",
                dependency_name(h->dependency), reply->status);
    if (err) {
        err->retry_after_ms = reply->retry_after_ms;
    }
    return -1;
}

static int perform(struct http *h, const char *method, const char *op, const char *url,
                   struct view body, struct curl_slist *headers, struct http_reply *reply,
                   struct err *err)
{
    struct sink sink = {.body = &reply->body,
                        .max = h->max_reply < reply->body.max ? h->max_reply : reply->body.max};
    bool reused = false;
    CURLcode rc = set_request(h, method, url, body, headers, &sink);
    if (rc == CURLE_OK) {
        rc = curl_easy_perform(h->curl);
        read_facts(h->curl, reply, &reused);
    }
    if (rc != CURLE_OK) {
        return fail_by_curl(h, rc, op, is_write(method), reused, &sink, err);
    }
    return judge_status(h, op, reply, err);
}

/* The path without its query, for error texts: queries may carry values. */
static void name_operation(char op[static 48], const char *method, const char *path)
{
    snprintf(op, 48, "%s %.*s", method, (int)strcspn(path, "?"), path);
}

int http_call(struct http *h, const char *method, const char *path, const char *content_type,
              struct view body, struct http_reply *reply, struct err *err)
{
    char op[48];
    name_operation(op, method, path);
    reply->status = 0;
    reply->retry_after_ms = 0;
    reply->content_type[0] = '\0';
    buf_reset(&reply->body);
    if (strlen(path) > PATH_MAX_BYTES) {
        return err_set(err, ERR_REJECT, "http-url", op, "the path is longer than %d bytes",
                       PATH_MAX_BYTES);
    }
    /* The call's own headers go in front of the handle's list and come off again. */
    struct curl_slist *headers = h->headers;
    char type_line[128], trace_line[sizeof "traceparent: " + TRACEPARENT_MAX];
    struct curl_slist type = {.data = type_line, .next = headers};
    if (content_type && content_type[0]) {
        snprintf(type_line, sizeof type_line, "Content-Type: %s", content_type);
        headers = &type;
    }
    struct curl_slist trace = {.data = trace_line, .next = headers};
    const struct trace_context *current = trace_current();
    if (current && current->set) {
        char traceparent[TRACEPARENT_MAX];
        trace_format(current, traceparent);
        snprintf(trace_line, sizeof trace_line, "traceparent: %s", traceparent);
        headers = &trace;
    }
    char *url = NULL;
    if (asprintf(&url, "%s%s", h->base_url, path) < 0) {
        return err_set(err, ERR_RETRY, "no-memory", op, "no memory for the URL");
    }
    int rc = perform(h, method, op, url, body, headers, reply, err);
    free(url);
    return rc;
}
