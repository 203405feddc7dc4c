/* A window of events that are published together and acknowledged together.
 *
 * Events of a window whose ack is missing are sent again (their message ids make that harmless);
 * what the broker refuses for good is reported. Per event one call of report. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"
#include "ops/cli/cli.h"

struct publisher;

/* What became of one event. err->class is ERR_NONE when it is stored (ack says where, or that it
 * was stored before). */
struct published {
    const struct subject_def *def;
    const char *event_id, *entity_id, *trace_id;
    uint64_t tag; /* as given to publisher_add */
    const struct bus_ack *ack;
    const struct err *err;
};
typedef void published_fn(void *ctx, const struct published *event);

MUST_CHECK int publisher_new(struct publisher **ret, struct cli *cli, published_fn *report,
                             void *ctx, struct err *err);
struct publisher *publisher_free(struct publisher *p); /* takes NULL; does not flush */
/* Copies the message. Sends the window when it is full. */
MUST_CHECK int publisher_add(struct publisher *p, const struct subject_def *def,
                             const ProtobufCMessage *message, uint64_t tag, struct err *err);
/* Sends what is held. -1 when the broker stays out of reach. */
MUST_CHECK int publisher_flush(struct publisher *p, struct err *err);

/* So far. */
struct publisher_counts {
    uint64_t stored, duplicates, refused, last_sequence;
};
struct publisher_counts publisher_counts(const struct publisher *p);
