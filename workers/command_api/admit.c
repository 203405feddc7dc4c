/* Who calls, whether they may, and whether it is too often. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/fault.h"
#include "events/log.h"
#include "workers/command_api/call.h"

/* Bad tokens spend the bucket of the address that they come from, never a client's. */
static bool refuse_peer(struct call *c)
{
    struct rate_state state;
    char peer[RATE_PEER_SIZE];

    rate_peer(scgi_variable(&c->connection->head, "REMOTE_ADDR"), peer);
    rate_spend(c->api->rate, view_of(peer), &rate_defaults[RATE_PEER], &state);
    if (state.allowed)
        return false;
    c->refusal.retry_after_ms = state.more_s * 1000;
    refuse(&c->refusal, PROBLEM_RATE, "Too many calls without a good token.");
    return true;
}

static bool refuse_token(struct call *c, enum token_reason reason)
{
    if (FAULT("token-told"))
        log_debug("token",
                  LF_VIEW("text", scgi_variable(&c->connection->head, "HTTP_AUTHORIZATION")));
    if (reason == TOKEN_KEYS_AWAY)
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "The issuer's keys are not at hand.");
    /* One that has expired was signed by the issuer, so nobody guesses. Callers get themselves a
     * new one on 401 alone: others at the same address must not keep that from them. */
    if (reason != TOKEN_EXPIRED && refuse_peer(c))
        return false;
    c->invalid_token = reason != TOKEN_ABSENT;
    return refuse(&c->refusal, PROBLEM_UNAUTHENTICATED, "%s",
                  reason == TOKEN_ABSENT ? "Send an access token: Authorization: Bearer."
                                         : "The access token is not valid, or no longer.");
}

bool call_authenticate(struct call *c)
{
    struct view authorization;

    if (!scgi_only(&c->connection->head, "HTTP_AUTHORIZATION", &authorization))
        return refuse(&c->refusal, PROBLEM_SYNTAX, "There is more than one Authorization.");
    const enum token_reason reason = auth_check(c->api->auth, authorization, &c->caller);
    c->token = token_reason_text(reason);
    if (reason != TOKEN_OK)
        return refuse_token(c, reason);
    c->authenticated = true;
    return true;
}

static const char *scope_text(unsigned scope)
{
    return scope == SCOPE_READ      ? "workflow.read"
           : scope == SCOPE_EXECUTE ? "workflow.execute"
                                    : "workflow.approve";
}

bool call_may(struct call *c, unsigned scope)
{
    if (c->caller.scopes & scope || FAULT("scope-unchecked"))
        return true;
    c->refusal.scope = scope_text(scope);
    return refuse(&c->refusal, PROBLEM_SCOPE, "This call needs the scope %s.", scope_text(scope));
}

bool call_in_scope(struct call *c)
{
    return call_may(c, c->route->scope);
}

static struct rate_limit limit_of(const struct caller *caller, unsigned scope)
{
    const enum rate_class class = scope == SCOPE_READ      ? RATE_READ
                                  : scope == SCOPE_EXECUTE ? RATE_EXECUTE
                                                           : RATE_APPROVE;
    struct rate_limit limit = rate_defaults[class];

    limit.quota = scope == SCOPE_READ      ? caller->limits.read
                  : scope == SCOPE_EXECUTE ? caller->limits.execute
                                           : caller->limits.approve;
    return limit;
}

bool call_within_rate(struct call *c)
{
    const struct rate_limit limit = limit_of(&c->caller, c->route->scope);
    struct rate_state state;

    rate_spend(c->api->rate, view_of(c->caller.client), &limit, &state);
    rate_policy_field(&limit, c->rate_policy);
    rate_limit_field(&limit, &state, c->rate);
    if (state.allowed)
        return true;
    c->refusal.retry_after_ms = state.more_s * 1000;
    return refuse(&c->refusal, PROBLEM_RATE, "The quota of %s calls is used up.", limit.name);
}
