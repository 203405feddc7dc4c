// SPDX-License-Identifier: Apache-2.0
#include "events/base/view.h"

#include "test/unit/check.h"

static void test_split(void)
{
    struct view rest = VIEW_LIT("a,,bc,"), part;
    static const char *const want[] = {"a", "", "bc", ""};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        CHECK(view_split(&rest, ',', &part));
        CHECK_VIEW(part, view_of(want[i]));
    }
    CHECK(!view_split(&rest, ',', &part));
    rest = VIEW_LIT("");
    CHECK(view_split(&rest, ',', &part) && part.n == 0);
    CHECK(!view_split(&rest, ',', &part));
}

static void test_small_ones(void)
{
    CHECK_VIEW(view_trim(VIEW_LIT(" \t a b\r\n")), VIEW_LIT("a b"));
    CHECK_VIEW(view_trim(VIEW_LIT("  ")), VIEW_LIT(""));
    CHECK(view_starts_with(VIEW_LIT("abc"), "ab"));
    CHECK(view_starts_with((struct view){0}, ""));
    CHECK(!view_starts_with(VIEW_LIT("a"), "ab"));
    CHECK(view_eq((struct view){0}, VIEW_LIT("")));
    CHECK(!view_is(VIEW_LIT("ab"), "a"));
}

static void test_numbers(void)
{
    static const struct {
        const char *text;
        int64_t min, max, want;
        bool ok;
    } rows[] = {
        {"0", 0, 0, 0, true},
        {"-0", 0, 0, 0, true},
        {"+7", 0, 10, 7, true},
        {"0010", 0, 10, 10, true},
        {"9223372036854775807", INT64_MIN, INT64_MAX, INT64_MAX, true},
        {"-9223372036854775808", INT64_MIN, INT64_MAX, INT64_MIN, true},
        {"9223372036854775808", INT64_MIN, INT64_MAX, 0, false},
        {"-9223372036854775809", INT64_MIN, INT64_MAX, 0, false},
        {"99999999999999999999999", INT64_MIN, INT64_MAX, 0, false},
        {"11", 0, 10, 0, false},
        {"-1", 0, 10, 0, false},
        {"", 0, 10, 0, false},
        {"-", 0, 10, 0, false},
        {"1 ", 0, 10, 0, false},
        {" 1", 0, 10, 0, false},
        {"0x1", 0, 10, 0, false},
        {"1.0", 0, 10, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = 42;
        bool ok = view_to_i64(view_of(rows[i].text), rows[i].min, rows[i].max, &v);
        CHECK_ROW(ok == rows[i].ok, rows[i].text);
        CHECK_EQ_INT(v, rows[i].ok ? rows[i].want : 42);
    }
}

static void test_durations_and_sizes(void)
{
    static const struct {
        const char *text;
        int64_t duration, size; /* -1 = refused */
    } rows[] = {
        {"250ms", 250, -1},
        {"30s", 30000, -1},
        {"5m", 300000, -1},
        {"24h", 86400000, -1},
        {"7d", 604800000, -1},
        {"1500", 1500, 1500},
        {"0", 0, 0},
        {"64KiB", -1, 65536},
        {"8MiB", -1, 8388608},
        {"1GiB", -1, 1073741824},
        {"", -1, -1},
        {"s", -1, -1},
        {"-1s", -1, -1},
        {"1 s", -1, -1},
        {"1S", -1, -1},
        {"1kib", -1, -1},
        {"1KB", -1, -1},
        {"1.5s", -1, -1},
        {"9223372036854775807", INT64_MAX, INT64_MAX},
        {"9223372036854775807s", -1, -1},
        {"9223372036854775807KiB", -1, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t v = -1;
        CHECK_ROW(view_to_duration_ms(view_of(rows[i].text), &v) == (rows[i].duration >= 0),
                  rows[i].text);
        CHECK_EQ_INT(v, rows[i].duration);
        v = -1;
        CHECK_ROW(view_to_size(view_of(rows[i].text), &v) == (rows[i].size >= 0), rows[i].text);
        CHECK_EQ_INT(v, rows[i].size);
    }
}

static size_t encode(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6) {
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    }
    out[0] = (uint8_t)(c | (n == 2 ? 0xc0 : n == 3 ? 0xe0 : 0xf0));
    return n;
}

/* Every code point but NUL and surrogates is valid; of all one, two and three byte strings exactly
 * as many are valid as counting says: 127, 1,920 and 61,440 characters of one, two, three bytes. */
static void test_utf8_exhaustively(void)
{
    uint8_t b[4];
    for (uint32_t c = 0; c < 0x110000; c++) {
        size_t n = encode(c, b);
        bool want = c != 0 && (c < 0xd800 || c > 0xdfff);
        CHECK(utf8_is_valid((struct bytes){b, n}) == want);
        CHECK(!utf8_is_valid((struct bytes){b, n - 1}) || n == 1);
    }
    long valid[4] = {0};
    for (uint32_t x = 0; x < 1 << 24; x++) {
        b[0] = (uint8_t)(x >> 16);
        b[1] = (uint8_t)(x >> 8);
        b[2] = (uint8_t)x;
        valid[3] += utf8_is_valid((struct bytes){b, 3});
        if (x < 1 << 16) {
            valid[2] += utf8_is_valid((struct bytes){b + 1, 2});
        }
        if (x < 1 << 8) {
            valid[1] += utf8_is_valid((struct bytes){b + 2, 1});
        }
    }
    CHECK_EQ_INT(valid[1], 127);
    CHECK_EQ_INT(valid[2], 127 * 127 + 1920);
    CHECK_EQ_INT(valid[3], 127L * 127 * 127 + 2 * 127 * 1920 + 61440);
    /* Four bytes: every lead with every second byte and the edges behind it. 128 * 4 planes' worth:
     * F0 90-BF, F1-F3 80-BF, F4 80-8F have valid seconds, and 2 * 2 of the edges are tails. */
    static const uint8_t edges[] = {0x7f, 0x80, 0xbf, 0xc0};
    long four = 0;
    for (unsigned lead = 0xe0; lead < 0x100; lead++) {
        for (unsigned second = 0; second < 0x100; second++) {
            for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
                for (size_t k = 0; k < ARRAY_LEN(edges); k++) {
                    uint8_t s[4] = {(uint8_t)lead, (uint8_t)second, edges[i], edges[k]};
                    four += lead >= 0xf0 && utf8_is_valid((struct bytes){s, 4});
                }
            }
        }
    }
    CHECK_EQ_INT(four, (48 + 3 * 64 + 16) * 4);
}

/* The eight-byte stride must not hide a bad byte at any place. */
static void test_utf8_positions(void)
{
    CHECK(utf8_is_valid((struct bytes){0}));
    for (size_t n = 1; n < 40; n++) {
        for (size_t at = 0; at < n; at++) {
            uint8_t s[40];
            memset(s, 'a', sizeof s);
            CHECK(utf8_is_valid((struct bytes){s, n}));
            s[at] = 0;
            CHECK(!utf8_is_valid((struct bytes){s, n}));
            s[at] = 0x80;
            CHECK(!utf8_is_valid((struct bytes){s, n}));
            s[at] = 0xc3;
            CHECK(!utf8_is_valid((struct bytes){s, n}));
        }
    }
}

static void test_utf8_clean(void)
{
    static const struct {
        const char *text;
        size_t size;
        const char *want;
    } rows[] = {
        {"", 4, ""},
        {"abcd", 4, "abcd"},
        {"abcde", 4, "a\xe2\x80\xa6"},
        {"\xe9\xac\xbc\xe6\xbb\x85", 6, "\xe9\xac\xbc\xe6\xbb\x85"},
        {"\xe9\xac\xbc\xe6\xbb\x85", 5, "\xe2\x80\xa6"},
        {"\xe9\xac\xbc\xe6\xbb\x85z", 6, "\xe9\xac\xbc\xe2\x80\xa6"},
        {"a\xff"
         "b",
         10,
         "a\xef\xbf\xbd"
         "b"},
        {"\xe9\xac", 10, "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xff\xff\xff", 8, "\xef\xbf\xbd\xe2\x80\xa6"},
        {"ab\xc3\xa4", 4, "ab\xc3\xa4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[16];
        memset(out, '!', sizeof out);
        CHECK_VIEW(utf8_clean(view_of(rows[i].text), out, rows[i].size), view_of(rows[i].want));
        CHECK(out[rows[i].size] == '!');
    }
}

int main(void)
{
    RUN(test_utf8_clean);
    RUN(test_split);
    RUN(test_small_ones);
    RUN(test_numbers);
    RUN(test_durations_and_sizes);
    RUN(test_utf8_exhaustively);
    RUN(test_utf8_positions);
    return check_result();
}
