/* One connection to Redis, for redis.c: its address, how it is made, one command and its answer. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <hiredis/hiredis.h>

#include "events/redis.h"

#define REDIS_HOST_MAX 256
#define REDIS_WORDS_MAX 20

struct redis_address {
    char host[REDIS_HOST_MAX]; /* or the path of a socket */
    int port;                  /* 0: a socket */
};
/* redis://host:port, redis://[::1] or unix:///path. Code config. */
MUST_CHECK int redis_address_parse(const char *url, struct redis_address *ret, struct err *err);

struct redis_login {
    const char *user, *password; /* password "": none is wanted */
};
/* Connects and signs in until the monotonic deadline, connecting for at most connect_ms. */
MUST_CHECK int redis_connect(const struct redis_address *address, const struct redis_login *login,
                             int64_t connect_ms, int64_t deadline, redisContext **ret,
                             struct err *err);
/* One command. 0 and a reply of at most 1 MiB and REDIS_VALUES_MAX values (error replies too), or
 * an errno: ECONNRESET when the peer has closed, EPROTO for an answer that is too large or none.
 * The connection is of no use after that. */
MUST_CHECK int redis_call(redisContext *c, int64_t deadline, const struct view words[], size_t n,
                          redisReply **ret);
static inline struct view redis_reply_text(const redisReply *reply)
{
    return (struct view){reply->str, reply->len};
}
/* The error of such an errno. Returns -1. */
int redis_err_call(struct err *err, const char *op, int number);

#ifdef __clang_analyzer__ /* as in err.h */
#define redis_err_call(...) ((void)redis_err_call(__VA_ARGS__), -1)
#endif
