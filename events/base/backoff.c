/* Full jitter: every pause is uniform between 1 ms and the exponential limit, so that a crowd of
 * clients spreads out instead of returning together. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/backoff.h"

void prng_seed(struct prng *r, uint64_t seed)
{
    r->state = seed;
}

uint64_t prng_next(struct prng *r)
{
    r->state += 0x9e3779b97f4a7c15;
    uint64_t z = r->state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t prng_below(struct prng *r, uint64_t bound)
{
    /* The high half of the product; its bias is at most bound / 2^64. */
    return (uint64_t)(((unsigned __int128)prng_next(r) * bound) >> 64);
}

int64_t backoff_ms(struct prng *r, unsigned attempt, int64_t base_ms, int64_t max_ms)
{
    int64_t limit = base_ms > 0 ? base_ms : 1;
    for (unsigned i = 0; i < attempt && limit < max_ms; i++) {
        limit = limit > INT64_MAX / 2 ? INT64_MAX : limit * 2;
    }
    if (limit > max_ms) {
        limit = max_ms > 0 ? max_ms : 1;
    }
    return 1 + (int64_t)prng_below(r, (uint64_t)limit);
}
