/* One page of a replay: dead letters become events again, for the one consumer that failed.
 *
 * The message id is a function of letter and attempt, so a page that is done again after a crash
 * gives the broker the same ids; what it calls a duplicate is ours when it carries this plan's id,
 * and otherwise somebody else's event that would have swallowed ours: a failure. What only the
 * relay may publish goes to the catalogue, which writes fresh outbox rows. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/audit.h"

struct replay_page {
    const char *plan_id;
    DlqAuditItem **items; /* id, sequence, attempt are set; outcome, code, state follow */
    const bool *overtaken;
    size_t n;
    struct arena *arena; /* of the page */
};
/* -1: nothing is known about the page, do it again. */
MUST_CHECK int republish_page(struct dead_letters *dl, struct replay_page *page, struct err *err);
