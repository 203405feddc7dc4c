/* Drift repair by itself: a pass over the whole index once an interval, and sooner when points wait
 * for vectors and the provider answers again.
 *
 * A pass goes on page by page, one for each call of repair_step, so that events wait for none. How
 * far it has come, and who works on it, stands in the bucket echora_control under
 * repair.<collection>: workers share one pass, and another one takes up what a dead one left. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>

#include "workers/qdrant/embed.h"
#include "workers/qdrant/reconcile.h"

struct repair_settings {
    struct source source;
    struct qdrant *qdrant;
    struct embedder *embedder;
    struct arena *arena;
    atomic_bool *owed;   /* points may wait for vectors */
    int64_t interval_ms; /* 0 = never */
    int64_t rate;        /* ids looked at in one step */
};

struct repair;
struct repair *repair_new(const struct repair_settings *settings); /* NULL: no memory */
struct repair *repair_free(struct repair *r);                      /* takes NULL */
/* At most one page of a pass, if there is one to do. Called about once a second. */
MUST_CHECK int repair_step(struct repair *r, struct err *err);
