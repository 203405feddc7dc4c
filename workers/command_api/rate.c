/* lua/rate_spend.lua has the arithmetic of rate_take, on the server's clock. The local table is
 * divided into sets of WAYS buckets; a new one takes the place of the fullest of its set. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/rate.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/hash.h"
#include "workers/command_api/lua.h"

enum { SETS = 1024, WAYS = 8 };

#define US_PER_S INT64_C(1000000)

struct bucket {
    uint64_t who; /* hash of name and policy */
    int64_t full_at_us;
};

struct rate {
    struct redis *redis;
    uint64_t seed; /* so that nobody can choose names that meet */
    pthread_mutex_t mutex;
    struct bucket buckets[SETS][WAYS];
};

const struct rate_limit rate_defaults[RATE_CLASSES] = {
    [RATE_READ] = {"read", 300, 60},
    [RATE_EXECUTE] = {"execute", 60, 60},
    [RATE_APPROVE] = {"approve", 60, 60},
    [RATE_PEER] = {"peer", 60, 60},
};

static int64_t unit_us(const struct rate_limit *limit)
{
    return limit->window_s * US_PER_S / limit->quota;
}

static int64_t burst_us(const struct rate_limit *limit)
{
    return unit_us(limit) * limit->quota;
}

static int64_t seconds_up(int64_t us)
{
    return (us + US_PER_S - 1) / US_PER_S;
}

void rate_read(int64_t until_full_us, bool allowed, const struct rate_limit *limit,
               struct rate_state *ret)
{
    const int64_t unit = unit_us(limit), free_us = burst_us(limit) - until_full_us;

    *ret = (struct rate_state){.allowed = allowed,
                               .remaining = free_us > 0 ? free_us / unit : 0,
                               .more_s = seconds_up(unit - (free_us > 0 ? free_us % unit : 0))};
}

void rate_take(int64_t *full_at_us, int64_t now_us, const struct rate_limit *limit,
               struct rate_state *ret)
{
    const int64_t unit = unit_us(limit), burst = burst_us(limit);
    int64_t full_at = *full_at_us > now_us ? *full_at_us : now_us;

    if (full_at > now_us + burst) /* later than any spending makes it */
        full_at = now_us + burst;
    const bool allowed = full_at + unit - now_us <= burst;
    if (allowed)
        *full_at_us = full_at += unit;
    rate_read(full_at - now_us, allowed, limit, ret);
}

struct rate *rate_new(struct redis *redis)
{
    struct rate *r = calloc(1, sizeof(*r));

    if (r == NULL)
        return NULL;
    r->redis = redis;
    random_bytes(&r->seed, sizeof(r->seed));
    pthread_mutex_init(&r->mutex, NULL);
    return r;
}

struct rate *rate_free(struct rate *r)
{
    if (r != NULL)
        pthread_mutex_destroy(&r->mutex);
    free(r);
    return NULL;
}

/* Under the lock. */
static struct bucket *find_bucket(struct rate *r, uint64_t who)
{
    struct bucket *set = r->buckets[who % SETS], *fullest = &set[0];

    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].who == who)
            return &set[i];
        if (set[i].full_at_us < fullest->full_at_us)
            fullest = &set[i];
    }
    *fullest = (struct bucket){.who = who};
    return fullest;
}

static void spend_here(struct rate *r, struct view who, const struct rate_limit *limit,
                       struct rate_state *ret)
{
    const uint64_t id = hash64(bytes_of(who), hash64(bytes_of(view_of(limit->name)), r->seed));

    pthread_mutex_lock(&r->mutex);
    rate_take(&find_bucket(r, id)->full_at_us, mono_us(), limit, ret);
    pthread_mutex_unlock(&r->mutex);
    ret->local = true;
}

static bool spend_there(struct rate *r, struct view who, const struct rate_limit *limit,
                        struct rate_state *ret)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[SHA256_SIZE];
    char key[128], hex[2 * SHA256_SIZE + 1], unit[24], burst[24];
    struct redis_values values;
    struct err err = ERR_INIT;

    sha256(bytes_of(who), digest);
    for (size_t i = 0; i < SHA256_SIZE; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    hex[2 * SHA256_SIZE] = '\0';
    snprintf(key, sizeof(key), "echora:rl:v1:%s:%s", hex, limit->name);
    snprintf(unit, sizeof(unit), "%lld", (long long)unit_us(limit));
    snprintf(burst, sizeof(burst), "%lld", (long long)limit->quota);
    const struct view args[] = {view_of(unit), view_of(burst)};
    if (redis_eval(r->redis, &lua_rate_spend, view_of(key), args, ARRAY_LEN(args), &values, &err) <
        0)
        return false; /* why: the breaker and the next request with a key say it */
    const bool good =
        values.n == 2 && values.items[1].number >= 0 && values.items[1].number <= burst_us(limit);
    if (good)
        rate_read(values.items[1].number, values.items[0].number == 1, limit, ret);
    redis_values_deinit(&values);
    return good;
}

void rate_spend(struct rate *r, struct view who, const struct rate_limit *limit,
                struct rate_state *ret)
{
    if (r->redis == NULL || !spend_there(r, who, limit, ret))
        spend_here(r, who, limit, ret);
}

void rate_peer(struct view address, char out[static RATE_PEER_SIZE])
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char text[RATE_PEER_SIZE];
    uint8_t v6[16];
    const size_t n = address.n < sizeof(text) - 1 ? address.n : sizeof(text) - 1;

    if (n > 0)
        memcpy(text, address.p, n);
    text[n] = '\0';
    if (inet_pton(AF_INET6, text, v6) == 1) {
        if (memcmp(v6, mapped, sizeof(mapped)) == 0) {
            (void)!inet_ntop(AF_INET, v6 + sizeof(mapped), out, RATE_PEER_SIZE);
            return;
        }
        memset(v6 + 8, 0, 8);
        (void)!inet_ntop(AF_INET6, v6, out, RATE_PEER_SIZE);
        return;
    }
    memcpy(out, text, n + 1);
}

void rate_policy_field(const struct rate_limit *limit, char out[static RATE_FIELD_SIZE])
{
    snprintf(out, RATE_FIELD_SIZE, "\"%s\";q=%lld;w=%lld", limit->name, (long long)limit->quota,
             (long long)limit->window_s);
}

void rate_limit_field(const struct rate_limit *limit, const struct rate_state *state,
                      char out[static RATE_FIELD_SIZE])
{
    snprintf(out, RATE_FIELD_SIZE, "\"%s\";r=%lld;t=%lld", limit->name, (long long)state->remaining,
             (long long)state->more_s);
}
