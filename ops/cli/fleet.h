/* All consumers of the fleet, from the tables of its workers: what is provisioned and shown. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/worker.h"

struct fleet_consumer {
    const char *worker;
    const char *stream;
    const char *filter;
    const struct consumer_spec *spec;
};

#define FLEET_MAX_CONSUMERS 64
/* Fills out, returns how many. */
size_t fleet_consumers(struct fleet_consumer out[static FLEET_MAX_CONSUMERS]);

struct fleet_worker {
    const char *program; /* "echora-catalogue" */
    const struct worker_spec *spec;
};
#define FLEET_MAX_WORKERS 16
size_t fleet_workers(struct fleet_worker out[static FLEET_MAX_WORKERS]);
/* The program that answers requests on this subject; NULL when none of ours does. */
const char *fleet_answers(const char *subject);
