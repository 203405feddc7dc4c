/* Rates, and the steps of a canary. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/pace.h"

#include "test/unit/check.h"

static void test_rate(void)
{
    CHECK_EQ_INT(pace_rate(100, 0), 0);
    CHECK_EQ_INT(pace_rate(100, 9), 0);
    CHECK_EQ_INT(pace_rate(100, 10), 1);
    CHECK_EQ_INT(pace_rate(100, 1000), 100);
    CHECK_EQ_INT(pace_rate(100, 3600 * 1000), 200); /* a long pause is not made up for */
    CHECK_EQ_INT(pace_rate(INT32_MAX, 2000), 2 * (int64_t)INT32_MAX);
}

static void test_steps(void)
{
    static const struct {
        struct canary_counts counts;
        int64_t limit;
        enum canary_answer answer;
        int64_t n;
    } rows[] = {
        {{0, 0, 0}, 10, CANARY_GO, 1},
        {{1, 0, 1}, 10, CANARY_WAIT, 0},
        {{0, 0, 1}, 10, CANARY_GO, 9},
        {{0, 1, 1}, 10, CANARY_FAILED, 0},
        {{0, 1, 1}, 99, CANARY_FAILED, 0},
        {{0, 1, 1}, 100, CANARY_GO, 9},
        {{4, 0, 5}, 10, CANARY_GO, 5}, /* within a step nothing is waited for */
        {{9, 0, 10}, 10, CANARY_WAIT, 0},
        {{1, 9, 10}, 10, CANARY_WAIT, 0}, /* the last one of the step may yet be told */
        {{0, 1, 10}, 10, CANARY_GO, 90},
        {{0, 2, 10}, 10, CANARY_FAILED, 0},
        {{0, 0, 10}, 0, CANARY_GO, 90},
        {{0, 1, 10}, 0, CANARY_FAILED, 0},
        {{20, 10, 50}, 10, CANARY_GO, 50},
        {{20, 11, 50},
         10,
         CANARY_FAILED,
         0}, /* too many for all 100, whatever becomes of the rest */
        {{0, 0, 1000000}, 10, CANARY_GO, 9000000},
        {{7, 100000, 999999}, 10, CANARY_GO, 1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t n = -1;
        const enum canary_answer answer = canary_next(&rows[i].counts, rows[i].limit, &n);
        CHECK_EQ_INT((int)answer * 1000 + (int)i, (int)rows[i].answer * 1000 + (int)i);
        CHECK_EQ_INT(n, rows[i].n);
    }
}

/* Whatever the pages are, each letter goes once and the steps end at powers of ten. */
static void test_walk(void)
{
    for (int64_t page = 1; page < 700; page += 97) {
        struct canary_counts c = {0};
        while (c.turned < 5000) {
            int64_t n = 0;
            if (canary_next(&c, 10, &n) == CANARY_WAIT) {
                c.open = 0;
                continue;
            }
            REQUIRE(n > 0);
            n = n < page ? n : page;
            c.turned += n;
            c.open += n;
            int64_t step = 1;
            while (step < c.turned - n + 1)
                step *= 10;
            CHECK(c.turned <= step);
        }
    }
}

int main(void)
{
    RUN(test_rate);
    RUN(test_steps);
    RUN(test_walk);
    return check_result();
}
