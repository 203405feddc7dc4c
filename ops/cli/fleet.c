// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/fleet.h"

#include "workers/catalogue/worker.h"

static const struct consumer_spec qdrant_consumers[] = {
    {.durable = "qdrant-anime-created", .subject = "anime.created"},
    {.durable = "qdrant-anime-synced", .subject = "anime.synced"},
    {.durable = "qdrant-anime-deleted", .subject = "anime.deleted"},
    {.durable = "qdrant-character-synced", .subject = "character.synced"},
    {.durable = "qdrant-episode-synced", .subject = "episode.synced"},
};

static const struct worker_spec qdrant_worker = {
    .name = "qdrant", .consumers = qdrant_consumers, .n_consumers = ARRAY_LEN(qdrant_consumers)};

static const struct worker_spec *const fleet[] = {&catalogue_worker, &qdrant_worker};

size_t fleet_consumers(struct fleet_consumer out[static FLEET_MAX_CONSUMERS])
{
    size_t n = 0;

    for (size_t w = 0; w < ARRAY_LEN(fleet); w++)
        for (size_t i = 0; i < fleet[w]->n_consumers && n < FLEET_MAX_CONSUMERS; i++) {
            const struct consumer_spec *spec = &fleet[w]->consumers[i];
            out[n++] = (struct fleet_consumer){
                .worker = fleet[w]->name,
                .stream = spec->stream ? spec->stream : registry_must(spec->subject)->stream->name,
                .filter = spec->filter ? spec->filter : spec->subject,
                .spec = spec,
            };
        }
    return n;
}
