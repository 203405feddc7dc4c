/* Reading what operations speak of into the working set, locked. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/work.h"

/* What one entity's row says, from a result of load_<kind>.sql (or a select of the same columns).
 */
MUST_CHECK int load_row(const PGresult *r, int row, enum entity_kind kind, struct arena *arena,
                        struct entity **ret, struct err *err);

/* Finds the owners of everything that the operations name, locks their rows in order of kind and
 * id, and makes them known. May be called again for more operations. ERR_RETRY with code stale when
 * a row was merged away between finding and locking it. */
MUST_CHECK int load_ops(struct work *w, struct op *const ops[], size_t n, struct err *err);
/* Without any lock: does one of the operations that create nothing name a main entity that nobody
 * has? Then its event may have to wait. */
MUST_CHECK int load_peek(struct work *w, struct op *const ops[], size_t n, bool *ret_unknown,
                         struct err *err);
/* Locks and loads rows by id, in order; those known already are left alone. */
MUST_CHECK int load_ids(struct work *w, enum entity_kind kind, const struct uuid ids[], size_t n,
                        struct err *err);
