/* One entry of an anime-offline-database snapshot to one anime.enriched, as a pure function of the
 * entry and the file: ids are UUIDv5, the time is the file's.
 *
 * Both generations of the format: relatedAnime or relations; score, duration, studios, producers
 * may be missing; the case of enum names does not matter; unknown members are ignored. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "contracts/gen/events.pb-c.h"
#include "events/base/arena.h"
#include "events/base/err.h"
#include "events/base/hash.h"

struct manami_file {
    char sha256[2 * SHA256_SIZE + 1]; /* lower-case hex of the file's bytes */
    int64_t time_s;                   /* the metadata line's lastUpdate */
};

/* A first line without sources. *ret_time_s from its lastUpdate (a date or RFC 3339). */
bool manami_is_metadata(const json_t *line);
MUST_CHECK bool manami_last_update(const json_t *metadata, int64_t *ret_time_s);

/* Code snapshot-line (ERR_REJECT): no object, no title, no usable source. */
MUST_CHECK int manami_event(const json_t *entry, const struct manami_file *file,
                            struct arena *arena, Echora__Events__V1__AnimeEnrichedEvent **ret,
                            struct err *err);
