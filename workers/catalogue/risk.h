/* The risk policy: which fields of an anime.updated wait for a person (spec catalog.md).
 *
 * Pure. Parked: title, type or source material changed; episode count lowered; synopsis or
 * background removed or cut; a list cut; status moved backward. A field that was empty before is
 * filled at once: there is nothing to lose. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/merge.h"
#include "workers/catalogue/types.h"

/* Options risk-text-cut and risk-list-cut: a loss of more than so many percent is parked. */
struct risk_limits {
    int64_t text_cut_percent;
    int64_t list_cut_percent;
};

struct risk {
    uint64_t fields; /* to be parked */
    unsigned n;
    char reasons[64][48]; /* "title-changed", "genres-cut", ...; in the order of field numbers */
};

/* Judges the fields in mask, which are those that would really change. */
void risk_judge(const struct risk_limits *limits, const Anime *current, const Anime *proposed,
                uint64_t mask, struct risk *ret);
/* Upcoming, ongoing, finished is forward, and cancelled from the first two. What is not known
 * (unspecified, unknown) may become anything, and nothing known may become unknown. */
bool risk_status_is_backward(int from, int to);
