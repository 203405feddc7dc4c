/* libmicrohttpd runs one thread of its own; the state that it shows is behind one lock. Requests
 * have no body and no parameters, so a connection needs little memory and little time. */
// SPDX-License-Identifier: Apache-2.0
#include "events/health.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/buf.h"
#include "events/base/clock.h"
#include "events/metrics.h"

#define REASON_MAX 128
#define LIVE_LIMIT_MS 60000
#define CONNECTIONS_MAX 32
#define CONNECTION_TIMEOUT_S 10
#define CONNECTION_MEMORY ((size_t)8 << 10)
#define BODY_MAX ((size_t)8 << 20)

struct condition {
    bool known, good;
    char reason[REASON_MAX];
};

struct known_outage {
    struct outage outage; /* cause == NULL: none */
    struct err cause;
};

struct health {
    struct MHD_Daemon *daemon; /* NULL = no listener */
    pthread_mutex_t lock;
    struct condition dependencies[DEP_MAX];
    struct condition serving;
    bool started; /* has served once */
    struct known_outage outages[DEP_MAX];
    const char *shut_names[HEALTH_SHUT_MAX]; /* NULL = a free place */
    struct known_outage shut[HEALTH_SHUT_MAX];
    const char *paused[HEALTH_PAUSED_MAX]; /* NULL = a free place */
    int64_t started_ms;
    _Atomic int64_t beats_ms[HEALTH_LOOPS_MAX]; /* last beat of each loop; 0 = none yet */
};

static void put_missing(struct buf *out, const char *name, const struct condition *c, bool *first)
{
    char clean[REASON_MAX];
    if (!c->known || c->good) {
        return;
    }
    buf_puts(out, *first ? "{\"name\":" : ",{\"name\":");
    buf_put_json_string(out, view_of(name));
    buf_puts(out, ",\"reason\":");
    buf_put_json_string(out, utf8_clean(view_of(c->reason), clean, sizeof clean));
    buf_putc(out, '}');
    *first = false;
}

static void put_outage(struct buf *out, const char *name, const struct known_outage *o, bool *first)
{
    char clean[sizeof o->cause.text], since[RFC3339_MAX];
    const int64_t now = wall_us(), pause = o->outage.next_probe_ms - mono_ms();
    if (!o->outage.cause) {
        return;
    }
    rfc3339_format(o->outage.since_us / 1000000, 0, since);
    buf_printf(out, "%s{\"dependency\":\"%s\",\"since\":\"%s\",\"for_ms\":", *first ? "" : ",",
               name, since);
    buf_put_i64(out, now > o->outage.since_us ? (now - o->outage.since_us) / 1000 : 0);
    buf_puts(out, ",\"code\":");
    buf_put_json_string(out, view_of(o->cause.code));
    buf_puts(out, ",\"op\":");
    buf_put_json_string(out, utf8_clean(view_of(o->cause.op), clean, sizeof clean));
    buf_puts(out, ",\"reason\":");
    buf_put_json_string(out, utf8_clean(view_of(o->cause.text), clean, sizeof clean));
    buf_printf(out, ",\"failed_probes\":%u,\"next_probe_ms\":", o->outage.failed_probes);
    buf_put_i64(out, pause > 0 ? pause : 0);
    buf_putc(out, '}');
    *first = false;
}

/* Under the lock. */
static bool is_ready(const struct health *h)
{
    bool ready = h->serving.good;
    for (int d = 0; d < DEP_MAX; d++) {
        ready &= !h->dependencies[d].known || h->dependencies[d].good;
    }
    return ready;
}

static void put_paused(const struct health *h, struct buf *out)
{
    bool first = true;
    for (size_t i = 0; i < HEALTH_PAUSED_MAX; i++) {
        if (h->paused[i]) {
            buf_puts(out, first ? "" : ",");
            buf_put_json_string(out, view_of(h->paused[i]));
            first = false;
        }
    }
}

/* {"ready":false,"missing":[{"name":"postgres","reason":"..."}],"outages":[{"dependency":...}],
 * "paused":["..."]} */
static unsigned put_ready(struct health *h, struct buf *out)
{
    bool first = true;
    pthread_mutex_lock(&h->lock);
    bool ready = is_ready(h);
    buf_printf(out, "{\"ready\":%s,\"missing\":[", ready ? "true" : "false");
    for (int d = 0; d < DEP_MAX; d++) {
        put_missing(out, dependency_name((enum dependency)d), &h->dependencies[d], &first);
    }
    put_missing(out, "serving", &h->serving, &first);
    buf_puts(out, "],\"outages\":[");
    first = true;
    for (int d = 0; d < DEP_MAX; d++) {
        put_outage(out, dependency_name((enum dependency)d), &h->outages[d], &first);
    }
    for (int i = 0; i < HEALTH_SHUT_MAX && h->shut_names[i]; i++) {
        put_outage(out, h->shut_names[i], &h->shut[i], &first);
    }
    buf_puts(out, "],\"paused\":[");
    put_paused(h, out);
    pthread_mutex_unlock(&h->lock);
    buf_puts(out, "]}\n");
    return ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned put_live(struct health *h, struct buf *out)
{
    int64_t oldest = INT64_MAX;
    for (int i = 0; i < HEALTH_LOOPS_MAX; i++) {
        int64_t beat = atomic_load_explicit(&h->beats_ms[i], memory_order_relaxed);
        oldest = beat && beat < oldest ? beat : oldest;
    }
    int64_t age = mono_ms() - (oldest == INT64_MAX ? h->started_ms : oldest);
    bool live = age <= LIVE_LIMIT_MS;
    buf_printf(out, "{\"live\":%s,\"beat_age_ms\":", live ? "true" : "false");
    buf_put_i64(out, age);
    buf_puts(out, "}\n");
    return live ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static unsigned put_started(struct health *h, struct buf *out)
{
    pthread_mutex_lock(&h->lock);
    const bool started = h->started;
    pthread_mutex_unlock(&h->lock);
    buf_printf(out, "{\"started\":%s}\n", started ? "true" : "false");
    return started ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
}

static const struct metric_def ready_def = {"echora_ready", METRIC_GAUGE,
                                            "1 while /readyz answers 200.", "", NULL};

static unsigned put_metrics(struct health *h, struct buf *out)
{
    pthread_mutex_lock(&h->lock);
    metric_set(metric_series(&ready_def, NULL), is_ready(h) ? 1 : 0);
    pthread_mutex_unlock(&h->lock);
    metrics_render(out);
    return MHD_HTTP_OK;
}

static const struct page {
    const char *path, *content_type;
    unsigned (*put)(struct health *h, struct buf *out); /* returns the status */
} pages[] = {
    {"/livez", "application/json", put_live},
    {"/readyz", "application/json", put_ready},
    {"/startupz", "application/json", put_started},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", put_metrics},
};

/* Hands the buffer's memory over to the response. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              struct buf *body, const char *allow)
{
    if (buf_failed(body)) {
        buf_deinit(body);
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    struct MHD_Response *r =
        MHD_create_response_from_buffer(body->n, body->p ? body->p : (void *)"",
                                        body->p ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!r) {
        buf_deinit(body);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (allow) {
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, allow);
    }
    enum MHD_Result rc = MHD_queue_response(connection, status, r);
    MHD_destroy_response(r);
    return rc;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    struct health *h = arg;
    const struct page *page = NULL;
    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        page = strcmp(pages[i].path, url) == 0 ? &pages[i] : page;
    }
    struct buf body;
    buf_init(&body, BODY_MAX);
    if (!page) {
        buf_puts(&body, "not found; there are /livez, /readyz, /startupz and /metrics\n");
        return answer(connection, MHD_HTTP_NOT_FOUND, "text/plain", &body, NULL);
    }
    bool read =
        strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (!read) {
        buf_puts(&body, "only GET and HEAD\n");
        return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain", &body, "GET, HEAD");
    }
    /* A bodyless request is answered on the second call, as libmicrohttpd wants it. */
    static char seen;
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*upload_size) {
        *upload_size = 0;
        return MHD_YES;
    }
    unsigned status = page->put(h, &body);
    return answer(connection, status, page->content_type, &body, NULL);
}

/* "127.0.0.1:9101", "[::1]:9101" */
static bool parse_listen(const char *listen, struct sockaddr_storage *ret)
{
    struct view text = view_of(listen), host, port;
    const char *colon = strrchr(listen, ':');
    int64_t number;
    char name[64];
    if (!colon) {
        return false;
    }
    host = (struct view){listen, (size_t)(colon - listen)};
    port = (struct view){colon + 1, text.n - host.n - 1};
    bool v6 = host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (v6) {
        host = (struct view){host.p + 1, host.n - 2};
    }
    if (!view_to_i64(port, 0, 65535, &number) || host.n >= sizeof name) {
        return false;
    }
    snprintf(name, sizeof name, "%.*s", VIEW_ARG(host));
    memset(ret, 0, sizeof *ret);
    if (v6) {
        struct sockaddr_in6 *a = (struct sockaddr_in6 *)ret;
        a->sin6_family = AF_INET6;
        a->sin6_port = htons((uint16_t)number);
        return inet_pton(AF_INET6, name, &a->sin6_addr) == 1;
    }
    struct sockaddr_in *a = (struct sockaddr_in *)ret;
    a->sin_family = AF_INET;
    a->sin_port = htons((uint16_t)number);
    return inet_pton(AF_INET, name, &a->sin_addr) == 1;
}

static void ignore_log(void *arg, const char *fmt, va_list args)
{
}

static int start_daemon(struct health *h, const char *listen, struct err *err)
{
    struct sockaddr_storage address;
    if (!parse_listen(listen, &address)) {
        return err_set(err, ERR_FATAL, "config", "start health listener",
                       "listen must be ADDRESS:PORT with a numeric address, not %s", listen);
    }
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL | MHD_USE_ERROR_LOG;
    if (address.ss_family == AF_INET6) {
        flags |= MHD_USE_IPv6;
    }
    /* Signals are for the main thread: the new thread inherits a full mask. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = 0;
    h->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, h, MHD_OPTION_EXTERNAL_LOGGER, ignore_log, NULL,
        MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CONNECTION_TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_END);
    int reason = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!h->daemon) {
        char text[128] = "";
        return err_set(err, ERR_FATAL, "listen", "start health listener", "cannot listen on %s: %s",
                       listen, reason ? strerror_r(reason, text, sizeof text) : "unknown reason");
    }
    return 0;
}

int health_start(struct health **ret, const char *listen, struct err *err)
{
    struct health *h = calloc(1, sizeof *h);
    if (!h) {
        return err_set(err, ERR_FATAL, "no-memory", "start health listener", "no memory");
    }
    pthread_mutex_init(&h->lock, NULL);
    h->serving = (struct condition){.known = true, .reason = "starting"};
    h->started_ms = mono_ms();
    if (listen[0] && start_daemon(h, listen, err) < 0) {
        health_stop(h);
        return -1;
    }
    *ret = h;
    return 0;
}

struct health *health_stop(struct health *h)
{
    if (h) {
        if (h->daemon) {
            MHD_stop_daemon(h->daemon);
        }
        pthread_mutex_destroy(&h->lock);
        free(h);
    }
    return NULL;
}

unsigned health_port(const struct health *h)
{
    const union MHD_DaemonInfo *info =
        h->daemon ? MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_BIND_PORT) : NULL;
    return info ? info->port : 0;
}

static void set_condition(struct condition *c, bool good, const char *reason)
{
    c->known = true;
    c->good = good;
    snprintf(c->reason, sizeof c->reason, "%s", reason ? reason : "");
}

void health_set_dependency(struct health *h, enum dependency dep, bool ready, const char *reason)
{
    if ((unsigned)dep < DEP_MAX) {
        pthread_mutex_lock(&h->lock);
        set_condition(&h->dependencies[dep], ready, reason);
        pthread_mutex_unlock(&h->lock);
    }
}

/* Under the lock. */
static void note_outage(struct known_outage *o, const struct outage *outage)
{
    *o = (struct known_outage){0};
    if (outage) {
        o->cause = *outage->cause;
        o->outage = *outage;
        o->outage.cause = &o->cause;
    }
}

void health_set_outage(struct health *h, enum dependency dep, const struct outage *outage)
{
    if ((unsigned)dep >= DEP_MAX) {
        return;
    }
    pthread_mutex_lock(&h->lock);
    note_outage(&h->outages[dep], outage);
    pthread_mutex_unlock(&h->lock);
}

void health_set_shut(struct health *h, const char *consumer, const struct outage *outage)
{
    int i = 0;
    pthread_mutex_lock(&h->lock);
    while (i < HEALTH_SHUT_MAX && h->shut_names[i] && strcmp(h->shut_names[i], consumer) != 0) {
        i++;
    }
    if (i < HEALTH_SHUT_MAX) {
        h->shut_names[i] = consumer;
        note_outage(&h->shut[i], outage);
    }
    pthread_mutex_unlock(&h->lock);
}

void health_set_serving(struct health *h, bool serving, const char *reason)
{
    pthread_mutex_lock(&h->lock);
    set_condition(&h->serving, serving, reason);
    h->started |= serving;
    pthread_mutex_unlock(&h->lock);
}

void health_set_paused(struct health *h, const char *consumer, bool paused)
{
    const char **place = NULL;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < HEALTH_PAUSED_MAX; i++) {
        if (h->paused[i] && strcmp(h->paused[i], consumer) == 0) {
            place = &h->paused[i];
            break;
        }
        if (!h->paused[i] && !place) {
            place = &h->paused[i];
        }
    }
    if (place) {
        *place = paused ? consumer : NULL;
    }
    pthread_mutex_unlock(&h->lock);
}

void health_beat(struct health *h, unsigned loop)
{
    if (loop < HEALTH_LOOPS_MAX) {
        atomic_store_explicit(&h->beats_ms[loop], mono_ms(), memory_order_relaxed);
    }
}

bool health_is_ready(const struct health *h)
{
    struct health *mutable = (struct health *)h;
    pthread_mutex_lock(&mutable->lock);
    bool ready = is_ready(h);
    pthread_mutex_unlock(&mutable->lock);
    return ready;
}
