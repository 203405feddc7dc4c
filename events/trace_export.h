/* The way out for ended spans: OTLP/HTTP in JSON, by a thread of its own (see trace.h). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"
#include "events/trace.h"

/* Between trace_init with an endpoint and trace_stop. */
bool trace_exports(void);
/* Queues a copy, while trace_exports; drops and counts it when the queue is full. */
void trace_export(const struct span *span, const struct err *err);

/* One ended span, as it waits in the queue. */
struct ended_span {
    struct ended_span *next;
    struct span span;
    int64_t end_us;
    bool failed;
    char code[32];
    char text[320];
};
/* The request body for a list of spans: ExportTraceServiceRequest in OTLP's JSON. For tests. */
void trace_encode(struct buf *out, const char *service, const char *instance,
                  const struct ended_span *first);
