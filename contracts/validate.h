/* What makes an event refused (spec contracts.md), as pure functions. The same checks run in the
 * runtime before a handler sees an event, in `echora validate`, before `echora publish`, and behind
 * the request contracts.validate. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"
#include "events/base/err.h"

/* One fault. Never holds a value, only where, which rule and what kind of value was there. */
struct fault {
    const char *
        code; /* stable, listed in codes.def: "bad-uuid", "missing-required", "out-of-range", ... */
    char path[160]; /* "anime.score.median", "episodes[3].episode_number" */
    char text[200]; /* rule, for people */
    char kind[24];  /* "string", "number", "absent", ... */
};
typedef void fault_fn(void *ctx, const struct fault *fault);

#define VALIDATE_MAX_FAULTS 100

/* Reports every fault, but at most VALIDATE_MAX_FAULTS; returns how many. report may be NULL.
 * now_us: for the future-timestamp rule (10 minutes). Messages of requests have no rules here. */
unsigned validate_event(const struct subject_def *def, const ProtobufCMessage *message,
                        int64_t now_us, fault_fn *report, void *ctx);
/* The first fault as an ERR_REJECT. */
MUST_CHECK int validate_or_err(const struct subject_def *def, const ProtobufCMessage *message,
                               int64_t now_us, struct err *err);
