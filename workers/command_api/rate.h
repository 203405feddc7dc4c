/* Rate limits: GCRA per client and class of scope, in Redis, or in this process while Redis is
 * away.
 *
 * A bucket is one time: when it will be full again. Spending a unit moves it by window / quota;
 * what would move it further than a whole window from now is refused. So a burst is a whole quota,
 * and units come back one by one. Local buckets are this process' alone, in a table of fixed size:
 * a fleet of n processes then lets n quotas through, and a bucket that must give way is full. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/redis.h"

struct rate_limit {
    const char *name; /* of the policy in the headers; [a-z-] */
    int64_t quota;    /* also the burst */
    int64_t window_s;
};
/* Defaults of the document; RATE_PEER is for addresses that send bad tokens. */
enum rate_class { RATE_READ, RATE_EXECUTE, RATE_APPROVE, RATE_PEER, RATE_CLASSES };
extern const struct rate_limit rate_defaults[RATE_CLASSES];

struct rate_state {
    bool allowed;
    bool local;        /* told by this process' own buckets */
    int64_t remaining; /* units that could be spent now */
    int64_t more_s;    /* until there is one more unit, rounded up: of RateLimit and Retry-After */
};

/* Pure: spends a unit of the bucket, unless that is refused. Times in microseconds of one clock. */
void rate_take(int64_t *full_at_us, int64_t now_us, const struct rate_limit *limit,
               struct rate_state *ret);
/* Pure: what the distance of a bucket from now says. */
void rate_read(int64_t until_full_us, bool allowed, const struct rate_limit *limit,
               struct rate_state *ret);

struct rate;
/* redis is borrowed; NULL: local buckets only. NULL when out of memory. */
struct rate *rate_new(struct redis *redis);
struct rate *rate_free(struct rate *r); /* takes NULL, returns NULL */
/* Spends a unit of who's bucket for limit->name. Never fails: without Redis the local bucket tells.
 * Thread-safe. */
void rate_spend(struct rate *r, struct view who, const struct rate_limit *limit,
                struct rate_state *ret);

/* Pure: whose bucket bad tokens of this peer spend: an IPv4 address (also one mapped into IPv6), or
 * the first 64 bits of an IPv6 address, for who has one of those has them all. What is no address
 * is taken as it is. */
#define RATE_PEER_SIZE 64
void rate_peer(struct view address, char out[static RATE_PEER_SIZE]);

/* Values of the fields: "execute";q=60;w=60 and "execute";r=12;t=1. */
#define RATE_FIELD_SIZE 96
void rate_policy_field(const struct rate_limit *limit, char out[static RATE_FIELD_SIZE]);
void rate_limit_field(const struct rate_limit *limit, const struct rate_state *state,
                      char out[static RATE_FIELD_SIZE]);
