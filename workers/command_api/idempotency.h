/* What Redis remembers of a request with an Idempotency-Key: who is at work on it, and its answer.
 *
 * One hash per client, path and key (spec command-api.md, "Idempotency-Key"). Who begins claims it
 * for 30 s at a time, with a token that rises by one at each new claim; who stops renewing loses it
 * to the next, and its finish is refused. The token goes to the responder with the request, which
 * keeps its own record in the effect's transaction (events/once.h): Redis may forget everything,
 * and nothing is done twice. So that tokens rise then, too, the first one is the time. Only the
 * server's clock counts.
 *
 * Errors of all calls are those of events/redis.h: then nothing is known, and nothing may be done.
 * Thread-safe. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/hash.h"
#include "events/redis.h"

#define IDEM_LEASE_MS 30000
#define IDEM_RENEW_MS 10000
#define IDEM_BODY_MAX ((size_t)64 << 10)

/* Pure: the key that a header's value holds, 1 to 255 of [A-Za-z0-9._:-], bare or in double quotes.
 * What it points to is the value's. */
MUST_CHECK bool idem_key_parse(struct view value, struct view *ret);

struct idem_key {
    char redis[512];                /* the hash's name */
    char hash[2 * SHA256_SIZE + 1]; /* hex SHA-256 of that name, for Echora-Idem */
};
/* Pure. client: of the token. path: of the request, at most 256 bytes. false: it is longer. */
MUST_CHECK bool idem_key_make(struct view client, struct view path, struct view key,
                              struct idem_key *ret);

/* What makes two requests the same. */
struct idem_request {
    struct view method, path;
    struct view query;      /* as it came, without the '?': its parts count in any order */
    struct view media_type; /* parameters and case do not count */
    struct view body;       /* raw */
};
#define IDEM_FINGERPRINT_SIZE (2 * SHA256_SIZE + 1)
/* Pure: hex SHA-256. false: the query has more than 64 parts. */
MUST_CHECK bool idem_fingerprint(const struct idem_request *request,
                                 char out[static IDEM_FINGERPRINT_SIZE]);

enum idem_outcome {
    IDEM_NEW,      /* claimed: do it */
    IDEM_TAKEOVER, /* claimed; another began it before, and may be at work on it still */
    IDEM_MISMATCH, /* the key stands for another request */
    IDEM_REPLAY,   /* done before: the answer is here */
    IDEM_BUSY,     /* another is at work on it, for busy_ms more if it does not renew */
};
struct idem_claim {
    char owner[33];
    int64_t token; /* for Echora-Idem */
};
struct idem_answer {
    int64_t status; /* of HTTP */
    struct view type, location, body;
};
struct idem_begun {
    enum idem_outcome outcome;
    struct idem_claim claim;   /* IDEM_NEW, IDEM_TAKEOVER */
    int64_t busy_ms;           /* IDEM_BUSY; at least 1 */
    struct idem_answer answer; /* IDEM_REPLAY; points into values */
    struct redis_values values;
};
void idem_begun_deinit(struct idem_begun *b); /* may stand on a zeroed one */

/* *ret must be deinitialised when it returns 0. */
MUST_CHECK int idem_begin(struct redis *r, const struct idem_key *key, const char *fingerprint,
                          struct idem_begun *ret, struct err *err);
/* Every IDEM_RENEW_MS while the work lasts. *ret_kept false: the claim is lost, another may be at
 * work; what comes of ours is not to be answered. */
MUST_CHECK int idem_renew(struct redis *r, const struct idem_key *key,
                          const struct idem_claim *claim, bool *ret_kept, struct err *err);
/* Keeps the answer for 30 days. *ret_kept false as above: ask idem_begin again and answer that.
 * too-large (ERR_REJECT) when the body has more than IDEM_BODY_MAX: release instead, the
 * responder's record gives the same reply again. */
MUST_CHECK int idem_finish(struct redis *r, const struct idem_key *key,
                           const struct idem_claim *claim, const struct idem_answer *answer,
                           bool *ret_kept, struct err *err);
/* Nothing is to be kept: the next who asks may begin at once, with any fingerprint. */
MUST_CHECK int idem_release(struct redis *r, const struct idem_key *key,
                            const struct idem_claim *claim, bool *ret_kept, struct err *err);
