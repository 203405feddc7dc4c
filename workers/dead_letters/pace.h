/* How many letters of a plan may go now: its rate, and its canary. Pure. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdbool.h>
#include <stdint.h>

/* At this many letters a second, so long after the last ones went. A pause is made up for by 2 s at
 * most. */
int64_t pace_rate(int64_t rate, int64_t since_ms);

/* Letters that had their turn: without an outcome yet, failed, all. */
struct canary_counts {
    int64_t open, failed, turned;
};
enum canary_answer {
    CANARY_GO,     /* so many more */
    CANARY_WAIT,   /* for outcomes */
    CANARY_FAILED, /* more than the limit failed */
};
/* One letter, then up to ten in all, a hundred, and so on; each step begins when all of the one
 * before have their outcome and few enough failed. A step ends early when what has failed is too
 * much for the whole of it. */
enum canary_answer canary_next(const struct canary_counts *counts, int64_t max_failure_percent,
                               int64_t *ret_n);
