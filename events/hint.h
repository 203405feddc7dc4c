/* Waiting for hints: empty core NATS messages that say "look now". They may be lost, doubled or
 * late; whoever waits for them polls as well. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/bus.h"

struct hint;

MUST_CHECK int hint_open(struct hint **ret, struct bus *bus, const char *subject, struct err *err);
struct hint *hint_close(struct hint *h); /* takes NULL; before its bus is closed */
/* Waits at most timeout_ms for a hint (0 = only looks), and forgets all that have come. True when
 * there was one. When the connection is away it sleeps. */
bool hint_wait(struct hint *h, int64_t timeout_ms);
