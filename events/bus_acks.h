/* Publishes for which nobody waits: the broker's word is looked at later, by whoever publishes next
 * or looks.
 *
 * What was not acknowledged within the connection's timeout, or was refused, is told to `failed`,
 * once, with the note that it was published with. Thread-safe. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"

#define BUS_NOTE_SIZE 40

struct bus_acks;

/* failed: must not call back; may come from any thread that is inside one of these calls. NULL when
 * out of memory. */
struct bus_acks *bus_acks_new(struct bus *bus,
                              void (*failed)(void *ctx, const char *note, const struct err *err),
                              void *ctx);
/* Waits for what is not acknowledged yet, no longer than the connection's timeout. Before
 * bus_close; nobody may be inside. Takes NULL, returns NULL. */
struct bus_acks *bus_acks_free(struct bus_acks *a);
/* On 0 it is on its way. Waits only while BUS_ACKS_MAX others have no acknowledgement. note: its
 * first BUS_NOTE_SIZE - 1 bytes are kept. */
#define BUS_ACKS_MAX 1024
MUST_CHECK int bus_acks_publish(struct bus_acks *a, const struct bus_message *message,
                                const char *note, struct err *err);
/* Never waits. To be called now and then, so that what failed last is told, too. */
void bus_acks_look(struct bus_acks *a);
