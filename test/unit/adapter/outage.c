/* A receiver that is away for six hours, by a clock of our own: nothing that the schedule covers is
 * parked.
 *
 * Each event comes at some moment of the outage and is tried as early as its pace allows, which
 * spends its tries fastest; the breaker, which spares tries, is left out. */
// SPDX-License-Identifier: Apache-2.0

#include "events/verdict.h"
#include "workers/adapter/adapter.h"
#include "workers/adapter/judge.h"

#include "test/unit/check.h"

enum { MINUTE_MS = 60000, HOUR_MS = 60 * MINUTE_MS, EVENTS = 20000 };
#define AWAY_MS (6LL * HOUR_MS)
#define LONGEST_MS (24LL * HOUR_MS) /* option retry-longest, its default */

struct fate {
    bool parked;
    unsigned tries;
    int64_t at_ms; /* when it was parked, or tried for the last time */
};

/* From its first try at 0: every try until `away_ms` gets this outcome. */
static struct fate fate_of(const struct http_outcome *outcome, int64_t away_ms, struct prng *prng)
{
    struct fate f = {.tries = 1};

    while (f.at_ms < away_ms) {
        struct err err = ERR_INIT;
        judgement_err(judge(outcome, false), outcome, "webhook", LONGEST_MS, &err);
        const struct verdict v = verdict_of_err(&err);
        const struct settlement s = verdict_decide(&v, f.tries, 5, &deliver_pace, LONGEST_MS, prng);
        if (s.action == SETTLE_DEAD_LETTER) {
            f.parked = true;
            return f;
        }
        CHECK_EQ_INT(s.action, SETTLE_NAK);
        f.at_ms += s.delay_ms;
        f.tries++;
    }
    return f;
}

static void test_six_hours(void)
{
    /* Nobody listens; a proxy in front of it; it starts and knows no paths; overloaded; silent; a
     * secret. */
    static const struct http_outcome outcomes[] = {
        {.status = 0, .code = "http-connect", .text = ""},
        {.status = 502, .code = ""},
        {.status = 404, .code = ""},
        {.status = 429, .code = ""},
        {.status = 503, .code = "", .retry_after_ms = 2000},
        {.status = 0, .code = "http-timeout", .text = ""},
        {.status = 401, .code = ""},
    };
    struct prng prng;

    prng_seed(&prng, 6);
    for (size_t o = 0; o < ARRAY_LEN(outcomes); o++) {
        for (unsigned i = 0; i < EVENTS; i++) {
            const int64_t came_ms = (int64_t)prng_below(&prng, AWAY_MS);
            const struct fate f = fate_of(&outcomes[o], AWAY_MS - came_ms, &prng);
            REQUIRE(!f.parked);
            CHECK(f.tries <= deliver_pace.give_up_at);
            /* And it does not wait for days once the receiver is back. */
            CHECK(f.at_ms <= (AWAY_MS - came_ms) + 8LL * HOUR_MS * 12 / 10);
        }
    }
}

static void test_the_schedule_ends(void)
{
    const struct http_outcome away = {.status = 0, .code = "http-connect", .text = ""};
    struct prng prng;

    prng_seed(&prng, 7);
    for (unsigned i = 0; i < 1000; i++) {
        const struct fate f = fate_of(&away, 30LL * 24 * HOUR_MS, &prng);
        REQUIRE(f.parked);
        CHECK_EQ_INT(f.tries, 10);
        CHECK(f.at_ms > 12LL * HOUR_MS && f.at_ms < 20LL * HOUR_MS);
    }
}

int main(void)
{
    RUN(test_six_hours);
    RUN(test_the_schedule_ends);
    return check_result();
}
