/* Pauses between probes double from 250 ms to 5 s, each 20 % shorter or longer by chance, so that
 * the lanes of a fleet do not knock together. */
// SPDX-License-Identifier: Apache-2.0
#include "events/breaker.h"

#define FIRST_PAUSE_MS 250
#define LONGEST_PAUSE_MS 5000

void breaker_init(struct breaker *b, enum dependency dep, uint64_t seed)
{
    *b = (struct breaker){.dependency = dep, .state = BREAKER_CLOSED};
    prng_seed(&b->prng, seed);
}

static void open_until_next_probe(struct breaker *b, int64_t now_ms)
{
    int64_t pause = LONGEST_PAUSE_MS;
    if (b->failures < 5) { /* 250, 500, 1,000, 2,000, 4,000, then 5,000 */
        pause = (int64_t)FIRST_PAUSE_MS << b->failures;
    }
    b->state = BREAKER_OPEN;
    b->next_probe_ms = now_ms + pause * 4 / 5 + (int64_t)prng_below(&b->prng, pause * 2 / 5 + 1);
}

void breaker_trip(struct breaker *b, int64_t now_ms, const struct err *cause)
{
    if (b->state == BREAKER_HALF_OPEN) {
        breaker_probed(b, now_ms, false);
        return;
    }
    if (b->state == BREAKER_OPEN) {
        return;
    }
    b->failures = 0;
    b->opened_ms = now_ms;
    b->cause = *cause;
    open_until_next_probe(b, now_ms);
}

bool breaker_allows(const struct breaker *b)
{
    return b->state == BREAKER_CLOSED;
}

bool breaker_probe_due(struct breaker *b, int64_t now_ms)
{
    if (b->state != BREAKER_OPEN || now_ms < b->next_probe_ms) {
        return false;
    }
    b->state = BREAKER_HALF_OPEN;
    return true;
}

void breaker_probed(struct breaker *b, int64_t now_ms, bool good)
{
    if (b->state == BREAKER_CLOSED) {
        return;
    }
    if (good) {
        b->state = BREAKER_CLOSED;
        b->failures = 0;
        b->cause = ERR_INIT;
        return;
    }
    if (b->failures < UINT32_MAX) {
        b->failures++;
    }
    open_until_next_probe(b, now_ms);
}

const char *breaker_state_name(enum breaker_state state)
{
    switch (state) {
    case BREAKER_CLOSED:
        return "closed";
    case BREAKER_OPEN:
        return "open";
    case BREAKER_HALF_OPEN:
        return "half-open";
    }
    return "unknown";
}
