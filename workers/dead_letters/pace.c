// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/pace.h"

enum { SAVED_MS = 2000, STEP = 10 };

int64_t pace_rate(int64_t rate, int64_t since_ms)
{
    return rate * (since_ms < SAVED_MS ? since_ms : SAVED_MS) / 1000;
}

enum canary_answer canary_next(const struct canary_counts *counts, int64_t max_failure_percent,
                               int64_t *ret_n)
{
    int64_t step = 1;
    *ret_n = 0;
    while (step < counts->turned)
        step *= STEP;
    const bool ended = counts->turned == step;
    if (ended && counts->open > 0)
        return CANARY_WAIT;
    if (counts->failed * 100 > max_failure_percent * step)
        return CANARY_FAILED;
    *ret_n = (ended ? step * STEP : step) - counts->turned;
    return CANARY_GO;
}
