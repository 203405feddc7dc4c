/* Records on audit.dlq (stream AUDIT): who did what with dead letters, and what became of each.
 *
 * They are written before what they tell is committed to PostgreSQL, so that nothing happens
 * without a record; after a crash the same may be told twice. Read again (consumer dlq-audit) they
 * give every letter its state, whatever happened to the database. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/context.h"

typedef Echora__Ops__V1__DlqAudit DlqAudit;
typedef Echora__Ops__V1__DlqAuditItem DlqAuditItem;

/* Fills the time and publishes. */
MUST_CHECK int audit_write(struct dead_letters *dl, DlqAudit *record, struct arena *arena,
                           struct err *err);
/* What became of letters of a plan ("replay" or "discard"). */
MUST_CHECK int audit_letters(struct dead_letters *dl, const char *plan_id, const char *kind,
                             DlqAuditItem *items[], size_t n, struct arena *arena, struct err *err);
/* Gives letters the states that the items tell. */
MUST_CHECK int audit_apply(struct dead_letters *dl, DlqAuditItem *const items[], size_t n,
                           struct err *err);
handle_fn audit_read;
