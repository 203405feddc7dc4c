/* What a lane of the catalogue worker owns: its connections and buffers. Nothing is shared. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/pg.h"
#include "outbox/append.h"
#include "workers/catalogue/writer.h"

/* Filled from the worker's options. */
struct catalogue_config {
    int64_t risk_text_cut; /* percent */
    int64_t risk_list_cut; /* percent */
    int64_t inbox_keep_days;
    int64_t pending_keep_ms;
    int64_t review_remind_ms;
    int64_t review_expire_ms;
};

struct catalogue {
    struct pg *pg;         /* borrowed from the lane */
    struct bus *bus;       /* borrowed from the lane */
    struct outbox *outbox; /* the writer's */
    struct writer writer;
    const struct catalogue_config *config;
    /* Chores of lane 0, monotonic. */
    int64_t next_sweep_ms, next_busy_sweep_ms, next_maintenance_ms, next_expiry_ms, next_review_ms;
    struct uuid swept_to; /* the sweep goes on behind this anime; nil = from the first */
    uint64_t swept_at;    /* writer.committed when the sweep began */
    uint64_t expired_at;  /* writer.refused when waiting updates were last looked through */
};
