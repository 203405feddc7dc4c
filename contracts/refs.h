/* References: how a thing is known outside (spec catalog.md).
 *
 * `<provider>:<kind>:<id>`, made from a URL by the one table contracts/hosts.csv (compiled in),
 * else `url:<host><path>`. "www.", scheme, fragment and trailing slashes are dropped, host aliases
 * are folded (kitsu.io = kitsu.app), a name that trails the id is ignored; a page below that is a
 * page of its own. A query is kept in a plain URL, sorted and without tracking parameters: sites
 * that address their pages by it would else become one thing. A pure function of the text. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"
#include "events/base/err.h"

#define REF_MAX 512

/* Text that already is a reference ("mal:anime:1") stays as it is; white space around it is
 * ignored. The result lives in the arena. Code bad-reference (ERR_REJECT): empty, no http(s) URL,
 * no host, longer than REF_MAX, spaces or control characters; no-memory (ERR_RETRY): the arena is
 * full. */
MUST_CHECK int ref_from_source(struct view source, struct arena *arena, struct view *ret_ref,
                               struct err *err);
/* Provider of a reference: the part before the first colon. */
struct view ref_provider(struct view ref);
/* False when entries of this kind cover a franchise or several seasons (imdb:title): two different
 * anime may share such a reference, so it says nothing about identity. */
bool ref_names_one(struct view ref);
