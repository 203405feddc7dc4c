/* What the parts of this worker share: its options, and a context of one lane. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/http_pool.h"
#include "events/metrics.h"
#include "events/worker.h"
#include "workers/adapter/body.h"
#include "workers/adapter/excerpt.h"
#include "workers/adapter/judge.h"
#include "workers/adapter/sign.h"

/* Most events of one batch. */
#define ADAPTER_BATCH 16

struct settings {
    const char *base_url, *urls[ROUTES];
    const char *secret_files, *route_secret_files[ROUTES];
    const char *ca_file, *allow_networks;
    bool allow_http, only_202;
    int64_t calls, call_timeout_ms;
    int64_t breaker_after, breaker_pause_ms;
    int64_t keep_ms, keep_rows;
};

struct adapter {
    struct lane *lane;
    const struct settings *settings;
    struct pg *pg;
    /* Of a route's own lane; the request lane has none and makes a pool for each request. */
    bool has_route;
    enum route route;
    struct http_pool *pool; /* NULL: the route has no destination */
    struct secrets secrets;
    unsigned failures; /* in a row, of calls */
    int64_t next_forget_ms;
    int64_t next_look_ms;
    struct metric *attempts[JUDGED_MAX], *seconds, *unrecorded, *disabled;
};

/* worker.c: the route whose events the consumer gets. */
MUST_CHECK bool adapter_route_of(const struct consumer_spec *consumer, enum route *ret);

/* metrics.c: makes the series of a route's lane. */
void adapter_make_metrics(struct adapter *a);
/* waiting.c: looks how long events of all routes with a destination have waited. What nats-server
 * does not tell stays as it was. */
void waiting_look(struct adapter *a, const struct consumer_spec consumers[], size_t n);

/* A destination and the secrets for it. *ret_pool is NULL when the route has none configured. */
MUST_CHECK int destination_open(const struct settings *s, enum route route, unsigned calls,
                                struct http_pool **ret_pool, struct secrets *ret_secrets,
                                struct err *err);
MUST_CHECK int destination_secrets(const struct settings *s, enum route route, struct secrets *ret,
                                   struct err *err);
bool destination_is_set(const struct settings *s, enum route route);
/* Signs and starts one call, which the pool knows by its webhook-id; parent: the trace that goes
 * along, NULL = none. */
MUST_CHECK int destination_send(struct http_pool *pool, const struct secrets *secrets,
                                struct uuid id, struct view body,
                                const struct trace_context *parent, struct err *err);

/* What the receiver said to a call that is over, without our secrets. */
void destination_answer(const struct http_pool *pool, const struct secrets *secrets, struct uuid id,
                        char out[static EXCERPT_MAX + 1]);

/* record.c: ret[i] = the catalogue announced this event as a flagged copy. A header Echora-Review
 * alone says nothing: whoever publishes may write it. */
MUST_CHECK int record_announced(struct pg *pg, const struct uuid ids[], size_t n, bool ret[],
                                struct err *err);

/* deliver.c: the handler of all routes. */
void deliver_batch(void *context, struct batch *batch);
/* The pace of retries: 5 s, 30 s, 2, 10, 30 min, 1, 2, 4, 8 h, +-20 %; the tenth failure is the
 * last. */
extern const struct retry_pace deliver_pace;

/* An attempt as the log keeps it. */
struct attempt {
    struct uuid webhook_id;
    uint64_t stream_sequence;
    int64_t started_us;
    struct http_outcome outcome;
    enum judgement judgement;
    int64_t next_us; /* about when the next try is; 0 = none */
    const char *trigger;
    const char *asked_by; /* "" = nobody, or the request did not say */
    const char *answer;   /* of one that is no delivery; an excerpt */
};
/* requests.c */
answer_fn answer_webhook_test, answer_webhook_replay, answer_webhook_enable;

/* record.c. Writes attempts of one route, in one statement. */
MUST_CHECK int record_attempts(struct pg *pg, enum route route, const char *stream,
                               const struct attempt attempts[], size_t n, struct err *err);
/* Part of the log that is older than it is kept, or too much; a part each time. */
MUST_CHECK int record_forget(struct pg *pg, int64_t keep_ms, int64_t keep_rows, struct err *err);
/* 410: nothing is sent there until a person enables it. */
MUST_CHECK int record_disable(struct pg *pg, enum route route, const char *reason,
                              const char *actor, struct err *err);
MUST_CHECK int record_enable(struct pg *pg, enum route route, const char *actor, struct err *err);
/* Where the event of a webhook lies; ERR_REJECT no-event when the log does not say. */
MUST_CHECK int record_find(struct pg *pg, enum route route, struct uuid webhook_id,
                           char ret_stream[static 64], uint64_t *ret_sequence, struct err *err);
/* ERR_RETRY route-disabled when it is. */
MUST_CHECK int record_check(struct pg *pg, enum route route, struct err *err);
