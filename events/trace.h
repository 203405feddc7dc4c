/* W3C trace context and spans, exported as OTLP/HTTP JSON when otlp-endpoint is set.
 *
 * The context of a thread is the span that it works in: logs take their ids from it, publishes and
 * outbox rows carry it on. Export runs on a thread of its own with a bounded queue; when it is full
 * spans are dropped and counted. Telemetry never blocks an ack. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"

#define TRACEPARENT_MAX 56 /* with NUL */
#define TRACESTATE_MAX 513

struct trace_context {
    uint8_t trace_id[16];
    uint8_t span_id[8];
    uint8_t flags;
    bool set;
    char state[TRACESTATE_MAX];
};

/* Version 00 strictly, higher versions by prefix, as W3C says; all-zero ids are refused. */
MUST_CHECK bool trace_parse(struct view traceparent, struct view tracestate,
                            struct trace_context *ret);
void trace_format(const struct trace_context *c, char out[static TRACEPARENT_MAX]);
/* A new root, sampled. */
void trace_start_root(struct trace_context *ret);

enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER, SPAN_CLIENT, SPAN_PRODUCER, SPAN_CONSUMER };
struct span {
    struct trace_context context;
    uint8_t parent_id[8];
    enum span_kind kind;
    int64_t start_us;
    char name[80];
    /* A few string attributes; values are copied. */
    unsigned n_attributes;
    struct {
        const char *key; /* static text */
        char value[64];
    } attributes[8];
};

/* Child of parent (a new root when parent is NULL or not set). Not made current. */
void span_start(struct span *s, const struct trace_context *parent, enum span_kind kind,
                const char *name);
void span_attribute(struct span *s, const char *key, const char *value);
/* Whether it will be exported; nobody sees the name and the attributes of one that is not. */
bool span_is_recorded(const struct span *s);
/* Ends and queues it for export. err NULL = ok. */
void span_end(struct span *s, const struct err *err);

/* The thread's current context; NULL when there is none. */
const struct trace_context *trace_current(void);
/* Sets it, returns the former one; pass NULL for none. The context must live until it is replaced.
 */
const struct trace_context *trace_set_current(const struct trace_context *c);

/* endpoint: "http://host:4318" or NULL for no export. Stops and flushes (≤ 2 s) at trace_stop. */
MUST_CHECK int trace_init(const char *worker, const char *endpoint, struct err *err);
void trace_stop(void);
