/* Chores about reviews, a bounded part at a time: what nobody decides is reminded of once, and ends
 * after its time. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/writer.h"

/* Makes the series of what these chores count, and tells expire_ms. */
void review_chores_init(int64_t expire_ms);
/* A second flagged copy of what has waited for remind_ms. Returns how many; -1 = error. */
MUST_CHECK int review_remind(struct writer *w, int64_t remind_ms, struct err *err);
/* Ends what has waited for expire_ms. Returns how many; -1 = error. */
MUST_CHECK int review_expire(struct writer *w, int64_t expire_ms, struct err *err);
/* Sets the gauges: how many wait, and for how long. */
MUST_CHECK int review_gauge(struct pg *pg, struct err *err);
