/* What people have switched off: consumers that are paused.
 *
 * A key of the key-value bucket echora_control that exists pauses its consumer: "paused.<durable>",
 * with the reason as its value. A bucket because nats-server before 2.11 knows no paused consumers;
 * it outlives workers and servers, and `nats kv put` and `nats kv del` write it as well. Without
 * the bucket nothing is paused. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"

#define CONTROL_STREAM "KV_echora_control"
#define CONTROL_PAUSED "$KV.echora_control.paused." /* and the durable */

struct pause_state {
    bool paused;
    int64_t since_us; /* wall clock of the server */
    char why[200];
};
/* One request to the server. */
MUST_CHECK int control_pause_of(struct bus *bus, const char *durable, struct pause_state *ret,
                                struct err *err);
