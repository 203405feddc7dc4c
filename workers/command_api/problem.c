// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/problem.h"

#include <stdarg.h>
#include <stdio.h>

#define RETRY_AFTER_MOST_MS INT64_C(3600000)

const struct problem_def problem_defs[PROBLEM_MAX] = {
    [PROBLEM_NONE] = {"", 200, "", 0},
    [PROBLEM_SYNTAX] = {"validation_error", 400, "The request can't be read.", 0},
    [PROBLEM_INVALID] = {"validation_error", 422, "The request says something that it may not.", 0},
    [PROBLEM_UNAUTHENTICATED] = {"unauthenticated", 401, "A valid access token is needed.", 0},
    [PROBLEM_SCOPE] = {"insufficient_scope", 403, "The token does not have the scope.", 0},
    [PROBLEM_NOT_FOUND] = {"not_found", 404, "There is no such thing.", 0},
    [PROBLEM_METHOD] = {"method_not_allowed", 405, "The path does not have this method.", 0},
    [PROBLEM_IDEMPOTENCY] = {"idempotency_conflict", 409,
                             "The idempotency key belongs to another request.", 0},
    [PROBLEM_DECIDED] = {"already_decided", 409, "It was decided otherwise.", 0},
    [PROBLEM_RUN_STATE] = {"run_state_conflict", 409, "The run's state does not allow it.", 0},
    [PROBLEM_RUN_LOCK] = {"run_lock_conflict", 409, "Another run holds the lock.", 30},
    [PROBLEM_IN_PROGRESS] = {"request_in_progress", 409, "The same request is being carried out.",
                             2},
    [PROBLEM_TOO_LARGE] = {"payload_too_large", 413, "The body is too large.", 0},
    [PROBLEM_MEDIA_TYPE] = {"unsupported_media_type", 415, "The body must be JSON.", 0},
    [PROBLEM_HEAD_TOO_LARGE] = {"headers_too_large", 431, "The headers are too large.", 0},
    [PROBLEM_RATE] = {"rate_limited", 429, "Too many requests.", 1},
    [PROBLEM_FAILED] = {"non_retryable_error", 500, "It failed, and would fail again.", 0},
    [PROBLEM_UNAVAILABLE] = {"retryable_upstream_error", 503,
                             "Something that it needs is not there now.", 5},
    [PROBLEM_TIMEOUT] = {"retryable_upstream_error", 504, "No answer in time.", 5},
};

enum problem problem_find(struct view code, int64_t status)
{
    for (enum problem p = PROBLEM_NONE + 1; p < PROBLEM_MAX; p++) {
        if (view_is(code, problem_defs[p].code) &&
            (status == 0 || status == problem_defs[p].status))
            return p;
    }
    return PROBLEM_NONE;
}

void problem_text(const char *text, char *out, size_t size)
{
    const struct view cut = utf8_clean(view_of(text), out, size - 1);

    out[cut.n] = '\0';
}

bool refuse(struct refusal *r, enum problem problem, const char *fmt, ...)
{
    va_list ap;

    r->problem = problem;
    va_start(ap, fmt);
    (void)vsnprintf(r->detail, sizeof(r->detail), fmt, ap);
    va_end(ap);
    return false;
}

void violate(struct refusal *r, const char *pointer, const char *code)
{
    if (r->problem == PROBLEM_NONE)
        refuse(r, PROBLEM_INVALID, "One or more members break a rule; see violations.");
    if (r->n_violations == VIOLATIONS_MAX)
        return;
    struct violation *v = &r->violations[r->n_violations++];
    problem_text(pointer, v->pointer, sizeof(v->pointer));
    problem_text(code, v->code, sizeof(v->code));
}

int64_t refusal_retry_after_s(const struct refusal *r)
{
    const struct problem_def *def = &problem_defs[r->problem];

    if (def->retry_after_s == 0)
        return 0;
    if (r->retry_after_ms <= 0)
        return def->retry_after_s;
    return r->retry_after_ms < RETRY_AFTER_MOST_MS ? (r->retry_after_ms + 999) / 1000
                                                   : RETRY_AFTER_MOST_MS / 1000;
}

static void put(struct buf *out, const char *name, struct view text)
{
    buf_printf(out, ",\"%s\":", name);
    buf_put_json_string(out, text);
}

void problem_write(const struct refusal *r, const char *request_id, struct buf *out)
{
    const struct problem_def *def = &problem_defs[r->problem];

    buf_printf(out, "{\"type\":\"urn:echora:problem:%s\",\"instance\":\"urn:uuid:%s\"", def->code,
               request_id);
    put(out, "title", view_of(def->title));
    buf_printf(out, ",\"status\":%d", def->status);
    put(out, "detail", view_of(r->detail));
    put(out, "code", view_of(def->code));
    buf_printf(out, ",\"retryable\":%s", def->retry_after_s > 0 ? "true" : "false");
    buf_puts(out, ",\"violations\":[");
    for (unsigned i = 0; i < r->n_violations; i++) {
        buf_puts(out, i > 0 ? ",{\"pointer\":" : "{\"pointer\":");
        buf_put_json_string(out, view_of(r->violations[i].pointer));
        put(out, "code", view_of(r->violations[i].code));
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
    if (r->phase[0] != '\0')
        put(out, "phase", view_of(r->phase));
    if (r->state[0] != '\0')
        put(out, "state", view_of(r->state));
    if (r->holder_run_id > 0)
        buf_printf(out, ",\"holder_run_id\":%lld", (long long)r->holder_run_id);
    if (r->scope != NULL)
        put(out, "scope", view_of(r->scope));
    buf_putc(out, '}');
}
