/* Writing a working set: a handful of statements, whatever the number of rows. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/work.h"

struct store; /* buffers of one lane, kept between transactions */
struct store *store_new(void);
struct store *store_free(struct store *s);
void store_freep(struct store **s);

/* Gives each announcement its revision, in order (spec catalog.md, "Writing"). */
MUST_CHECK int store_revisions(struct work *w, struct err *err);
/* Entities, references, aliases, and what hangs on them. ERR_RETRY with code race when another
 * writer made one of the new things meanwhile: the transaction is to be redone. */
MUST_CHECK int store_entities(struct store *s, struct work *w, struct err *err);
/* Waiting updates, parked ones, and last the inbox rows, whose answer is not waited for. */
MUST_CHECK int store_outcomes(struct work *w, struct err *err);
/* Takes it, before the commit. Race as above. */
MUST_CHECK int store_check(struct work *w, struct err *err);
