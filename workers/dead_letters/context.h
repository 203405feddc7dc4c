/* What every handler and answer of this worker works with: one per lane. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "contracts/gen/ops.pb-c.h"
#include "events/worker.h"

typedef Echora__Ops__V1__DlqFilter DlqFilter;
typedef Echora__Ops__V1__DlqLetter DlqLetter;
typedef Echora__Ops__V1__DlqPlan DlqPlan;

/* The worker's own options. */
struct dead_letters_config {
    int64_t reconcile_interval_ms;
};

struct gauges;
struct reconcile;

struct dead_letters {
    struct lane *lane;
    struct pg *pg;
    struct bus *bus;
    struct arena *scratch; /* reset by whoever uses it, per message or page */
    int64_t next_forget_ms;
    struct reconcile *reconcile;
    struct gauges *gauges;
};

static inline void dlq_jsonp(json_t **j)
{
    json_decref(*j);
}

static inline int dlq_no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "dead letters", "the arena is full");
}
