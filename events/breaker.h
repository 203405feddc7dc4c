/* A circuit breaker per dependency: closed, open, half-open. Pure; the caller gives the time.
 *
 * Trouble (ERR_UNAVAILABLE) opens it; while it is open nothing is fetched and the dependency is
 * probed by a ping with growing pauses (250 ms to 5 s), never by an event. A good probe closes it.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/backoff.h"
#include "events/base/err.h"

enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };

struct breaker {
    enum dependency dependency;
    enum breaker_state state;
    unsigned failures; /* failed probes since it opened */
    int64_t opened_ms; /* monotonic */
    int64_t next_probe_ms;
    struct err cause; /* what opened it; class ERR_NONE while it is closed */
    struct prng prng;
};

void breaker_init(struct breaker *b, enum dependency dep, uint64_t seed);
void breaker_trip(struct breaker *b, int64_t now_ms, const struct err *cause);
bool breaker_allows(const struct breaker *b);              /* closed */
bool breaker_probe_due(struct breaker *b, int64_t now_ms); /* open and due: becomes half-open */
void breaker_probed(struct breaker *b, int64_t now_ms, bool good);
const char *breaker_state_name(enum breaker_state state);
