/* The target of a request, as it came: path and query. Our paths need no escapes, so a path with
 * one is none of ours and is never normalised. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"
#include "workers/command_api/routes.h"

#define TARGET_MAX 2048

struct target {
    struct view path, query; /* query: without '?', empty p when there is none */
};

/* False when it is no path of printable ASCII, or longer than TARGET_MAX. */
MUST_CHECK bool target_split(struct view uri, struct target *ret);
/* Adds the query's members to *object: decoded, of the kind that the route's rows say. Faults go
 * into *r: unknown and repeated members, bad escapes, wrong kinds. */
void target_query(struct view query, const struct route *route, struct arena *arena, json_t *object,
                  struct refusal *r);
/* The same for the ids in the path. */
void target_ids(const struct view ids[static ROUTE_IDS_MAX], const struct route *route,
                json_t *object, struct refusal *r);
