/* GCRA against a token bucket that is told apart: a level that fills with time and is spent, where
 * the code moves one point in time. Seeds are fixed. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/rate.h"
#include "events/base/backoff.h"
#include "test/unit/check.h"

#define S INT64_C(1000000)

struct level {
    int64_t at_us, microunits; /* a unit is limit.window_s * 1,000,000 / quota of them */
};

static bool oracle_take(struct level *l, int64_t now, const struct rate_limit *limit)
{
    const int64_t unit = limit->window_s * S / limit->quota, most = unit * limit->quota;

    l->microunits += now - l->at_us;
    l->at_us = now;
    if (l->microunits > most)
        l->microunits = most;
    if (l->microunits < unit)
        return false;
    l->microunits -= unit;
    return true;
}

static void run_against_oracle(const struct rate_limit *limit, uint64_t seed, int64_t mean_pause_us)
{
    struct prng random;
    struct level level = {.microunits = INT64_MAX / 4};
    const int64_t unit = limit->window_s * S / limit->quota;
    int64_t now = 5 * S, full_at = 0, allowed = 0, refused = 0;

    prng_seed(&random, seed);
    for (int i = 0; i < 20000; i++) {
        struct rate_state state;
        /* Now and then a long rest. */
        const int64_t most = i % 1000 == 999 ? limit->window_s * S * 2 : 2 * mean_pause_us;
        now += (int64_t)prng_below(&random, (uint64_t)most + 1);
        rate_take(&full_at, now, limit, &state);
        const bool expected = oracle_take(&level, now, limit);
        CHECK_EQ_INT(state.allowed, expected);
        CHECK_EQ_INT(state.remaining, level.microunits / unit);
        const int64_t missing = unit - level.microunits % unit;
        CHECK_EQ_INT(state.more_s, missing / S + (missing % S != 0));
        allowed += state.allowed;
        refused += !state.allowed;
    }
    CHECK(allowed > 100);
    CHECK(refused > 100);
}

static void test_like_a_token_bucket(void)
{
    for (unsigned c = 0; c < RATE_CLASSES; c++) {
        const int64_t unit = rate_defaults[c].window_s * S / rate_defaults[c].quota;
        run_against_oracle(&rate_defaults[c], 1 + c, unit * 2 / 3);
        run_against_oracle(&rate_defaults[c], 100 + c, unit / 50);
    }
    run_against_oracle(&(struct rate_limit){"odd", 7, 60}, 3, 4 * S);
    run_against_oracle(&(struct rate_limit){"one", 1, 3600}, 4, 1000 * S);
}

static void test_burst_is_a_whole_quota(void)
{
    int64_t full_at = 0;
    struct rate_state state;

    for (int i = 0; i < 60; i++) {
        rate_take(&full_at, 100 * S, &rate_defaults[RATE_EXECUTE], &state);
        CHECK(state.allowed);
        CHECK_EQ_INT(state.remaining, 59 - i);
    }
    rate_take(&full_at, 100 * S, &rate_defaults[RATE_EXECUTE], &state);
    CHECK(!state.allowed);
    CHECK_EQ_INT(state.remaining, 0);
    CHECK_EQ_INT(state.more_s, 1);
    /* Whoever waits as long as told is served. */
    rate_take(&full_at, 101 * S, &rate_defaults[RATE_EXECUTE], &state);
    CHECK(state.allowed);
}

static void test_never_more_than_burst_and_rate(void)
{
    const struct rate_limit limit = {"x", 10, 10};
    int64_t full_at = 0, allowed = 0;
    struct rate_state state;

    for (int64_t now = S; now < 101 * S; now += S / 100) {
        rate_take(&full_at, now, &limit, &state);
        allowed += state.allowed;
    }
    CHECK_EQ_INT(allowed, 10 + 99);
}

static void test_clock_set_back(void)
{
    int64_t full_at = 1000000 * S;
    struct rate_state state;

    rate_take(&full_at, 5 * S, &rate_defaults[RATE_READ], &state);
    CHECK(!state.allowed);
    CHECK_EQ_INT(state.more_s, 1);
}

static void test_local_buckets_are_apart(void)
{
    struct rate *r = rate_new(NULL);
    const struct rate_limit one = {"one", 1, 3600}, other = {"other", 1, 3600};
    struct rate_state state;

    rate_spend(r, VIEW_LIT("a"), &one, &state);
    CHECK(state.allowed && state.local);
    rate_spend(r, VIEW_LIT("a"), &one, &state);
    CHECK(!state.allowed && state.local);
    rate_spend(r, VIEW_LIT("a"), &other, &state);
    CHECK(state.allowed);
    rate_spend(r, VIEW_LIT("b"), &one, &state);
    CHECK(state.allowed);
    rate_free(r);
}

/* A flood of names takes no memory and leaves whoever spends most in his place. */
static void test_table_has_a_size(void)
{
    struct rate *r = rate_new(NULL);
    const struct rate_limit slow = {"slow", 5, 3600}, quick = {"quick", 1000, 1};
    struct rate_state state;
    char name[32];

    for (int i = 0; i < 5; i++)
        rate_spend(r, VIEW_LIT("spender"), &slow, &state);
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "flood-%d", i);
        rate_spend(r, view_of(name), &quick, &state);
        CHECK(state.allowed);
    }
    rate_spend(r, VIEW_LIT("spender"), &slow, &state);
    CHECK(!state.allowed);
    rate_free(r);
}

static const char *peer(const char *address)
{
    static char text[RATE_PEER_SIZE];

    rate_peer(view_of(address), text);
    return text;
}

static void test_peers(void)
{
    CHECK_STR(peer("192.0.2.7"), "192.0.2.7");
    CHECK_STR(peer("::ffff:192.0.2.7"), "192.0.2.7");
    CHECK_STR(peer("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    CHECK_STR(peer("2001:db8:1:2::9"), "2001:db8:1:2::");
    CHECK_STR(peer("2001:db8:1:3::9"), "2001:db8:1:3::");
    CHECK_STR(peer("unix:"), "unix:");
    CHECK_STR(peer(""), "");
    CHECK_EQ_INT(
        strlen(peer("0123456789012345678901234567890123456789012345678901234567890123456789")),
        RATE_PEER_SIZE - 1);
}

static void test_fields(void)
{
    char text[RATE_FIELD_SIZE];

    rate_policy_field(&rate_defaults[RATE_EXECUTE], text);
    CHECK_STR(text, "\"execute\";q=60;w=60");
    rate_limit_field(&rate_defaults[RATE_EXECUTE],
                     &(struct rate_state){.allowed = true, .remaining = 12, .more_s = 30}, text);
    CHECK_STR(text, "\"execute\";r=12;t=30");
}

int main(void)
{
    RUN(test_like_a_token_bucket);
    RUN(test_burst_is_a_whole_quota);
    RUN(test_never_more_than_burst_and_rate);
    RUN(test_clock_set_back);
    RUN(test_local_buckets_are_apart);
    RUN(test_table_has_a_size);
    RUN(test_peers);
    RUN(test_fields);
    return check_result();
}
