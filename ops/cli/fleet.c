// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/fleet.h"

static const struct consumer_spec catalogue_consumers[] = {
    {.durable = "catalog-enriched", .subject = "anime.enriched"},
    {.durable = "catalog-updated", .subject = "anime.updated"},
    {.durable = "catalog-episode-aired", .subject = "anime.episode.aired", .ack_wait_ms = 60000},
    {.durable = "catalog-character-updated", .subject = "character.updated"},
    {.durable = "catalog-episode-updated", .subject = "episode.updated"},
};
static const struct consumer_spec qdrant_consumers[] = {
    {.durable = "qdrant-anime-created", .subject = "anime.created"},
    {.durable = "qdrant-anime-synced", .subject = "anime.synced"},
    {.durable = "qdrant-anime-deleted", .subject = "anime.deleted"},
    {.durable = "qdrant-character-synced", .subject = "character.synced"},
    {.durable = "qdrant-episode-synced", .subject = "episode.synced"},
};

static const struct worker_spec fleet[] = {
    {.name = "catalogue",
     .consumers = catalogue_consumers,
     .n_consumers = ARRAY_LEN(catalogue_consumers)},
    {.name = "qdrant", .consumers = qdrant_consumers, .n_consumers = ARRAY_LEN(qdrant_consumers)},
};

size_t fleet_consumers(struct fleet_consumer out[static FLEET_MAX_CONSUMERS])
{
    size_t n = 0;

    for (size_t w = 0; w < ARRAY_LEN(fleet); w++)
        for (size_t i = 0; i < fleet[w].n_consumers && n < FLEET_MAX_CONSUMERS; i++) {
            const struct consumer_spec *spec = &fleet[w].consumers[i];
            out[n++] = (struct fleet_consumer){
                .worker = fleet[w].name,
                .stream = spec->stream ? spec->stream : registry_must(spec->subject)->stream->name,
                .filter = spec->filter ? spec->filter : spec->subject,
                .spec = spec,
            };
        }
    return n;
}
