/* Every row of the verdict table, and the pace of retries. */
// SPDX-License-Identifier: Apache-2.0

#include "events/verdict.h"

#include "test/unit/check.h"

#define GIVE_UP 5

static struct settlement decide(enum err_class class, enum dependency dep, unsigned deliveries)
{
    struct prng prng;
    struct err err = ERR_INIT;
    struct verdict v;

    prng_seed(&prng, 7);
    err.class = class;
    err.dependency = dep;
    v = verdict_of_err(&err);
    return verdict_decide(&v, deliveries, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng);
}

static void test_errors_become_actions(void)
{
    static const struct {
        enum err_class class;
        enum dependency dep;
        unsigned deliveries;
        enum settle_action action;
        const char *class_name;
    } rows[] = {
        {ERR_RETRY, DEP_NONE, 1, SETTLE_NAK, NULL},
        {ERR_RETRY, DEP_POSTGRES, 4, SETTLE_NAK, NULL},
        {ERR_RETRY, DEP_NONE, 5, SETTLE_DEAD_LETTER, "retry-exhausted"},
        {ERR_RETRY, DEP_NONE, 6, SETTLE_DEAD_LETTER, "retry-exhausted"},
        {ERR_UNCERTAIN, DEP_POSTGRES, 1, SETTLE_NAK, NULL},
        {ERR_UNCERTAIN, DEP_POSTGRES, 5, SETTLE_DEAD_LETTER, "retry-exhausted"},
        {ERR_UNAVAILABLE, DEP_POSTGRES, 1, SETTLE_HOLD, NULL},
        {ERR_UNAVAILABLE, DEP_POSTGRES, 9, SETTLE_HOLD, NULL}, /* an outage spends no delivery */
        {ERR_UNAVAILABLE, DEP_NONE, 1, SETTLE_NAK, NULL},      /* nothing to probe: counts */
        {ERR_UNAVAILABLE, DEP_NONE, 5, SETTLE_DEAD_LETTER, "retry-exhausted"},
        {ERR_REJECT, DEP_NONE, 1, SETTLE_DEAD_LETTER, "reject"},
        {ERR_REJECT, DEP_NONE, 7, SETTLE_DEAD_LETTER, "reject"},
        {ERR_FATAL, DEP_POSTGRES, 1, SETTLE_EXIT, NULL},
        {ERR_NONE, DEP_NONE, 1, SETTLE_NAK, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct settlement s = decide(rows[i].class, rows[i].dep, rows[i].deliveries);

        CHECK_EQ_INT(s.action, rows[i].action);
        if (rows[i].class_name != NULL)
            CHECK_STR(s.dead_letter_class, rows[i].class_name);
    }
    CHECK_EQ_INT(decide(ERR_FATAL, DEP_NONE, 1).delay_ms, 30000);
}

static void test_kinds_without_error(void)
{
    struct prng prng;

    prng_seed(&prng, 7);
    const struct verdict done = {.kind = VERDICT_DONE}, skip = {.kind = VERDICT_SKIP};
    const struct verdict unset = {.kind = VERDICT_UNSET}, crash = {.kind = VERDICT_CRASH};

    CHECK_EQ_INT(verdict_decide(&done, 9, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).action,
                 SETTLE_ACK);
    CHECK_EQ_INT(verdict_decide(&skip, 1, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).action,
                 SETTLE_ACK);
    CHECK_EQ_INT(verdict_decide(&crash, 10, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).action,
                 SETTLE_DEAD_LETTER);
    CHECK_STR(
        verdict_decide(&crash, 10, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).dead_letter_class,
        "crash");
    CHECK_EQ_INT(verdict_decide(&unset, 1, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).action,
                 SETTLE_NAK);
    CHECK_EQ_INT(verdict_decide(&unset, 5, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).action,
                 SETTLE_DEAD_LETTER);
}

/* Full jitter: between 1 ms and the step, and the whole range is used. */
static void test_pace(void)
{
    static const int64_t steps[] = {1000, 5000, 30000, 120000, 120000};

    for (unsigned d = 1; d <= ARRAY_LEN(steps); d++) {
        const struct verdict v = {.kind = VERDICT_RETRY, .err = {.class = ERR_RETRY}};
        int64_t least = INT64_MAX, most = 0;

        for (uint64_t seed = 0; seed < 400; seed++) {
            struct prng prng;

            prng_seed(&prng, seed);
            const int64_t delay =
                verdict_decide(&v, d, 99, &retry_pace_usual, INT64_MAX, &prng).delay_ms;
            least = delay < least ? delay : least;
            most = delay > most ? delay : most;
        }
        CHECK(least >= 1 && least < steps[d - 1] / 10);
        CHECK(most <= steps[d - 1] && most > steps[d - 1] * 9 / 10);
    }
}

/* A pace of a consumer's own: its jitter lies around the delay, and no delay passes the longest. */
static void test_own_pace(void)
{
    static const int64_t delays[] = {5000, 30000, 28800000};
    const struct retry_pace pace = {
        .delays_ms = delays, .n_delays = ARRAY_LEN(delays), .jitter_percent = 20, .give_up_at = 4};
    const struct verdict v = {.kind = VERDICT_RETRY, .err = {.class = ERR_RETRY}};
    struct prng prng;

    for (unsigned d = 1; d <= 3; d++) {
        int64_t least = INT64_MAX, most = 0;

        for (uint64_t seed = 0; seed < 400; seed++) {
            prng_seed(&prng, seed);
            const int64_t delay = verdict_decide(&v, d, GIVE_UP, &pace, INT64_MAX, &prng).delay_ms;
            least = delay < least ? delay : least;
            most = delay > most ? delay : most;
        }
        CHECK(least >= delays[d - 1] * 8 / 10 && least < delays[d - 1] * 82 / 100);
        CHECK(most <= delays[d - 1] * 12 / 10 && most > delays[d - 1] * 118 / 100);
        CHECK(verdict_decide(&v, d, GIVE_UP, &pace, 50, &prng).delay_ms <= 60);
    }
    CHECK_EQ_INT(verdict_decide(&v, 3, 1, &pace, INT64_MAX, &prng).action, SETTLE_NAK);
    CHECK_EQ_INT(verdict_decide(&v, 4, 99, &pace, INT64_MAX, &prng).action, SETTLE_DEAD_LETTER);
}

static void test_later(void)
{
    struct verdict v = {.kind = VERDICT_LATER};
    struct prng prng;

    prng_seed(&prng, 1);
    struct settlement s = verdict_decide(&v, 99, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng);
    CHECK(s.action == SETTLE_LATER && s.delay_ms > 0 && s.delay_ms <= 1000);
    v.err.retry_after_ms = 7000;
    CHECK_EQ_INT(verdict_decide(&v, 1, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).delay_ms,
                 7000);
}

static void test_retry_after_is_honoured(void)
{
    struct verdict v = {.kind = VERDICT_RETRY,
                        .err = {.class = ERR_RETRY, .retry_after_ms = 77000}};
    struct prng prng;

    prng_seed(&prng, 1);
    CHECK_EQ_INT(verdict_decide(&v, 1, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).delay_ms,
                 77000);
    v.err.retry_after_ms = 1; /* shorter than our own pace: ours stays */
    CHECK(verdict_decide(&v, 4, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).delay_ms > 1);
    v.err.class = ERR_UNAVAILABLE;
    v.err.dependency = DEP_QDRANT;
    v.err.retry_after_ms = 3000;
    CHECK_EQ_INT(verdict_decide(&v, 1, GIVE_UP, &retry_pace_usual, INT64_MAX, &prng).delay_ms,
                 3000);
}

/* Deliveries that a trouble of so many minutes spends, when each lasts `first` minutes at first and
 * four times as long each time, and pauses between them last `pause`. */
static unsigned spent(int64_t minutes, int64_t (*lasts_ms)(unsigned), int64_t pause_ms)
{
    unsigned d = 1;

    for (int64_t at = lasts_ms(d) + pause_ms; at < minutes * 60000;)
        at += lasts_ms(++d) + pause_ms;
    return d;
}

static int64_t patience(unsigned d)
{
    return verdict_patience_ms(d, 300000);
}

/* What verdict.h says of the budget. */
static void test_budget(void)
{
    static const int64_t hour = 60, day = 24 * hour, week = 7 * day;

    CHECK_EQ_INT(patience(1), 300000);
    CHECK_EQ_INT(patience(2), 1200000);
    CHECK_EQ_INT(patience(99), 14ll * 24 * 3600000);
    CHECK_EQ_INT(verdict_exit_delay_ms(1), 30000);
    CHECK_EQ_INT(verdict_exit_delay_ms(3), 480000);
    CHECK_EQ_INT(verdict_drain_delay_ms(1), 0);
    CHECK_EQ_INT(verdict_drain_delay_ms(2), 0);
    CHECK_EQ_INT(verdict_drain_delay_ms(4), 4000);
    CHECK_EQ_INT(spent(hour, patience, 120000), 3);
    CHECK_EQ_INT(spent(day, patience, 120000), 5);
    CHECK_EQ_INT(spent(week, patience, 120000), 7);
    CHECK_EQ_INT(spent(hour, verdict_exit_delay_ms, 0), 5);
    CHECK_EQ_INT(spent(day, verdict_exit_delay_ms, 0), 9);
    CHECK_EQ_INT(spent(week, verdict_exit_delay_ms, 0), 33);
    CHECK(spent(week, verdict_exit_delay_ms, 0) < CRASH_LAST_RESORT);
    CHECK_EQ_INT(verdict_exit_delay_ms(60), 6ll * 3600000);
    CHECK_EQ_INT(verdict_drain_delay_ms(60), 6ll * 3600000);
}

/* With a record, deliveries count for nothing; without one, nothing else does. */
static void test_crash(void)
{
    CHECK(!verdict_is_crash(3, true, 0));
    CHECK(!verdict_is_crash(MAX_DELIVER - 1, true, CRASH_HANDLINGS - 1));
    CHECK(verdict_is_crash(RECORD_FROM, true, CRASH_HANDLINGS));
    CHECK(!verdict_is_crash(CRASH_LAST_RESORT - 1, false, CRASH_HANDLINGS));
    CHECK(verdict_is_crash(CRASH_LAST_RESORT, false, 0));
    CHECK(MAX_DELIVER > 7 * 24 * 3600 / 30 && CRASH_LAST_RESORT < MAX_DELIVER);
}

static void test_names(void)
{
    CHECK_STR(verdict_name(VERDICT_DONE), "done");
    CHECK_STR(verdict_name(VERDICT_UNCERTAIN), "uncertain");
    CHECK_STR(verdict_name((enum verdict_kind)99), "unset");
}

int main(void)
{
    RUN(test_errors_become_actions);
    RUN(test_kinds_without_error);
    RUN(test_pace);
    RUN(test_own_pace);
    RUN(test_later);
    RUN(test_retry_after_is_honoured);
    RUN(test_budget);
    RUN(test_crash);
    RUN(test_names);
    return check_result();
}
