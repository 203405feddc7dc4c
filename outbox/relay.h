/* The relay of one outbox: committed rows become messages, each once, in each entity's order.
 *
 * One relay is active (leader.h), others stand by. The loop runs in one thread: it steps the lanes,
 * and when there is nothing it waits for a hint, or polls with growing pauses. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/pg.h"

struct relay;

struct relay_options {
    const char *schema;                      /* whose outbox */
    const struct stream_def *const *streams; /* one lane each; NULL-terminated */
    struct pg_options pg;                    /* of role echora_relay; setup_sql is set here */
    struct bus *bus;                         /* opened buffered; outlives the relay */
    int page_rows;                           /* 1 to 10,000; default 500 */
    int64_t poll_min_ms, poll_max_ms;        /* pauses without hints; default 1 and 50 */
    int64_t keep_ms;                         /* of published rows; default 48 h */
    int64_t keeper_every_ms;                 /* default 30 s */
    /* Told when a stream takes nothing (reason names it) and when all do again (NULL). */
    void (*report)(void *ctx, const char *reason);
    void *report_ctx;
};

typedef bool relay_stop_fn(void *ctx);

MUST_CHECK int relay_new(struct relay **ret, const struct relay_options *options, struct err *err);
struct relay *relay_free(struct relay *r); /* gives up leadership; takes NULL */
/* Until stop(ctx), which is asked between pages and waits: 0. Errors: ERR_UNAVAILABLE or ERR_RETRY
 * = call again after a pause, ERR_FATAL = the relay must not run (codes epoch-*, nats-10059, ...).
 */
MUST_CHECK int relay_run(struct relay *r, relay_stop_fn *stop, void *ctx, struct err *err);
