/* /livez, /readyz, /startupz and /metrics on loopback, by libmicrohttpd, one internal thread.
 *
 * livez: every loop made progress within 60 s (no dependency). readyz: 200 only when every
 * dependency that the worker needs answers now and every lane runs; the body names what is missing,
 * and each outage: what opened the breaker, since when, when it is probed next. startupz: 503 until
 * the worker has served for the first time, then 200 to its end: no dependency that comes or goes
 * changes it. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"

struct health;

/* listen: "127.0.0.1:9101", port 0 = any free one (health_port tells). "" = no listener. */
MUST_CHECK int health_start(struct health **ret, const char *listen, struct err *err);
struct health *health_stop(struct health *h);
unsigned health_port(const struct health *h);
/* Thread-safe. reason is copied; NULL = ready. */
void health_set_dependency(struct health *h, enum dependency dep, bool ready, const char *reason);
/* An open circuit breaker. */
struct outage {
    const struct err *cause; /* what opened it */
    int64_t since_us;        /* wall clock */
    int64_t next_probe_ms;   /* monotonic; in the past: under way */
    unsigned failed_probes;
};
/* Thread-safe. Copied; NULL = it is over. */
void health_set_outage(struct health *h, enum dependency dep, const struct outage *outage);
/* Thread-safe. A consumer's lane that its own handler has shut: told among the outages by readyz,
 * which is ready all the same. The name must stay valid; NULL = it is over. */
#define HEALTH_SHUT_MAX 8
void health_set_shut(struct health *h, const char *consumer, const struct outage *outage);
void health_set_serving(struct health *h, bool serving, const char *reason);
/* A person has paused this consumer: told by readyz, which is ready all the same. The name must
 * stay valid; more than HEALTH_PAUSED_MAX are not told. */
#define HEALTH_PAUSED_MAX 32
void health_set_paused(struct health *h, const char *consumer, bool paused);
/* loop makes progress; below HEALTH_LOOPS_MAX, more are not watched. A loop that has beaten once
 * must go on (60 s) for the process to be live. */
#define HEALTH_LOOPS_MAX 128
void health_beat(struct health *h, unsigned loop);
bool health_is_ready(const struct health *h);
