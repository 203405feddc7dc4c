/* Retry pace as pure functions. Jitter comes from a seed, so tests are exact. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdint.h>

/* A small, fast generator (splitmix64); never for secrets. */
struct prng {
    uint64_t state;
};
void prng_seed(struct prng *r, uint64_t seed);
uint64_t prng_next(struct prng *r);
/* Uniform in [0, bound); bound > 0. */
uint64_t prng_below(struct prng *r, uint64_t bound);

/* Full jitter over base * 2^attempt, at most max; attempt counts from 0. In milliseconds, ≥ 1. */
int64_t backoff_ms(struct prng *r, unsigned attempt, int64_t base_ms, int64_t max_ms);
