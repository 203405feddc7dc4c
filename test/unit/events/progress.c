/* Progress reports: pace, end, and that a settled event is never reported again. */
// SPDX-License-Identifier: Apache-2.0

#include "events/progress.h"

#include <time.h>

#include "events/base/clock.h"
#include "test/unit/check.h"

#define LIMIT_MS 300000

static _Atomic int sent_a, sent_b;

static void count(void *ctx, const char *ack_subject)
{
    if (ack_subject[0] == 'a')
        sent_a++;
    else
        sent_b++;
}

static void sleep_ms(int64_t ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void test_pace_and_removal(void)
{
    struct progress *p = NULL;
    struct lease a = {0}, b = {0};
    struct err err = ERR_INIT;

    sent_a = sent_b = 0;
    REQUIRE(progress_start(&p, LIMIT_MS, count, NULL, &err) == 0);
    const int64_t began = mono_ms();
    progress_add(p, &b, "b", began, 30000);
    progress_add(p, &a, "a", began, 60); /* earlier than what the thread waits for */
    CHECK_EQ_INT(progress_count(p), 2);
    sleep_ms(150);
    progress_remove(p, &a);
    const int64_t lived = mono_ms() - began;
    const int after = sent_a;
    CHECK(after >= 2 && after <= lived / 20);
    CHECK_EQ_INT(sent_b, 0);
    sleep_ms(60);
    CHECK_EQ_INT(sent_a, after);
    progress_remove(p, &a); /* twice is harmless */
    progress_remove(p, &b);
    CHECK_EQ_INT(progress_count(p), 0);
    progress_stop(p);
}

/* An event older than the limit is no longer reported. */
static void test_limit(void)
{
    struct progress *p = NULL;
    struct lease a = {0};
    struct err err = ERR_INIT;

    sent_a = 0;
    REQUIRE(progress_start(&p, LIMIT_MS, count, NULL, &err) == 0);
    progress_add(p, &a, "a", mono_ms() - LIMIT_MS, 30);
    sleep_ms(60);
    CHECK_EQ_INT(sent_a, 0);
    progress_remove(p, &a);
    progress_stop(p);
    CHECK(progress_stop(NULL) == NULL);
}

static int64_t cpu_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* A process that was stopped wakes up behind the end of what was due: nothing is left to report,
 * and the thread must sleep over it. */
static void test_end_passed_unreported(void)
{
    struct progress *p = NULL;
    struct lease a = {0};
    struct err err = ERR_INIT;

    sent_a = 0;
    REQUIRE(progress_start(&p, LIMIT_MS, count, NULL, &err) == 0);
    const int64_t began = cpu_ms();
    progress_add(p, &a, "a", mono_ms() - 2 * LIMIT_MS, 30);
    sleep_ms(800);
    CHECK(cpu_ms() - began < 100);
    CHECK_EQ_INT(sent_a, 0);
    progress_remove(p, &a);
    progress_stop(p);
}

/* The end moves both ways, and wakes a thread that had nothing left to report. */
static void test_moved_end(void)
{
    struct progress *p = NULL;
    struct lease a = {0}, b = {0};
    struct err err = ERR_INIT;

    sent_a = sent_b = 0;
    REQUIRE(progress_start(&p, LIMIT_MS, count, NULL, &err) == 0);
    progress_add(p, &a, "a", mono_ms() - LIMIT_MS, 30);
    progress_add(p, &b, "b", mono_ms(), 30);
    progress_set_end(p, &b, mono_ms());
    progress_set_end(p, &a, INT64_MAX);
    sleep_ms(100);
    CHECK(sent_a >= 1);
    CHECK_EQ_INT(sent_b, 0);
    progress_remove(p, &a);
    progress_remove(p, &b);
    progress_stop(p);
}

int main(void)
{
    RUN(test_pace_and_removal);
    RUN(test_limit);
    RUN(test_end_passed_unreported);
    RUN(test_moved_end);
    return check_result();
}
