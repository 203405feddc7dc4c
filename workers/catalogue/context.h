/* What a lane of the catalogue worker owns: its connections and buffers. Nothing is shared. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"
#include "events/pg.h"
#include "outbox/append.h"

struct catalogue {
    struct pg *pg;         /* borrowed from the lane */
    struct bus *bus;       /* borrowed from the lane */
    struct outbox *outbox; /* owned */
};
