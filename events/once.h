/* Requests that have their effect once, however often they come: header Echora-Idem (spec
 * command-api.md, "On the bus"), <SHA-256 in hex>:<token>.
 *
 * The reply is kept in the effect's transaction (table ops.kept_reply), for 30 days. The same key
 * again gets that reply and has no effect, whether the first reply arrived or not. The token says
 * whose turn it is: one lower than the highest that asked belongs to somebody who lost the claim
 * on the key, and is refused. Without the header everything is as if this did not exist.
 *
 *     once_read(request, &once, err)
 *     pg_begin
 *     once_begin(pg, &once, &kept, err)     kept: commit and answer with it
 *     ... the effect, and the reply of it ...
 *     once_keep(pg, &once, 200, reply, err)
 *     pg_commit
 *
 * A worker without PostgreSQL keeps it with the broker: kept.h. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/hash.h"
#include "events/worker.h"

struct once {
    bool asked; /* the header is there */
    const struct request *request;
    uint8_t key[SHA256_SIZE], digest[SHA256_SIZE]; /* digest: of subject and message */
    int64_t token;
};

/* Code bad-request (ERR_REJECT) when the header is none, too-large, no-memory. */
MUST_CHECK int once_read(const struct request *request, struct once *ret, struct err *err);
/* Whether what stands under the key, of the same request or not and with the highest token so far,
 * is this one's to have. Codes as once_begin. */
MUST_CHECK int once_check(const struct once *once, bool same, int64_t token, struct err *err);
/* Outside a transaction: the kept reply, in the request's arena; NULL when there is none. Codes as
 * once_begin. */
MUST_CHECK int once_find(struct pg *pg, const struct once *once, ProtobufCMessage **ret_kept,
                         struct err *err);
/* First in the transaction, or behind locks that every request of this key takes as well: takes the
 * key, waiting for who has it. *ret_kept as above; NULL: have the effect, then once_keep. Codes
 * idempotency-conflict (ERR_REJECT), stale-token (ERR_RETRY). */
MUST_CHECK int once_begin(struct pg *pg, const struct once *once, ProtobufCMessage **ret_kept,
                          struct err *err);
/* In the same transaction: the effect was refused there. The key is free again; left as it is, it
 * would stand for an effect. */
MUST_CHECK int once_drop(struct pg *pg, const struct once *once, struct err *err);
/* In the same transaction. status: of HTTP. */
MUST_CHECK int once_keep(struct pg *pg, const struct once *once, int status,
                         const ProtobufCMessage *reply, struct err *err);
/* A chore, every minute or so: deletes some of what is older than 30 days, whoever kept it. */
MUST_CHECK int once_forget(struct pg *pg, struct err *err);
