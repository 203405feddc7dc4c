/* The catalogue worker: five consumers of ANIME_EVENTS and the requests that read or change the
 * catalogue. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"
#include "workers/catalogue/writer.h"

/* Filled from catalogue_options. */
struct catalogue_config {
    int64_t risk_text_cut;
    int64_t risk_list_cut;
    int64_t inbox_keep_days;
    int64_t pending_keep_ms;
};

/* A lane's context. */
struct catalogue {
    struct lane *lane;
    const struct catalogue_config *config;
    struct writer writer;
    int64_t next_sweep_ms, next_maintenance_ms; /* monotonic; lane 0 */
};

extern const struct worker_spec catalogue_worker;
