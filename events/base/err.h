/* One error value for the whole house.
 *
 * A function that can fail returns int: 0, or -1 with *err filled (err is the last parameter, a
 * stack value of the caller, never allocated, untouched on success). The class says what may be
 * done about it, the code is stable and listed in events/base/codes.def, the text is for people and
 * never holds a field's value or a secret. Exactly one function maps an error to a verdict
 * (events/verdict.h).
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdbool.h>
#include <stdint.h>

#include "events/base/attr.h"

enum err_class {
    ERR_NONE = 0,
    ERR_RETRY,       /* may work later; counts toward the deliveries of an event */
    ERR_UNAVAILABLE, /* a dependency is in trouble: breaker opens, no delivery is spent */
    ERR_UNCERTAIN,   /* the reply was lost, the effect may have happened: retry, effects are
                        idempotent */
    ERR_REJECT,      /* the input itself is wrong and will stay wrong */
    ERR_FATAL,       /* this process cannot serve: exit with a named code */
};

enum dependency {
    DEP_NONE = 0,
    DEP_NATS,
    DEP_POSTGRES,
    DEP_QDRANT,
    DEP_EMBEDDING,
    DEP_REDIS,
    DEP_CATALOGUE,    /* another worker, by request */
    DEP_DEAD_LETTERS, /* the stream that keeps dead letters */
    DEP_MAX,
};

struct err {
    enum err_class class;
    enum dependency dependency;
    char code[32];          /* stable, e.g. "decode", "pg-40001", "http-429" */
    char op[48];            /* what was tried, e.g. "insert outbox" */
    char text[320];         /* for people */
    int64_t retry_after_ms; /* the peer's hint (Retry-After); 0 = none */
};

#define ERR_INIT ((struct err){0})

/* Fills *err and returns -1, so that a failing function can `return err_set(...)`. err may be NULL.
 */
int err_set(struct err *err, enum err_class class, const char *code, const char *op,
            const char *fmt, ...) PRINTF_LIKE(5, 6);

/* As err_set, and names the dependency in trouble. */
int err_set_dep(struct err *err, enum err_class class, enum dependency dep, const char *code,
                const char *op, const char *fmt, ...) PRINTF_LIKE(6, 7);

/* Puts "context: " before the text, keeps class and code. Returns -1. */
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

#ifdef __clang_analyzer__ /* it can't see across files that these return -1 */
#define err_set(...) ((void)err_set(__VA_ARGS__), -1)
#define err_set_dep(...) ((void)err_set_dep(__VA_ARGS__), -1)
#define err_wrap(...) ((void)err_wrap(__VA_ARGS__), -1)
#endif

/* Stable lower-case names: "retry", "unavailable", ...; "postgres", "nats", ... Never NULL. */
const char *err_class_name(enum err_class class);
const char *dependency_name(enum dependency dep);

/* A row of codes.def. Patterns end in '*' ("pg-*"). */
struct error_code {
    const char *code;
    enum err_class class;
    const char *meaning; /* one sentence */
    const char *action;  /* what a person does about it */
};
extern const struct error_code error_codes[];
extern const unsigned n_error_codes;
/* The row of a code, patterns included; NULL when it is not listed. */
const struct error_code *error_code_find(const char *code);
