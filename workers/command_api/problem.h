/* Refusals as callers see them: one table of codes, and the body of application/problem+json
 * (RFC 9457). A refusal names members and rules, never a value that somebody sent. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"
#include "events/base/err.h"
#include "events/base/view.h"

enum problem {
    PROBLEM_NONE,
    PROBLEM_SYNTAX,  /* validation_error 400: syntax, headers */
    PROBLEM_INVALID, /* validation_error 422: schema, meaning */
    PROBLEM_UNAUTHENTICATED,
    PROBLEM_SCOPE,
    PROBLEM_NOT_FOUND,
    PROBLEM_METHOD,
    PROBLEM_IDEMPOTENCY,
    PROBLEM_DECIDED,
    PROBLEM_RUN_STATE,
    PROBLEM_RUN_LOCK,
    PROBLEM_IN_PROGRESS,
    PROBLEM_TOO_LARGE,
    PROBLEM_MEDIA_TYPE,
    PROBLEM_HEAD_TOO_LARGE,
    PROBLEM_RATE,
    PROBLEM_FAILED,      /* non_retryable_error 500 */
    PROBLEM_UNAVAILABLE, /* retryable_upstream_error 503 */
    PROBLEM_TIMEOUT,     /* retryable_upstream_error 504 */
    PROBLEM_MAX,
};

struct problem_def {
    const char *code;
    int status;
    const char *title;
    int retry_after_s; /* 0 = not retryable */
};
extern const struct problem_def problem_defs[PROBLEM_MAX];

/* The row of a code that a responder answered with this status; PROBLEM_NONE when there is none. A
 * status of 0 fits the first row of the code. */
enum problem problem_find(struct view code, int64_t status);

#define VIOLATIONS_MAX 16
struct violation {
    char pointer[128]; /* JSON Pointer; path and query members count as members */
    char code[32];     /* "missing", "unknown", "type", "range", "pattern", ... */
};

struct refusal {
    enum problem problem;
    char detail[256];
    int64_t retry_after_ms; /* 0 = the table's, where the table has one */
    struct violation violations[VIOLATIONS_MAX];
    unsigned n_violations;
    /* Extension members of the codes that have them. */
    char phase[32], state[32];
    int64_t holder_run_id;
    const char *scope; /* the one that is missing */
};

/* Text that comes from elsewhere, cut between characters. size: at least 4. */
void problem_text(const char *text, char *out, size_t size);
/* Returns false, so that a check can `return refuse(...)`. */
bool refuse(struct refusal *r, enum problem problem, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Adds one; what passes VIOLATIONS_MAX is left out. The first makes the refusal PROBLEM_INVALID. */
void violate(struct refusal *r, const char *pointer, const char *code);
/* Seconds for Retry-After; 0 = none. An hour at most: what is told comes from elsewhere. */
int64_t refusal_retry_after_s(const struct refusal *r);
/* request_id: a UUID in text. */
void problem_write(const struct refusal *r, const char *request_id, struct buf *out);
