/* A bounded list of ended spans and one thread that carries it away in batches.
 *
 * The thread sleeps without a timeout while the list is empty; the first span wakes it, it waits up
 * to a second for more (or for a full batch) and sends. 429, 502, 503, 504 and no answer are tried
 * again after Retry-After or a growing pause, everything else is final (OTLP specification, section
 * on OTLP/HTTP failures). What cannot be sent or queued is dropped and counted. */
// SPDX-License-Identifier: Apache-2.0
#include "events/trace_export.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "events/base/backoff.h"
#include "events/base/clock.h"
#include "events/http.h"
#include "events/metrics.h"

#define QUEUE_MAX 2048
#define BATCH_MAX 512
#define BATCH_WAIT_MS 1000
#define ATTEMPTS_MAX 5
#define FIRST_PAUSE_MS 1000
#define LONGEST_PAUSE_MS 30000
#define CALL_TIMEOUT_MS 10000
#define BODY_MAX ((size_t)4 << 20)
/* A running call is given up within a second (http.h), so a stop takes two at most. */
#define STOP_GRACE_MS 1000

static const struct metric_def sent_def = {"echora_trace_spans_sent_total", METRIC_COUNTER,
                                           "Spans that the collector took.", "", NULL};
static const struct metric_def dropped_def = {
    "echora_trace_spans_dropped_total", METRIC_COUNTER,
    "Spans lost because the queue was full or the collector did not take them.", "reason", NULL};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    atomic_bool running;
    bool stopping;
    _Atomic int64_t give_up_at; /* monotonic; set by trace_stop */
    struct ended_span *first, **last;
    unsigned n;
    struct http *http;
    const char *path;
    char service[64], instance[96];
    struct metric *sent, *dropped_full, *dropped_refused;
} exporter = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void put_text(struct buf *out, const char *text)
{
    char clean[512];
    buf_put_json_string(out, utf8_clean(view_of(text), clean, sizeof clean));
}

static void put_attribute(struct buf *out, const char *key, const char *value, bool first)
{
    buf_puts(out, first ? "{\"key\":" : ",{\"key\":");
    put_text(out, key);
    buf_puts(out, ",\"value\":{\"stringValue\":");
    put_text(out, value);
    buf_puts(out, "}}");
}

static void put_hex_member(struct buf *out, const char *head, const uint8_t *data, size_t n)
{
    buf_puts(out, head);
    buf_put_hex(out, (struct bytes){data, n});
    buf_putc(out, '"');
}

static void put_span(struct buf *out, const struct ended_span *e)
{
    static const uint8_t none[8];
    const struct span *s = &e->span;
    put_hex_member(out, "{\"traceId\":\"", s->context.trace_id, sizeof s->context.trace_id);
    put_hex_member(out, ",\"spanId\":\"", s->context.span_id, sizeof s->context.span_id);
    if (memcmp(s->parent_id, none, sizeof none) != 0) {
        put_hex_member(out, ",\"parentSpanId\":\"", s->parent_id, sizeof s->parent_id);
    }
    if (s->context.state[0]) {
        buf_puts(out, ",\"traceState\":");
        put_text(out, s->context.state);
    }
    buf_puts(out, ",\"name\":");
    put_text(out, s->name);
    buf_printf(out,
               ",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64
               "000\",\"endTimeUnixNano\":\"%" PRId64 "000\",\"attributes\":[",
               (int)s->kind, s->start_us, e->end_us);
    for (unsigned i = 0; i < s->n_attributes; i++) {
        put_attribute(out, s->attributes[i].key, s->attributes[i].value, i == 0);
    }
    if (e->failed) {
        put_attribute(out, "error.type", e->code, s->n_attributes == 0);
        buf_puts(out, "],\"status\":{\"code\":2,\"message\":");
        put_text(out, e->text);
        buf_puts(out, "}}");
    } else {
        buf_puts(out, "],\"status\":{}}");
    }
}

void trace_encode(struct buf *out, const char *service, const char *instance,
                  const struct ended_span *first)
{
    buf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_attribute(out, "service.name", service, true);
    put_attribute(out, "service.version", ECHORA_VERSION, false);
    put_attribute(out, "service.instance.id", instance, false);
    buf_puts(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"echora\",\"version\":\"" ECHORA_VERSION
                  "\"},\"spans\":[");
    for (const struct ended_span *e = first; e; e = e->next) {
        put_span(out, e);
        if (e->next) {
            buf_putc(out, ',');
        }
    }
    buf_puts(out, "]}]}]}");
}

bool trace_exports(void)
{
    return atomic_load_explicit(&exporter.running, memory_order_acquire);
}

void trace_export(const struct span *span, const struct err *err)
{
    struct ended_span *e = calloc(1, sizeof *e);
    if (!e) {
        metric_add(exporter.dropped_full, 1);
        return;
    }
    e->span = *span;
    e->end_us = wall_us();
    if (e->end_us < span->start_us) { /* the wall clock may step back */
        e->end_us = span->start_us;
    }
    if (err && err->class != ERR_NONE) {
        e->failed = true;
        memcpy(e->code, err->code, sizeof e->code);
        memcpy(e->text, err->text, sizeof e->text);
    }
    pthread_mutex_lock(&exporter.lock);
    bool full = exporter.stopping || exporter.n == QUEUE_MAX;
    if (!full) {
        *exporter.last = e;
        exporter.last = &e->next;
        exporter.n++;
        if (exporter.n == 1 || exporter.n == BATCH_MAX) {
            pthread_cond_signal(&exporter.wake);
        }
    }
    pthread_mutex_unlock(&exporter.lock);
    if (full) {
        metric_add(exporter.dropped_full, 1);
        free(e);
    }
}

/* Under the lock. True when the condition was signalled before the time was over. */
static bool wait_until(int64_t mono_at_ms)
{
    struct timespec at = {.tv_sec = mono_at_ms / 1000, .tv_nsec = mono_at_ms % 1000 * 1000000};
    return pthread_cond_timedwait(&exporter.wake, &exporter.lock, &at) == 0;
}

/* Waits for spans and takes up to a batch off the list; NULL = stopped and nothing left. */
static struct ended_span *take_batch(unsigned *ret_n)
{
    pthread_mutex_lock(&exporter.lock);
    while (!exporter.n && !exporter.stopping) {
        pthread_cond_wait(&exporter.wake, &exporter.lock);
    }
    int64_t until = mono_ms() + BATCH_WAIT_MS;
    while (exporter.n < BATCH_MAX && !exporter.stopping && mono_ms() < until) {
        wait_until(until);
    }
    struct ended_span *batch = exporter.first, **link = &batch;
    unsigned n = 0;
    while (*link && n < BATCH_MAX) {
        link = &(*link)->next;
        n++;
    }
    exporter.first = *link;
    *link = NULL;
    exporter.n -= n;
    if (!exporter.first) {
        exporter.last = &exporter.first;
    }
    pthread_mutex_unlock(&exporter.lock);
    *ret_n = n;
    return batch;
}

/* Sleeps, unless the exporter stops. False when there is no time left for another attempt. */
static bool pause_for(int64_t ms)
{
    int64_t until = mono_ms() + ms;
    pthread_mutex_lock(&exporter.lock);
    while (!exporter.stopping && mono_ms() < until) {
        wait_until(until);
    }
    bool go_on = !exporter.stopping;
    pthread_mutex_unlock(&exporter.lock);
    return go_on;
}

static bool is_retryable(long status)
{
    return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

static bool send_body(struct view body, struct http_reply *reply, struct prng *prng)
{
    for (unsigned attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
        struct err err = ERR_INIT;
        if (http_call(exporter.http, "POST", exporter.path, "application/json", body, reply,
                      &err) == 0) {
            return true;
        }
        if (!is_retryable(reply->status)) {
            return false;
        }
        int64_t pause = backoff_ms(prng, attempt, FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
        if (reply->retry_after_ms) {
            pause =
                reply->retry_after_ms < LONGEST_PAUSE_MS ? reply->retry_after_ms : LONGEST_PAUSE_MS;
        }
        if (attempt + 1 == ATTEMPTS_MAX || !pause_for(pause)) {
            return false;
        }
    }
    return false;
}

static void free_spans(struct ended_span *e)
{
    while (e) {
        struct ended_span *next = e->next;
        free(e);
        e = next;
    }
}

static void *run(void *arg)
{
    struct prng prng;
    prng_seed(&prng, (uint64_t)mono_us());
    struct http_reply reply;
    http_reply_init(&reply, 64 << 10);
    struct ended_span *batch;
    unsigned n;
    while ((batch = take_batch(&n)) != NULL) {
        struct buf body;
        buf_init(&body, BODY_MAX);
        trace_encode(&body, exporter.service, exporter.instance, batch);
        bool sent = !buf_failed(&body) && send_body(buf_view(&body), &reply, &prng);
        metric_add(sent ? exporter.sent : exporter.dropped_refused, n);
        buf_deinit(&body); /* not kept: an idle worker should be small */
        free_spans(batch);
    }
    http_reply_deinit(&reply);
    return NULL;
}

static int start_thread(struct err *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&exporter.wake, &attr);
    pthread_condattr_destroy(&attr);
    /* Signals are for the main thread. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&exporter.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        return err_set(err, ERR_FATAL, "internal", "start trace export", "no thread: error %d", rc);
    }
    atomic_store_explicit(&exporter.running, true, memory_order_release);
    return 0;
}

int trace_init(const char *worker, const char *endpoint, struct err *err)
{
    if (!endpoint || !endpoint[0]) {
        return 0;
    }
    if (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0) {
        return err_set(err, ERR_FATAL, "config", "start trace export",
                       "the OTLP endpoint must begin with http:// or https://");
    }
    static const char suffix[] = "/v1/traces";
    size_t n = strlen(endpoint);
    bool whole = n >= sizeof suffix - 1 && strcmp(endpoint + n - (sizeof suffix - 1), suffix) == 0;
    exporter.path = whole ? "" : suffix;
    exporter.stopping = false;
    exporter.first = NULL;
    exporter.last = &exporter.first;
    exporter.n = 0;
    atomic_store(&exporter.give_up_at, 0);
    char host[64] = "";
    gethostname(host, sizeof host - 1);
    snprintf(exporter.service, sizeof exporter.service, "echora-%s", worker);
    snprintf(exporter.instance, sizeof exporter.instance, "%s:%d", host, (int)getpid());
    exporter.sent = metric_series(&sent_def, NULL);
    exporter.dropped_full = metric_series(&dropped_def, (const char *const[]){"queue"});
    exporter.dropped_refused = metric_series(&dropped_def, (const char *const[]){"collector"});
    exporter.http = http_new(&(struct http_options){.base_url = endpoint,
                                                    .timeout_ms = CALL_TIMEOUT_MS,
                                                    .max_reply = 64 << 10,
                                                    .give_up_at = &exporter.give_up_at});
    if (!exporter.http) {
        return err_set(err, ERR_FATAL, "no-memory", "start trace export", "no memory");
    }
    if (start_thread(err) < 0) {
        exporter.http = http_free(exporter.http);
        return -1;
    }
    return 0;
}

void trace_stop(void)
{
    if (!atomic_exchange(&exporter.running, false)) {
        return;
    }
    atomic_store(&exporter.give_up_at, mono_ms() + STOP_GRACE_MS);
    pthread_mutex_lock(&exporter.lock);
    exporter.stopping = true;
    pthread_cond_signal(&exporter.wake);
    pthread_mutex_unlock(&exporter.lock);
    pthread_join(exporter.thread, NULL);
    exporter.http = http_free(exporter.http);
    pthread_cond_destroy(&exporter.wake);
}
