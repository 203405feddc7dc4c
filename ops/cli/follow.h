/* What `echora follow` has found: the stations of one event or entity, in order. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "ops/cli/chain.h"

/* Newest messages of a stream that are looked through for an id. */
#define FOLLOW_SEARCHED 2000

enum follow_state { DONE, WAITING, FAILED, UNKNOWN };

struct station {
    const char *name;
    enum follow_state state;
    int64_t at_us;
    char trace_id[33];
    char text[400];
};
#define MAX_STATIONS 10

struct path {
    struct station stations[MAX_STATIONS];
    size_t n;
    struct chain_entity entity;
    struct chain_review review;
    struct uuid event;
    bool has_event, by_entity, pg_away, nats_away;
};

/* Notes a station. at_us 0 and trace_id "" = not known. */
void reach(struct path *p, const char *name, enum follow_state state, int64_t at_us,
           const char *trace_id, const char *fmt, ...) PRINTF_LIKE(6, 7);
/* Takes an error of a server that is away as the station's state; passes other errors on (-1). */
MUST_CHECK int reach_away(struct path *p, const char *name, const struct err *err);

/* follow_review.c */
/* The id of a review, reminder or decision in p->event becomes that of its update; fills p->review
 * when there is one. */
MUST_CHECK int follow_take_review(struct cli *cli, struct path *p, struct err *err);
/* What the catalogue did with an update that it parked. */
void follow_parked(struct path *p, const struct chain_handled *handled);
/* The flagged copy, the webhook, the decision; nothing when there is no review. */
MUST_CHECK int follow_review(struct cli *cli, struct path *p, struct err *err);
