/* Redis: scripts over a small pool of connections that many threads share.
 *
 * Everything is done by Lua scripts (ops/tools/lua2c.py makes them from .lua files): EVALSHA, and
 * EVAL once when the server does not know the digest. A call borrows a connection, waiting for a
 * free one no longer than its own limit. A connection that was kept and turns out broken is made
 * anew once within a call, so A SCRIPT MAY RUN TWICE FOR ONE CALL and must bear it.
 *
 * A breaker (events/breaker.h) stands in front: after ERR_UNAVAILABLE calls fail at once with its
 * cause, until a call that is let through (or redis_ping) is answered. No TLS: loopback, a Unix
 * socket, or a tunnel. Thread-safe. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "events/base/view.h"

struct redis;

struct redis_options {
    const char *url;      /* redis://host:port or unix:///path; no user, password or database */
    const char *user;     /* of Redis' ACL; "" = none */
    const char *password; /* from a secret file; "" = none: no AUTH is sent */
    int64_t connect_timeout_ms, timeout_ms; /* timeout: of a whole call; 0 = the default */
    int64_t connections;                    /* at most; 0 = the default */
};

/* Rows of an option table for the struct redis_options that is `member` of `type`. */
#define REDIS_OPTION_ROWS(type, member)                                                            \
    {.name = "redis-url",                                                                          \
     .kind = OPT_STRING,                                                                           \
     .offset = offsetof(type, member.url),                                                         \
     .default_text = "redis://127.0.0.1:6379",                                                     \
     .placeholder = "URL",                                                                         \
     .help = "Redis 7 or later, redis://host:port or unix:///path; without TLS in this version."}, \
        {.name = "redis-user",                                                                     \
         .kind = OPT_STRING,                                                                       \
         .offset = offsetof(type, member.user),                                                    \
         .default_text = "command",                                                                \
         .placeholder = "NAME",                                                                    \
         .help = "User of Redis' access list."},                                                   \
        {.name = "redis-password-file",                                                            \
         .kind = OPT_SECRET_FILE,                                                                  \
         .offset = offsetof(type, member.password),                                                \
         .default_text = "",                                                                       \
         .placeholder = "FILE",                                                                    \
         .help = "File that holds the Redis user's password."},                                    \
        {.name = "redis-connect-timeout",                                                          \
         .kind = OPT_DURATION,                                                                     \
         .offset = offsetof(type, member.connect_timeout_ms),                                      \
         .default_text = "1s",                                                                     \
         .min = 10,                                                                                \
         .max = 60000,                                                                             \
         .placeholder = "TIME",                                                                    \
         .help = "How long a connection to Redis may take."},                                      \
        {.name = "redis-timeout",                                                                  \
         .kind = OPT_DURATION,                                                                     \
         .offset = offsetof(type, member.timeout_ms),                                              \
         .default_text = "2s",                                                                     \
         .min = 10,                                                                                \
         .max = 60000,                                                                             \
         .placeholder = "TIME",                                                                    \
         .help = "How long one call of Redis may take, connecting and waiting included."},         \
    {                                                                                              \
        .name = "redis-connections", .kind = OPT_INT,                                              \
        .offset = offsetof(type, member.connections), .default_text = "32", .min = 1, .max = 64,   \
        .placeholder = "N", .help = "Most connections to Redis."                                   \
    }

/* Does not connect. Options are copied. Codes config (ERR_FATAL), no-memory. */
MUST_CHECK int redis_new(struct redis **ret, const struct redis_options *options, struct err *err);
/* Nobody may be inside a call. Takes NULL, returns NULL. */
struct redis *redis_free(struct redis *r);
/* A round trip, for probes, whatever the breaker says; an answer closes it. */
MUST_CHECK int redis_ping(struct redis *r, int64_t timeout_ms, struct err *err);

struct redis_script {
    const char *name, *sha1, *text; /* sha1: 40 lower-case hex digits of the text */
};

/* What a script returns: a number, a text, or a flat list of them. */
#define REDIS_VALUES_MAX 16
struct redis_value {
    bool is_nil;
    int64_t number;   /* of an integer; 0 otherwise */
    struct view text; /* of a text; empty otherwise */
};
struct redis_values {
    struct redis_value items[REDIS_VALUES_MAX];
    size_t n;
    void *owned; /* what the texts point into */
};
void redis_values_deinit(struct redis_values *v);

/* *ret must be deinitialised when it returns 0. Errors: redis_error.h; redis-pool (ERR_RETRY) when
 * no connection became free in time; redis-reply (ERR_RETRY) when the answer has more than 1 MiB,
 * more than REDIS_VALUES_MAX values, or another form. */
MUST_CHECK int redis_eval(struct redis *r, const struct redis_script *script, struct view key,
                          const struct view args[], size_t n_args, struct redis_values *ret,
                          struct err *err);
