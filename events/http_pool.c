/* One multi handle, and a place with an easy handle for each call: those that run, and those that
 * are over and not yet forgotten. An easy handle keeps its options; a call sets its body and
 * headers. */
// SPDX-License-Identifier: Apache-2.0
#include "events/http_pool.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/http.h"

#define HEADERS_MAX ((size_t)64 << 10)
#define BODY_MAX ((size_t)64 << 10)
#define MAX_RETRY_AFTER_S 3600
#define KEEP_CONNECTION_S 3L /* under Node's 5 s */
#define POLL_MS 100

struct call {
    struct http_pool *pool;
    CURL *curl;
    struct uuid key;
    bool used, over;
    int64_t over_ms; /* monotonic */
    char *body;
    struct curl_slist *headers;
    size_t headers_got, body_got;
    char answer[HTTP_ANSWER_KEPT];
    bool body_enough; /* more than we read: the status stands */
    bool refused;     /* the address may not be called */
    struct http_outcome outcome;
};

struct http_pool {
    CURLM *multi;
    char *url, *ca_file, *user_agent;
    struct http_pool_options options;
    struct call *calls;
    unsigned n, running;
};

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct call *c = arg;

    (void)size; /* always 1 */
    if (c->body_got < HTTP_ANSWER_KEPT) {
        const size_t room = HTTP_ANSWER_KEPT - c->body_got;

        memcpy(c->answer + c->body_got, data, n < room ? n : room);
    }
    c->body_got += n;
    c->body_enough = c->body_got > BODY_MAX;
    return c->body_enough ? 0 : n;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct call *c = arg;

    (void)size; /* always 1 */
    c->headers_got += n;
    return c->headers_got > HEADERS_MAX ? 0 : n;
}

static curl_socket_t on_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct call *c = arg;

    if (!address_allowed(&address->addr, &c->pool->options.allowed) &&
        !FAULT("address-unchecked")) {
        c->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Some options need the call itself, for the callbacks. */
static bool set_up(struct http_pool *p, struct call *c)
{
    const struct http_pool_options *o = &p->options;
    CURLcode rc = CURLE_OK;
    c->pool = p;
    c->curl = curl_easy_init();
    if (c->curl == NULL)
        return false;
#define SET(option, value) rc = rc != CURLE_OK ? rc : curl_easy_setopt(c->curl, option, value)
    SET(CURLOPT_URL, p->url);
    SET(CURLOPT_PRIVATE, c);
    SET(CURLOPT_POST, 1L);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, c);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, c);
    SET(CURLOPT_OPENSOCKETFUNCTION, on_socket);
    SET(CURLOPT_OPENSOCKETDATA, c);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)o->connect_timeout_ms);
    SET(CURLOPT_TIMEOUT_MS, (long)o->timeout_ms);
    SET(CURLOPT_MAXAGE_CONN, KEEP_CONNECTION_S);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_FOLLOWLOCATION, FAULT("redirect-followed") ? 1L : 0L);
    SET(CURLOPT_MAXREDIRS, 1L);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_PROTOCOLS_STR, o->plain ? "http,https" : "https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(CURLOPT_SSL_VERIFYPEER, FAULT("certificate-unchecked") ? 0L : 1L);
    SET(CURLOPT_SSL_VERIFYHOST, FAULT("certificate-unchecked") ? 0L : 2L);
    if (*p->ca_file != '\0') {
        SET(CURLOPT_CAINFO, p->ca_file);
        SET(CURLOPT_CAPATH, NULL);
    }
    SET(CURLOPT_USERAGENT, p->user_agent);
    SET(CURLOPT_BUFFERSIZE, 4096L);
#undef SET
    return rc == CURLE_OK;
}

static int refuse_url(struct err *err, const char *why)
{
    return err_set(err, ERR_FATAL, "config", "read destination", "%s", why);
}

static int check_url(const struct http_pool_options *o, struct err *err)
{
    const struct view url = view_of(o->url);

    if (!view_starts_with(url, "https://") && !view_starts_with(url, "http://"))
        return refuse_url(err, "a destination begins with https:// (or http:// where allowed)");
    if (!o->plain && !view_starts_with(url, "https://"))
        return refuse_url(err, "plain http:// is not allowed here");
    return 0;
}

struct http_pool *http_pool_new(const struct http_pool_options *options, struct err *err)
{
    if (check_url(options, err) < 0)
        return NULL;
    struct http_pool *p = calloc(1, sizeof(*p));
    bool good = p != NULL;
    if (good) {
        p->options = *options;
        p->url = strdup(options->url);
        p->ca_file = strdup(options->ca_file);
        p->user_agent = strdup(options->user_agent);
        p->n = options->calls + options->waiting;
        p->calls = calloc(p->n, sizeof(*p->calls));
        p->multi = curl_multi_init();
        good = p->url && p->ca_file && p->user_agent && p->calls && p->multi &&
               curl_multi_setopt(p->multi, CURLMOPT_MAXCONNECTS, (long)options->calls) == CURLM_OK;
    }
    for (unsigned i = 0; good && i < p->n; i++)
        good = set_up(p, &p->calls[i]);
    if (good)
        return p;
    err_set(err, ERR_FATAL, "no-memory", "make connections", "out of memory");
    return http_pool_free(p);
}

static void clear(struct call *c)
{
    if (c->used && !c->over) {
        curl_multi_remove_handle(c->pool->multi, c->curl);
        c->pool->running--;
    }
    curl_slist_free_all(c->headers);
    free(c->body);
    c->headers = NULL;
    c->body = NULL;
    c->used = c->over = false;
}

struct http_pool *http_pool_free(struct http_pool *p)
{
    if (p == NULL)
        return NULL;
    for (unsigned i = 0; p->calls != NULL && i < p->n; i++) {
        clear(&p->calls[i]);
        curl_easy_cleanup(p->calls[i].curl);
    }
    curl_multi_cleanup(p->multi);
    free(p->calls);
    free(p->user_agent);
    free(p->ca_file);
    free(p->url);
    free(p);
    return NULL;
}

static struct call *find(const struct http_pool *p, struct uuid key)
{
    for (unsigned i = 0; i < p->n; i++) {
        if (p->calls[i].used && uuid_cmp(p->calls[i].key, key) == 0)
            return &p->calls[i];
    }
    return NULL;
}

/* A free one, or that which has been over for longest: nobody asks for it any more. NULL only when
 * all run. */
static struct call *find_place(const struct http_pool *p)
{
    struct call *oldest = NULL;

    for (unsigned i = 0; i < p->n; i++) {
        struct call *c = &p->calls[i];

        if (!c->used)
            return c;
        if (c->over && (oldest == NULL || c->over_ms < oldest->over_ms))
            oldest = c;
    }
    return oldest;
}

bool http_pool_has_room(const struct http_pool *p)
{
    return p->running < p->options.calls;
}

unsigned http_pool_running(const struct http_pool *p)
{
    return p->running;
}

static bool add_header(struct call *c, const char *name, const char *value)
{
    char *line = NULL;

    if (asprintf(&line, "%s: %s", name, value) < 0)
        return false;
    struct curl_slist *longer = curl_slist_append(c->headers, line);
    free(line);
    if (longer != NULL)
        c->headers = longer;
    return longer != NULL;
}

int http_pool_start(struct http_pool *p, struct uuid key, const struct http_field fields[],
                    size_t n_fields, struct view body, struct err *err)
{
    struct call *c = find_place(p);
    if (c == NULL)
        return err_set(err, ERR_RETRY, "internal", "start call", "no place is free");
    clear(c);
    c->key = key;
    c->headers_got = c->body_got = 0;
    c->body_enough = c->refused = false;
    c->body = malloc(body.n + 1);
    bool good = c->body != NULL;
    if (good)
        memcpy(c->body, body.p, body.n);
    for (size_t i = 0; good && i < n_fields; i++)
        good = add_header(c, fields[i].name, fields[i].value);
    struct curl_slist *longer = good ? curl_slist_append(c->headers, "Expect:") : NULL;
    c->headers = longer != NULL ? longer : c->headers;
    good = longer != NULL && curl_easy_setopt(c->curl, CURLOPT_POSTFIELDS, c->body) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n) == CURLE_OK &&
           curl_easy_setopt(c->curl, CURLOPT_HTTPHEADER, c->headers) == CURLE_OK &&
           curl_multi_add_handle(p->multi, c->curl) == CURLM_OK;
    if (!good) {
        clear(c);
        return err_set(err, ERR_RETRY, "no-memory", "start call", "out of memory");
    }
    c->used = true;
    p->running++;
    return 0;
}

static void read_outcome(struct call *c, CURLcode rc)
{
    struct http_outcome *o = &c->outcome;
    curl_off_t took = 0, retry_after = 0;
    long status = 0;

    *o = (struct http_outcome){.code = "", .text = ""};
    curl_easy_getinfo(c->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(c->curl, CURLINFO_TOTAL_TIME_T, &took);
    curl_easy_getinfo(c->curl, CURLINFO_RETRY_AFTER, &retry_after);
    o->ms = took / 1000;
    if (retry_after > 0)
        o->retry_after_ms =
            (retry_after < MAX_RETRY_AFTER_S ? (int64_t)retry_after : MAX_RETRY_AFTER_S) * 1000;
    /* A good status whose body breaks off is no answer; a bad one needs none. */
    const bool good = status >= 200 && status <= 299;
    if (rc == CURLE_OK || c->body_enough || (status >= 300 && !good)) {
        o->status = status;
        return;
    }
    (void)http_curl_class((int)rc, true, false, &o->code);
    if (rc == CURLE_UNSUPPORTED_PROTOCOL) /* the URL was checked: what answers is no HTTP/1.1 */
        o->code = "http-protocol";
    o->text = curl_easy_strerror(rc);
    if (c->refused) {
        o->code = "address-refused";
        o->text = "the destination's address is in no allowed network";
    }
}

static bool collect(struct http_pool *p)
{
    bool any = false;
    int left;
    CURLMsg *m;

    while ((m = curl_multi_info_read(p->multi, &left)) != NULL) {
        struct call *c = NULL;
        const CURLcode rc = m->data.result;

        if (m->msg != CURLMSG_DONE ||
            curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c) != CURLE_OK)
            continue;
        read_outcome(c, rc);
        curl_multi_remove_handle(p->multi, c->curl);
        c->over = true;
        c->over_ms = mono_ms();
        p->running--;
        any = true;
    }
    return any;
}

void http_pool_wait(struct http_pool *p, int64_t ms)
{
    const int64_t until = mono_ms() + ms;
    int running;

    while (p->running > 0) {
        if (curl_multi_perform(p->multi, &running) != CURLM_OK)
            return;
        const int64_t left = until - mono_ms();
        if (collect(p) || left <= 0)
            return;
        (void)curl_multi_poll(p->multi, NULL, 0, (int)(left < POLL_MS ? left : POLL_MS), NULL);
    }
}

enum http_progress http_pool_look(struct http_pool *p, struct uuid key, struct http_outcome *ret)
{
    struct call *c = find(p, key);

    if (c == NULL)
        return HTTP_UNKNOWN;
    if (!c->over)
        return HTTP_RUNNING;
    *ret = c->outcome;
    c->outcome.seen = true;
    return HTTP_OVER;
}

struct view http_pool_answer(const struct http_pool *p, struct uuid key)
{
    const struct call *c = find(p, key);

    if (c == NULL)
        return (struct view){0};
    return (struct view){c->answer,
                         c->body_got < HTTP_ANSWER_KEPT ? c->body_got : HTTP_ANSWER_KEPT};
}

struct view http_pool_sent(const struct http_pool *p, struct uuid key, const char *name)
{
    const struct call *c = find(p, key);
    const size_t n = strlen(name);

    for (const struct curl_slist *h = c != NULL ? c->headers : NULL; h != NULL; h = h->next) {
        if (strncmp(h->data, name, n) == 0 && h->data[n] == ':')
            return view_trim(view_of(h->data + n + 1));
    }
    return (struct view){0};
}

void http_pool_forget(struct http_pool *p, struct uuid key)
{
    struct call *c = find(p, key);

    if (c != NULL)
        clear(c);
}
