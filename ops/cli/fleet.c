// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/fleet.h"

#include "outbox/relay_worker.h"
#include "workers/adapter/worker.h"
#include "workers/catalogue/worker.h"
#include "workers/dead_letters/worker.h"
#include "workers/qdrant/worker.h"

static const struct fleet_worker fleet[] = {
    {"echora-catalogue", &catalogue_worker}, {"echora-relay", &relay_worker},
    {"echora-qdrant-sync", &qdrant_worker},  {"echora-dead-letters", &dead_letters_worker},
    {"echora-adapter", &adapter_worker},
};

size_t fleet_workers(struct fleet_worker out[static FLEET_MAX_WORKERS])
{
    memcpy(out, fleet, sizeof(fleet));
    return ARRAY_LEN(fleet);
}

const char *fleet_answers(const char *subject)
{
    for (size_t w = 0; w < ARRAY_LEN(fleet); w++)
        for (size_t i = 0; i < fleet[w].spec->n_requests; i++)
            if (strcmp(fleet[w].spec->requests[i].subject, subject) == 0)
                return fleet[w].program;
    return NULL;
}

size_t fleet_consumers(struct fleet_consumer out[static FLEET_MAX_CONSUMERS])
{
    size_t n = 0;

    for (size_t w = 0; w < ARRAY_LEN(fleet); w++)
        for (size_t i = 0; i < fleet[w].spec->n_consumers && n < FLEET_MAX_CONSUMERS; i++) {
            const struct consumer_spec *spec = &fleet[w].spec->consumers[i];
            out[n++] = (struct fleet_consumer){
                .worker = fleet[w].spec->name,
                .stream = spec->stream ? spec->stream : registry_must(spec->subject)->stream->name,
                .filter = spec->filter ? spec->filter : spec->subject,
                .spec = spec,
            };
        }
    return n;
}
