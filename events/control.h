/* The bucket echora_control: what people have switched off, and passes that workers share.
 *
 * A key of the key-value bucket echora_control that exists pauses its consumer: "paused.<durable>",
 * with the reason as its value. A bucket because nats-server before 2.11 knows no paused consumers;
 * it outlives workers and servers, and `nats kv put` and `nats kv del` write it as well. Without
 * the bucket nothing is paused. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/bus.h"

#define CONTROL_STREAM "KV_echora_control"
#define CONTROL_KEYS "$KV.echora_control."
#define CONTROL_PAUSED CONTROL_KEYS "paused." /* and the durable */

/* The value of a key as text, cut to what fits; of a deleted one only its sequence. */
struct control_value {
    bool found;
    uint64_t sequence; /* of what the bucket holds for the key; 0 = nothing */
    int64_t since_us;  /* wall clock of the server */
    char text[200];
};
MUST_CHECK int control_read(struct bus *bus, const char *key, struct control_value *ret,
                            struct err *err);
/* Writes a key if it still stands at *sequence, which becomes the new one. Code nats-10071 when it
 * does not. */
MUST_CHECK int control_write(struct bus *bus, const char *key, const char *text, uint64_t *sequence,
                             struct err *err);

struct pause_state {
    bool paused;
    int64_t since_us; /* wall clock of the server */
    char why[200];
};
/* One request to the server. */
MUST_CHECK int control_pause_of(struct bus *bus, const char *durable, struct pause_state *ret,
                                struct err *err);
