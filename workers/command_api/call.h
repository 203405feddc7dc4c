/* One call, from its head to its answer. The order is fixed:
 *
 * room, route, token, rate, scope, body, members, room again, idempotency, audit of the intent,
 * request on the bus, finish, audit of the outcome, answer, log. Whatever refuses ends it there;
 * nothing behind the token is looked at without one. The rate comes before whatever leaves a
 * record. The record of the outcome is sent before the answer; the stream's word for it is looked
 * at later, since the answer is the same without it. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"
#include "events/base/uuid.h"
#include "events/trace.h"
#include "workers/command_api/api.h"
#include "workers/command_api/connection.h"
#include "workers/command_api/idempotency.h"
#include "workers/command_api/target.h"

/* Of a 202 that points to its run: when to look. */
#define RETRY_AFTER_LONG_S 5
/* Where a run's progress is, behind it the run's number. */
#define CALL_RUNS "/workflow/runs/"

struct call {
    struct api *api;
    struct connection *connection;
    struct arena *arena;
    int64_t began_us;
    char id[UUID_TEXT]; /* of the request */
    struct span span;

    struct view method, media_type;
    struct target target;
    struct view ids[ROUTE_IDS_MAX];
    const struct route *route;
    const char *token; /* what became of it, for the log; "" before it was looked at */
    bool authenticated;
    bool entered; /* counts among those in flight */
    struct caller caller;
    struct buf body; /* as it came */
    json_t *members; /* body, path and query */
    bool members_checked;
    bool approves;   /* needs workflow.approve, by its route or by its members */
    struct view key; /* of the header Idempotency-Key; empty p when there is none */
    int64_t wait_ms; /* Prefer: wait */
    struct idem_key idem_key;
    struct idem_claim claim;
    bool claimed, claim_lost;
    bool unfinished;  /* the answer says that it goes on, and is not kept */
    int64_t renew_ms; /* monotonic: when the claim is to be renewed */

    /* What is answered: refusal.problem when it is set, else these. */
    struct refusal refusal;
    int status;
    struct view reply;
    const char *content_type;
    char location[128];
    int64_t retry_after_s;
    bool replayed;
    char allow[32];
    char rate_policy[RATE_FIELD_SIZE], rate[RATE_FIELD_SIZE]; /* header values; "" = none */
    bool invalid_token;                                       /* a token came, and was no good */
};

/* Of what is answered: status, and the problem's code ("" = none). */
int call_status(const struct call *call);
const char *call_code(const struct call *call);
void call_serve(void *ctx, struct connection *connection);

/* The parts, in files of their own. False: call->refusal says why. */
MUST_CHECK bool call_authenticate(struct call *call); /* admit.c */
MUST_CHECK bool call_in_scope(struct call *call);
/* Also asks for what the caller's members make necessary. */
MUST_CHECK bool call_may(struct call *call, unsigned scope);
MUST_CHECK bool call_within_rate(struct call *call);
MUST_CHECK bool call_read(struct call *call); /* input.c: body, members, headers */
/* claim.c. False with refusal.problem PROBLEM_NONE: it was done before, and the call holds the
 * answer of that time. */
MUST_CHECK bool call_claim(struct call *call);
void call_renew(struct call *call);          /* when it is due */
void call_unclaim(struct call *call);        /* keeps or forgets the answer, as it is worth */
MUST_CHECK bool call_ask(struct call *call); /* ask.c */
MUST_CHECK bool call_audit_intent(struct call *call); /* audit.c */
void call_audit_outcome(struct call *call);
void call_audit_failed(void *ctx, const char *request_id, const struct err *err); /* of bus_acks */
/* answer.c: the whole answer, for the gateway. */
void answer_write(const struct call *call, struct buf *out);
