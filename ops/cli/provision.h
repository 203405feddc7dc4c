/* Stream and consumer configurations as the server takes them, and how two of them differ. Pure.
 *
 * Only fields that nats-server 2.9 and later ones know are made: older servers drop unknown fields
 * silently, newer ones refuse them. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "contracts/registry.h"
#include "ops/cli/fleet.h"

/* Caller owns. message_ttl: the server knows allow_msg_ttl (API level 1). */
json_t *provision_stream(const struct stream_def *def, int replicas, bool message_ttl);
/* The bucket of events/control.h, as a stream. */
json_t *provision_control(int replicas);
json_t *provision_consumer(const struct fleet_consumer *consumer);

/* What an operator may have set by hand and keeps: a max_bytes, max_msgs or max_msgs_per_subject
 * above the one that is wanted becomes the wanted one. */
void provision_keep_raised(const json_t *have, json_t *want);

typedef void provision_difference_fn(void *ctx, const char *field, const json_t *have,
                                     const json_t *want);
/* Fields of want that have answers otherwise; fields that only have knows don't count. Arrays of
 * strings compare as sets. Returns how many differ. */
unsigned provision_compare(const json_t *have, const json_t *want, provision_difference_fn *report,
                           void *ctx);
