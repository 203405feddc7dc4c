/* The routes: one const row each, from which matching, scope, members, idempotency, the subject on
 * the bus and the OpenAPI document come. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/clients.h"
#include "workers/command_api/members.h"

#define ROUTE_IDS_MAX 2
#define BODY_MAX (256u << 10)
#define DECISIONS_BODY_MAX (1u << 20)

/* How the responder speaks. */
enum bridge {
    BRIDGE_COMMAND,   /* JSON, Echora-Status */
    BRIDGE_REVIEW,    /* catalog.review.get: what a person decides on */
    BRIDGE_DECISION,  /* catalog.review.decide */
    BRIDGE_LETTERS,   /* dlq.list */
    BRIDGE_LETTER,    /* dlq.show */
    BRIDGE_PLAN,      /* dlq.replay, dlq.discard */
    BRIDGE_RECONCILE, /* catalog.reconcile */
    BRIDGE_ARTIFACT,  /* JSON, Echora-Status; a good reply is the artifact's bytes */
};

struct route {
    const char *method;
    const char *path; /* "/workflow/runs/{run_id}": a name in braces is one segment */
    const char *call; /* metrics, audit, OpenAPI's operationId */
    const char *subject;
    const char *summary; /* one sentence, for OpenAPI */
    unsigned scope;      /* one bit of SCOPE_ */
    bool keyed;          /* Idempotency-Key is required */
    bool lengthy;        /* may answer 202 with Location of the run */
    int success;
    enum bridge bridge;
    const struct member *members;
    size_t n_members;
    size_t body_max;
    /* Rules between members, once each is good. */
    void (*check)(const json_t *body, const char *pointer, struct refusal *r);
    bool names_actor; /* the caller's client id goes along as member `actor` */
};

extern const struct route routes[];
extern const size_t n_routes;

/* The route of method and path, its ids in the order of the pattern. NULL: none; *ret_allow then
 * says which methods the path has ("" = it is no path of ours). */
const struct route *route_match(struct view method, struct view path,
                                struct view ret_ids[static ROUTE_IDS_MAX],
                                char ret_allow[static 32]);
/* Whether good answers of this route may have this status. */
bool route_answers(const struct route *route, int64_t status);
/* The name of the i-th id in the route's pattern. */
struct view route_id_name(const struct route *route, unsigned i);
