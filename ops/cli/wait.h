/* --wait indexed: follows published events to their end: done, parked, pending or rejected.
 *
 * The chain is asked by its own bounds: the consumer has settled the last sequence, the outbox row
 * that was newest then is published, and every consumer of ANIME_SYNC has settled what lay in the
 * stream then. So traffic of others does not hold it up. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/registry.h"
#include "events/base/uuid.h"
#include "ops/cli/cli.h"

struct wait_list {
    struct uuid *ids;
    size_t n, room;
    uint64_t last_sequence;
};
void wait_list_add(struct wait_list *list, const char *event_id, uint64_t sequence);
void wait_list_free(struct wait_list *list);

struct wait_result {
    uint64_t applied, unchanged, parked, pending, rejected;
};
/* Needs pg-url and rights to consumer state. ERR_RETRY with code timeout when it is not over in
 * timeout_ms. */
MUST_CHECK int wait_indexed(struct cli *cli, const struct subject_def *def,
                            const struct wait_list *list, int64_t timeout_ms,
                            struct wait_result *ret, struct err *err);
/* Fails early when that can't work. */
MUST_CHECK int wait_check(struct cli *cli, struct err *err);
