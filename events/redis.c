/* Mechanism: idle connections are kept on a stack, so that few are used when few are needed. A
 * connection whose call failed in any way but by an error reply is closed: nobody can know what it
 * would still say.
 *
 * Locks: one mutex over the idle connections, their count and the breaker; never held while bytes
 * move. */
// SPDX-License-Identifier: Apache-2.0

#include "events/redis.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/clock.h"
#include "events/base/hash.h"
#include "events/breaker.h"
#include "events/redis_error.h"
#include "events/redis_wire.h"

enum {
    CONNECT_TIMEOUT_MS = 1000,
    TIMEOUT_MS = 2000,
    CONNECTIONS = 32,
    CONNECTIONS_MAX = 64,
    EVAL_WORDS = 4, /* in front of a script's arguments */
};

struct redis {
    struct redis_address address;
    struct redis_login login; /* owned */
    int64_t connect_timeout_ms, timeout_ms;
    pthread_mutex_t mutex;
    pthread_cond_t freed;
    redisContext *idle[CONNECTIONS_MAX];
    size_t n_idle, n_made, most; /* made: idle and lent */
    size_t n_waiting;            /* threads, for one to be free */
    struct breaker breaker;
};

static int64_t or_default(int64_t value, int64_t otherwise)
{
    return value > 0 ? value : otherwise;
}

int redis_new(struct redis **ret, const struct redis_options *o, struct err *err)
{
    pthread_condattr_t attr;
    uint64_t seed;
    struct redis *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open redis", "out of memory");
    pthread_mutex_init(&r->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->freed, &attr);
    pthread_condattr_destroy(&attr);
    random_bytes(&seed, sizeof(seed));
    breaker_init(&r->breaker, DEP_REDIS, seed);
    char *user = strdup(o->user != NULL ? o->user : "");
    char *password = strdup(o->password != NULL ? o->password : "");
    r->login = (struct redis_login){user, password};
    r->connect_timeout_ms = or_default(o->connect_timeout_ms, CONNECT_TIMEOUT_MS);
    r->timeout_ms = or_default(o->timeout_ms, TIMEOUT_MS);
    const int64_t most = or_default(o->connections, CONNECTIONS);
    r->most = (size_t)(most < CONNECTIONS_MAX ? most : CONNECTIONS_MAX);
    int rc = user != NULL && password != NULL
                 ? redis_address_parse(o->url, &r->address, err)
                 : err_set(err, ERR_RETRY, "no-memory", "open redis", "out of memory");
    if (rc < 0) {
        redis_free(r);
        return -1;
    }
    *ret = r;
    return 0;
}

struct redis *redis_free(struct redis *r)
{
    if (r == NULL)
        return NULL;
    for (size_t i = 0; i < r->n_idle; i++)
        redisFree(r->idle[i]);
    char *user = (char *)(uintptr_t)r->login.user, *password = (char *)(uintptr_t)r->login.password;
    if (password != NULL)
        explicit_bzero(password, strlen(password));
    free(password);
    free(user);
    pthread_cond_destroy(&r->freed);
    pthread_mutex_destroy(&r->mutex);
    free(r);
    return NULL;
}

/* As a kept connection must be. */
static bool is_silent(const redisContext *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLIN};

    return poll(&p, 1, 0) == 0;
}

/* Leave to use one connection: *ret, or one to be made when that is NULL. */
static int borrow(struct redis *r, int64_t deadline, redisContext **ret, struct err *err)
{
    const struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    bool good = true;

    *ret = NULL;
    pthread_mutex_lock(&r->mutex);
    r->n_waiting++;
    while (r->n_idle == 0 && r->n_made >= r->most && good)
        good = pthread_cond_timedwait(&r->freed, &r->mutex, &until) == 0;
    r->n_waiting--;
    good = r->n_idle > 0 || r->n_made < r->most;
    if (r->n_idle > 0)
        *ret = r->idle[--r->n_idle];
    else if (good)
        r->n_made++;
    pthread_mutex_unlock(&r->mutex);
    if (!good)
        return err_set_dep(err, ERR_RETRY, DEP_REDIS, "redis-pool", "call Redis",
                           "no connection became free in time");
    if (*ret != NULL && !is_silent(*ret)) {
        redisFree(*ret);
        *ret = NULL;
    }
    return 0;
}

/* c NULL: it could not be made, or broke. */
static void give_back(struct redis *r, redisContext *c)
{
    pthread_mutex_lock(&r->mutex);
    if (c != NULL)
        r->idle[r->n_idle++] = c;
    else
        r->n_made--;
    const bool awaited = r->n_waiting > 0;
    pthread_mutex_unlock(&r->mutex);
    if (awaited)
        pthread_cond_signal(&r->freed);
}

/* The breaker, before and after: false when it is open and no probe is due. */
static bool may_call(struct redis *r, struct err *err)
{
    pthread_mutex_lock(&r->mutex);
    const bool may = breaker_allows(&r->breaker) || breaker_probe_due(&r->breaker, mono_ms());
    if (!may)
        *err = r->breaker.cause;
    pthread_mutex_unlock(&r->mutex);
    return may;
}

static void note(struct redis *r, const struct err *err)
{
    pthread_mutex_lock(&r->mutex);
    if (err != NULL && err->class == ERR_UNAVAILABLE)
        breaker_trip(&r->breaker, mono_ms(), err);
    else if (err == NULL || strcmp(err->code, "redis-pool") != 0)
        breaker_probed(&r->breaker, mono_ms(), true);
    else /* nothing was learnt: another probe is due */
        breaker_probed(&r->breaker, mono_ms(), false);
    pthread_mutex_unlock(&r->mutex);
}

/* Words of a command: an error reply is an answer too. */
static int exchange(struct redis *r, int64_t deadline, const struct view words[], size_t n,
                    redisReply **ret, struct err *err)
{
    redisContext *c;

    if (borrow(r, deadline, &c, err) < 0)
        return -1;
    for (bool kept = c != NULL;; kept = false) {
        if (c == NULL &&
            redis_connect(&r->address, &r->login, r->connect_timeout_ms, deadline, &c, err) < 0)
            break;
        const int rc = redis_call(c, deadline, words, n, ret);
        if (rc == 0) {
            give_back(r, c);
            return 0;
        }
        redisFree(c);
        c = NULL;
        if (!kept || rc == ETIMEDOUT || rc == EPROTO) {
            redis_err_call(err, "call Redis", rc);
            break;
        }
    }
    give_back(r, NULL);
    return -1;
}

int redis_ping(struct redis *r, int64_t timeout_ms, struct err *err)
{
    const struct view words[] = {VIEW_LIT("PING")};
    redisReply *reply = NULL;

    int rc = exchange(r, mono_ms() + timeout_ms, words, 1, &reply, err);
    if (rc == 0 && reply->type == REDIS_REPLY_ERROR)
        rc = redis_err_reply(err, "ping Redis", redis_reply_text(reply));
    freeReplyObject(reply);
    if (rc == 0)
        note(r,
             NULL); /* a late answer to a probe opens no breaker: the next call will, if it is so */
    return rc;
}

static bool read_value(const redisReply *reply, struct redis_value *ret)
{
    *ret = (struct redis_value){.is_nil = reply->type == REDIS_REPLY_NIL};
    if (reply->type == REDIS_REPLY_INTEGER)
        ret->number = reply->integer;
    else if (reply->type == REDIS_REPLY_STRING || reply->type == REDIS_REPLY_STATUS)
        ret->text = redis_reply_text(reply);
    else
        return ret->is_nil;
    return true;
}

static int read_values(redisReply *reply, const char *op, struct redis_values *ret, struct err *err)
{
    const bool list = reply->type == REDIS_REPLY_ARRAY;
    bool good = true;

    if (reply->type == REDIS_REPLY_ERROR)
        return redis_err_reply(err, op, redis_reply_text(reply));
    struct redis_values values = {.n = list ? reply->elements : 1, .owned = reply};
    for (size_t i = 0; i < values.n; i++)
        good = good && read_value(list ? reply->element[i] : reply, &values.items[i]);
    if (!good)
        return err_set_dep(err, ERR_RETRY, DEP_REDIS, "redis-reply", op,
                           "the script's answer is no flat list");
    *ret = values;
    return 0;
}

void redis_values_deinit(struct redis_values *v)
{
    freeReplyObject(v->owned);
    *v = (struct redis_values){0};
}

static int eval(struct redis *r, const struct redis_script *script, struct view key,
                const struct view args[], size_t n_args, redisReply **ret, struct err *err)
{
    const int64_t deadline = mono_ms() + r->timeout_ms;
    struct view words[REDIS_WORDS_MAX] = {VIEW_LIT("EVALSHA"), view_of(script->sha1), VIEW_LIT("1"),
                                          key};

    for (size_t i = 0; i < n_args; i++)
        words[EVAL_WORDS + i] = args[i];
    if (exchange(r, deadline, words, EVAL_WORDS + n_args, ret, err) < 0)
        return -1;
    if ((*ret)->type != REDIS_REPLY_ERROR || !redis_reply_is_noscript(redis_reply_text(*ret)))
        return 0;
    freeReplyObject(*ret);
    *ret = NULL;
    words[0] = VIEW_LIT("EVAL");
    words[1] = view_of(script->text);
    return exchange(r, deadline, words, EVAL_WORDS + n_args, ret, err);
}

int redis_eval(struct redis *r, const struct redis_script *script, struct view key,
               const struct view args[], size_t n_args, struct redis_values *ret, struct err *err)
{
    redisReply *reply = NULL;

    if (n_args > REDIS_WORDS_MAX - EVAL_WORDS)
        return err_set(err, ERR_FATAL, "internal", script->name, "too many arguments");
    if (!may_call(r, err))
        return -1;
    int rc = eval(r, script, key, args, n_args, &reply, err);
    if (rc == 0)
        rc = read_values(reply, script->name, ret, err);
    if (rc < 0)
        freeReplyObject(reply);
    note(r, rc == 0 ? NULL : err);
    return rc;
}
