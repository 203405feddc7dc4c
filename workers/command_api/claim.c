/* The Idempotency-Key of a call: claimed before anything is done, its answer kept or let go. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "workers/command_api/call.h"

#define GOOD_TYPE "application/json"
#define PROBLEM_TYPE "application/problem+json"

static bool away(struct call *c, const struct err *err)
{
    log_warn("idempotency keys can't be looked up", LF_STR("request_id", c->id),
             LF_STR("code", err->code), LF_STR("reason", err->text));
    return refuse(&c->refusal, PROBLEM_UNAVAILABLE,
                  "Idempotency keys can't be looked up now; nothing was done.");
}

/* What keep() below has written. Anything else is another's, and would become a head of ours. */
static bool is_kept_answer(const struct route *route, const struct idem_answer *answer)
{
    static const char runs[] = CALL_RUNS;
    struct view run = answer->location;
    int64_t number;

    if (run.n > 0) {
        if (!view_starts_with(run, runs))
            return false;
        run = (struct view){run.p + sizeof(runs) - 1, run.n - (sizeof(runs) - 1)};
        if (!view_to_i64(run, 1, MEMBER_INTEGER_MAX, &number))
            return false;
    }
    return route_answers(route, answer->status)
               ? view_is(answer->type, GOOD_TYPE)
               : answer->status == problem_defs[PROBLEM_FAILED].status &&
                     view_is(answer->type, PROBLEM_TYPE);
}

static bool answer_again(struct call *c, const struct idem_answer *answer)
{
    if (!is_kept_answer(c->route, answer))
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "What is kept of the key can't be read.");
    const char *body = arena_strdup(c->arena, answer->body);
    const char *type = arena_strdup(c->arena, answer->type);
    const char *location = arena_strdup(c->arena, answer->location);

    if (body == NULL || type == NULL || location == NULL)
        return refuse(&c->refusal, PROBLEM_UNAVAILABLE, "No memory.");
    c->status = (int)answer->status;
    c->reply = (struct view){body, answer->body.n};
    c->content_type = type;
    snprintf(c->location, sizeof(c->location), "%s", location);
    if (c->status == 202 && c->route->lengthy)
        c->retry_after_s = RETRY_AFTER_LONG_S;
    c->replayed = true;
    return false;
}

static bool take_up(struct call *c, const struct idem_begun *b)
{
    switch (b->outcome) {
    case IDEM_NEW:
    case IDEM_TAKEOVER:
        c->claim = b->claim;
        c->claimed = true;
        c->renew_ms = mono_ms() + IDEM_RENEW_MS;
        return true;
    case IDEM_MISMATCH:
        return refuse(&c->refusal, PROBLEM_IDEMPOTENCY,
                      "The key came before with another method, path, query or body.");
    case IDEM_BUSY:
        c->refusal.retry_after_ms = b->busy_ms;
        return refuse(&c->refusal, PROBLEM_IN_PROGRESS, "The first call with this key goes on.");
    case IDEM_REPLAY:
        break;
    }
    return answer_again(c, &b->answer);
}

bool call_claim(struct call *c)
{
    const struct idem_request request = {.method = c->method,
                                         .path = c->target.path,
                                         .query = c->target.query,
                                         .media_type = c->media_type,
                                         .body = buf_view(&c->body)};
    char fingerprint[IDEM_FINGERPRINT_SIZE];
    struct idem_begun begun CLEANUP(idem_begun_deinit) = {0};
    struct err err = ERR_INIT;

    if (c->key.p == NULL || FAULT("claim-left-out"))
        return true;
    if (!idem_key_make(view_of(c->caller.client), c->target.path, c->key, &c->idem_key) ||
        !idem_fingerprint(&request, fingerprint))
        return refuse(&c->refusal, PROBLEM_SYNTAX, "The request's target has too many parts.");
    if (idem_begin(c->api->redis, &c->idem_key, fingerprint, &begun, &err) < 0)
        return FAULT("claim-for-granted") || away(c, &err);
    return take_up(c, &begun);
}

void call_renew(struct call *c)
{
    struct err err = ERR_INIT;
    bool kept = true;

    if (!c->claimed || c->claim_lost || mono_ms() < c->renew_ms || FAULT("claim-unrenewed"))
        return;
    c->renew_ms = mono_ms() + IDEM_RENEW_MS;
    if (idem_renew(c->api->redis, &c->idem_key, &c->claim, &kept, &err) < 0)
        log_warn("a claim was not renewed", LF_STR("request_id", c->id), LF_STR("code", err.code));
    c->claim_lost = !kept;
}

/* 2xx, and what would fail in the same way again. */
static bool is_kept(const struct call *c)
{
    return !c->unfinished &&
           (c->refusal.problem == PROBLEM_NONE || c->refusal.problem == PROBLEM_FAILED);
}

static bool keep(struct call *c, bool *ret_kept, struct err *err)
{
    struct buf problem CLEANUP(buf_deinit) = {.max = IDEM_BODY_MAX};
    const bool good = c->refusal.problem == PROBLEM_NONE;

    if (!good)
        problem_write(&c->refusal, c->id, &problem);
    const struct idem_answer answer = {.status = good ? c->status
                                                      : problem_defs[c->refusal.problem].status,
                                       .type = good ? VIEW_LIT(GOOD_TYPE) : VIEW_LIT(PROBLEM_TYPE),
                                       .location = view_of(c->location),
                                       .body = good ? c->reply : buf_view(&problem)};
    return idem_finish(c->api->redis, &c->idem_key, &c->claim, &answer, ret_kept, err) == 0;
}

void call_unclaim(struct call *c)
{
    struct err err = ERR_INIT;
    bool kept = true;

    if (!c->claimed)
        return;
    c->claimed = false;
    if (is_kept(c) && keep(c, &kept, &err)) {
        /* Another has taken over: what was done is told by the responder's own record. */
        if (!kept)
            refuse(&c->refusal, PROBLEM_IN_PROGRESS, "Another call with this key took over.");
        return;
    }
    if (err.class == ERR_NONE || err.class == ERR_REJECT) {
        if (idem_release(c->api->redis, &c->idem_key, &c->claim, &kept, &err) == 0)
            return;
    }
    /* The lease ends by itself; the next call with the key asks the responder, which knows. */
    log_warn("the answer to a key was not kept", LF_STR("request_id", c->id),
             LF_STR("code", err.code), LF_STR("reason", err.text));
}
