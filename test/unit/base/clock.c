// SPDX-License-Identifier: Apache-2.0
#include "events/base/clock.h"

#include <time.h>

#include "test/unit/check.h"

static void test_both_ways(void)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
        const char *text;
    } rows[] = {
        {0, 0, "1970-01-01T00:00:00Z"},
        {-1, 0, "1969-12-31T23:59:59Z"},
        {-1, 999999999, "1969-12-31T23:59:59.999999999Z"},
        {1795240800, 123456000, "2026-11-21T06:00:00.123456Z"},
        {1795240800, 500000000, "2026-11-21T06:00:00.500Z"},
        {1795240800, 1, "2026-11-21T06:00:00.000000001Z"},
        {951782400, 0, "2000-02-29T00:00:00Z"},
        {-2203891200, 0, "1900-03-01T00:00:00Z"},
        {RFC3339_MIN_SECONDS, 0, "0001-01-01T00:00:00Z"},
        {RFC3339_MAX_SECONDS, 999999999, "9999-12-31T23:59:59.999999999Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[RFC3339_MAX];
        rfc3339_format(rows[i].seconds, rows[i].nanos, text);
        CHECK_STR(text, rows[i].text);
        int64_t seconds = 42;
        int32_t nanos = 42;
        CHECK(rfc3339_parse(view_of(rows[i].text), &seconds, &nanos));
        CHECK_EQ_INT(seconds, rows[i].seconds);
        CHECK_EQ_INT(nanos, rows[i].nanos);
    }
}

static void test_other_spellings(void)
{
    static const struct {
        const char *text;
        int64_t seconds;
        int32_t nanos;
    } rows[] = {
        /* the first four are the examples of RFC 3339 section 5.8 */
        {"1985-04-12T23:20:50.52Z", 482196050, 520000000},
        {"1996-12-19T16:39:57-08:00", 851042397, 0},
        {"1990-12-31T23:59:60Z", 662688000, 0},
        {"1990-12-31T15:59:60-08:00", 662688000, 0},
        {"1970-01-01t00:00:00z", 0, 0},
        {"1970-01-01T01:30:00+01:30", 0, 0},
        {"1970-01-01T00:00:00-00:00", 0, 0},
        {"1970-01-01T00:00:00.1234567899999Z", 0, 123456789},
        {"0001-01-01T05:00:00+05:00", RFC3339_MIN_SECONDS, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t seconds = 42;
        int32_t nanos = 42;
        CHECK_ROW(rfc3339_parse(view_of(rows[i].text), &seconds, &nanos), rows[i].text);
        CHECK_EQ_INT(seconds, rows[i].seconds);
        CHECK_EQ_INT(nanos, rows[i].nanos);
    }
}

static void test_refused(void)
{
    static const char *const rows[] = {
        "",
        "1970",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-01-01T00:00:00ZZ",
        "1970-01-01T00:00:00Z ",
        " 1970-01-01T00:00:00Z",
        "1970-1-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2000-02-30T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:61Z",
        "1970-01-01T12:00:60Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-01-01T00:00:00+0000",
        "1970-01-01T00:00:00+00",
        "+970-01-01T00:00:00Z",
        "0000-12-31T23:59:59Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "10000-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t seconds = 42;
        int32_t nanos = 42;
        CHECK_ROW(!rfc3339_parse(view_of(rows[i]), &seconds, &nanos), rows[i]);
        CHECK(seconds == 42 && nanos == 42);
    }
    int64_t seconds;
    int32_t nanos;
    CHECK(!rfc3339_parse((struct view){"1970-01-01\0"
                                       "0:00:00Z",
                                       20},
                         &seconds, &nanos));
}

/* Against the C library's calendar, over all supported years. */
static void test_against_the_c_library(void)
{
    for (int64_t t = RFC3339_MIN_SECONDS; t <= RFC3339_MAX_SECONDS; t += 86400 * 37 + 12345) {
        char ours[RFC3339_MAX], theirs[RFC3339_MAX];
        struct tm tm;
        time_t clock = (time_t)t;
        REQUIRE(gmtime_r(&clock, &tm));
        snprintf(theirs, sizeof theirs, "%04u-%02u-%02uT%02u:%02u:%02uZ",
                 (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
                 (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
                 (unsigned)tm.tm_sec % 100);
        rfc3339_format(t, 0, ours);
        CHECK_STR(ours, theirs);
        int64_t seconds;
        int32_t nanos;
        CHECK(rfc3339_parse(view_of(ours), &seconds, &nanos));
        CHECK_EQ_INT(seconds, t);
    }
}

static void test_clocks(void)
{
    char text[RFC3339_MAX];
    rfc3339_format(INT64_MAX, 0, text);
    CHECK_STR(text, "9999-12-31T23:59:59Z");
    rfc3339_format(INT64_MIN, 0, text);
    CHECK_STR(text, "0001-01-01T00:00:00Z");
    CHECK(wall_us() / 1000000 - (int64_t)time(NULL) <= 1);
    int64_t before = mono_us();
    CHECK(mono_us() >= before);
    CHECK(mono_ms() >= before / 1000);
}

int main(void)
{
    RUN(test_both_ways);
    RUN(test_other_spellings);
    RUN(test_refused);
    RUN(test_against_the_c_library);
    RUN(test_clocks);
    return check_result();
}
