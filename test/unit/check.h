/* The assertions of the unit tests: a test is a function, main runs a list of them.
 *
 *     static void test_it_adds(void) { CHECK_EQ_INT(add(1, 2), 3); }
 *     int main(void) { RUN(test_it_adds); return check_result(); }
 *
 * CHECK* print what failed and go on; REQUIRE leaves the test function. Values are evaluated once.
 * One test executable is one file that includes this header. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "events/base/view.h"

static _Atomic unsigned check_failures;
static const char *check_running = "";

/* What is printed is limited, what is counted is not. */
static inline bool check_report(const char *file, int line)
{
    unsigned n = atomic_fetch_add(&check_failures, 1);
    if (n == 40) {
        fprintf(stderr, "... more failures are only counted\n");
    }
    if (n < 40) {
        fprintf(stderr, "%s:%d: %s: ", file, line, check_running);
    }
    return n < 40;
}

static inline bool check_true(bool ok, const char *text, const char *file, int line)
{
    if (!ok && check_report(file, line)) {
        fprintf(stderr, "failed: %s\n", text);
    }
    return ok;
}

static inline bool check_int(int64_t got, int64_t want, const char *text, const char *file,
                             int line)
{
    if (got != want && check_report(file, line)) {
        fprintf(stderr, "%s is %" PRId64 ", expected %" PRId64 "\n", text, got, want);
    }
    return got == want;
}

static inline bool check_view(struct view got, struct view want, const char *text, const char *file,
                              int line)
{
    bool ok = view_eq(got, want);
    if (!ok && check_report(file, line)) {
        fprintf(stderr, "%s is\n  \"%.*s\", expected\n  \"%.*s\"\n", text, VIEW_ARG(got),
                VIEW_ARG(want));
    }
    return ok;
}

static inline bool check_str(const char *got, const char *want, const char *text, const char *file,
                             int line)
{
    if (!got || !want) {
        return check_true(got == want, text, file, line);
    }
    return check_view(view_of(got), view_of(want), text, file, line);
}

static inline int check_result(void)
{
    unsigned n = atomic_load(&check_failures);
    if (n) {
        fprintf(stderr, "%u check(s) failed\n", n);
    }
    return n ? 1 : 0;
}

#define CHECK(cond) check_true((cond), #cond, __FILE__, __LINE__)
/* For a table's row: text (a string) says which one. */
#define CHECK_ROW(cond, text) check_true((cond), (text), __FILE__, __LINE__)
#define CHECK_EQ_INT(got, want) check_int((int64_t)(got), (int64_t)(want), #got, __FILE__, __LINE__)
#define CHECK_STR(got, want) check_str((got), (want), #got, __FILE__, __LINE__)
#define CHECK_VIEW(got, want) check_view((got), (want), #got, __FILE__, __LINE__)
#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!check_true((cond), #cond, __FILE__, __LINE__)) {                                      \
            return;                                                                                \
        }                                                                                          \
    } while (0)
#define RUN(test)                                                                                  \
    do {                                                                                           \
        check_running = #test;                                                                     \
        test();                                                                                    \
    } while (0)
