/* References: how a thing is known outside (spec catalog.md).
 *
 * `<provider>:<kind>:<id>`, made from a URL by the one table contracts/hosts.csv (compiled in),
 * else `url:<host><path>`. "www." is dropped, host aliases are folded (kitsu.io = kitsu.app), a
 * name that trails the id is ignored. A pure function of the text. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"
#include "events/base/err.h"

#define REF_MAX 512

/* Text that already is a reference ("mal:anime:1") stays as it is. The result lives in the arena.
 * Code bad-reference (ERR_REJECT): empty, longer than REF_MAX, spaces or control characters. */
MUST_CHECK int ref_from_source(struct view source, struct arena *arena, struct view *ret_ref,
                               struct err *err);
/* Provider of a reference: the part before the first colon. */
struct view ref_provider(struct view ref);
