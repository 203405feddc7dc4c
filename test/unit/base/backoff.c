// SPDX-License-Identifier: Apache-2.0
#include "events/base/backoff.h"

#include "test/unit/check.h"

/* The published first outputs of splitmix64 with seed 1234567. */
static void test_generator(void)
{
    static const uint64_t want[] = {6457827717110365317u, 3203168211198807973u,
                                    9817491932198370423u, 4593380528125082431u,
                                    16408922859458223821u};
    struct prng r;
    prng_seed(&r, 1234567);
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        CHECK_EQ_INT(prng_next(&r), want[i]);
    }
}

static void test_below(void)
{
    struct prng r;
    prng_seed(&r, 1);
    unsigned seen[10] = {0};
    for (int i = 0; i < 10000; i++) {
        uint64_t v = prng_below(&r, 10);
        REQUIRE(v < 10);
        seen[v]++;
    }
    for (int i = 0; i < 10; i++) {
        CHECK(seen[i] > 850 && seen[i] < 1150);
    }
    CHECK_EQ_INT(prng_below(&r, 1), 0);
}

static void test_limits(void)
{
    static const struct {
        unsigned attempt;
        int64_t base, max, limit;
    } rows[] = {
        {0, 250, 5000, 250},  {1, 250, 5000, 500},           {4, 250, 5000, 4000},
        {5, 250, 5000, 5000}, {4000000000, 250, 5000, 5000}, {0, 0, 0, 1},
        {0, -5, 100, 1},      {63, 1, INT64_MAX, INT64_MAX}, {0, 9000, 5000, 5000},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct prng r;
        prng_seed(&r, i);
        int64_t least = INT64_MAX, most = 0;
        for (int k = 0; k < 2000; k++) {
            int64_t ms = backoff_ms(&r, rows[i].attempt, rows[i].base, rows[i].max);
            least = ms < least ? ms : least;
            most = ms > most ? ms : most;
        }
        CHECK(least >= 1);
        CHECK(most <= rows[i].limit);
        CHECK(most >= rows[i].limit / 10 * 9);
        CHECK(least <= rows[i].limit / 10 + 1);
    }
}

int main(void)
{
    RUN(test_generator);
    RUN(test_below);
    RUN(test_limits);
    return check_result();
}
