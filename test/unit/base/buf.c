// SPDX-License-Identifier: Apache-2.0
#include "events/base/buf.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "events/base/backoff.h"
#include "test/unit/check.h"

static void test_maximum_is_sticky(void)
{
    for (size_t max = 0; max < 200; max++) {
        struct buf b;
        buf_init(&b, max);
        for (int i = 0; i < 30; i++) {
            buf_puts(&b, "12345");
        }
        CHECK(buf_failed(&b) == (max < 150));
        CHECK_EQ_INT(b.n, max < 150 ? max / 5 * 5 : 150);
        if (max < 150) {
            buf_putc(&b, 'x');
            CHECK_STR(buf_cstr(&b), "");
        }
        CHECK(b.n <= max);
        buf_reset(&b);
        CHECK(!buf_failed(&b));
        buf_deinit(&b);
        CHECK_EQ_INT(b.max, max);
    }
}

static void test_text(void)
{
    struct buf b;
    buf_init(&b, 1000);
    CHECK_STR(buf_cstr(&b), "");
    buf_append_view(&b, (struct view){0});
    buf_put_i64(&b, INT64_MIN);
    buf_putc(&b, ' ');
    buf_put_i64(&b, INT64_MAX);
    buf_putc(&b, ' ');
    buf_put_i64(&b, 0);
    buf_printf(&b, " %s", "a text that is longer than the first allocation, so that it grows");
    CHECK_STR(buf_cstr(&b), "-9223372036854775808 9223372036854775807 0 a text that is longer than "
                            "the first allocation, so that it grows");
    buf_reset(&b);
    buf_put_hex(&b, (struct bytes){(const uint8_t *)"\x00\xff\x1a", 3});
    CHECK_STR(buf_cstr(&b), "00ff1a");
    buf_reset(&b);
    char *room = buf_extend(&b, 3);
    REQUIRE(room);
    memcpy(room, "abc", 3);
    CHECK_VIEW(buf_view(&b), VIEW_LIT("abc"));
    CHECK(!buf_extend(&b, SIZE_MAX));
    CHECK(buf_failed(&b));
    buf_deinit(&b);
    buf_init(&b, 3);
    buf_printf(&b, "%d", 1234);
    CHECK(buf_failed(&b));
    buf_deinit(&b);
}

static void test_base64(void)
{
    /* RFC 4648 section 10 */
    static const char *const rows[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&b);
        buf_put_base64(&b, bytes_of(view_of(rows[i][0])));
        CHECK_STR(buf_cstr(&b), rows[i][1]);
    }
    buf_reset(&b);
    buf_put_base64(&b, (struct bytes){(const uint8_t *)"\xfb\xff\xfe", 3});
    CHECK_STR(buf_cstr(&b), "+//+");
    buf_deinit(&b);
}

static void test_json_string(void)
{
    static const struct {
        const char *text;
        size_t n;
        const char *want;
    } rows[] = {
        {"", 0, "\"\""},
        {"plain", 5, "\"plain\""},
        {"\"\\/\b\f\n\r\t", 8, "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
        {"a\0b\x1f\x7f", 5, "\"a\\u0000b\\u001f\x7f\""},
        {"\xe9\xac\xbc\xe6\xbb\x85", 6, "\"\xe9\xac\xbc\xe6\xbb\x85\""},
    };
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&b);
        buf_put_json_string(&b, (struct view){rows[i].text, rows[i].n});
        CHECK_STR(buf_cstr(&b), rows[i].want);
    }
    buf_deinit(&b);
}

static void test_numbers(void)
{
    static const struct {
        double v;
        const char *as_double, *as_float;
    } rows[] = {
        {0.0, "0", "0"},
        {-0.0, "-0.0", "-0.0"},
        {0.1, "0.1", "0.1"},
        {8.31, "8.31", "8.31"},
        {1e21, "1e+21", "1e+21"},
        {16777216, "16777216", "16777216"},
        {1.0 / 3, "0.3333333333333333", "0.33333334"},
        {INFINITY, "\"Infinity\"", "\"Infinity\""},
        {-INFINITY, "\"-Infinity\"", "\"-Infinity\""},
        {NAN, "\"NaN\"", "\"NaN\""},
        {5e-324, "5e-324", "0"},
        {DBL_MAX, "1.7976931348623157e+308", "\"Infinity\""},
    };
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&b);
        buf_put_double(&b, rows[i].v);
        CHECK_STR(buf_cstr(&b), rows[i].as_double);
        buf_reset(&b);
        float narrow = fabs(rows[i].v) > (double)FLT_MAX ? INFINITY : (float)rows[i].v;
        buf_put_float(&b,
                      isnan(rows[i].v) ? NAN : copysignf(narrow, (float)copysign(1, rows[i].v)));
        CHECK_STR(buf_cstr(&b), rows[i].as_float);
    }
    buf_reset(&b);
    buf_put_float(&b, 0x1p-149f);
    CHECK_STR(buf_cstr(&b), "1e-45");
    buf_deinit(&b);
}

/* The text is that of printf with the fewest digits, for every magnitude and many mantissas. */
static void test_floats_against_printf(void)
{
    struct prng r;
    prng_seed(&r, 7);
    struct buf b;
    buf_init(&b, 100);
    for (int i = 0; i < 60000; i++) {
        uint32_t bits = (uint32_t)prng_next(&r);
        float f;
        if (i % 3 == 0) { /* any float */
            memcpy(&f, &bits, sizeof f);
        } else if (i % 3 == 1) { /* parts of a vector */
            f = (float)(int32_t)bits / 2147483648.0f;
        } else { /* what people write */
            f = (float)(bits % 2000000) / (float)(1 + (bits >> 24) % 3 * 99);
        }
        if (!isfinite(f)) {
            continue;
        }
        char want[64];
        for (int digits = fpclassify(f) == FP_SUBNORMAL ? 1 : 6; digits <= 9; digits++) {
            snprintf(want, sizeof want, "%.*g", digits, (double)f);
            if (strtof(want, NULL) == f) {
                break;
            }
        }
        buf_reset(&b);
        buf_put_float(&b, f);
        CHECK_STR(buf_cstr(&b), want);
    }
    buf_deinit(&b);
}

/* An escape at every place of a text, beside bytes that look like one in the wide test. */
static void test_json_string_positions(void)
{
    static const char specials[] = {'"', '\\', '\n', 0x1f, 0};
    struct buf b, want;
    buf_init(&b, 400);
    buf_init(&want, 400);
    for (size_t n = 0; n < 30; n++) {
        for (size_t at = 0; at <= n; at++) {
            for (size_t s = 0; s < sizeof specials; s++) {
                char text[32];
                for (size_t i = 0; i < n; i++) {
                    static const char fill[] = {'a',  0x20,   0x21,   0x23,   0x5b,  0x5d,
                                                0x7f, '\xa2', '\xdc', '\x80', '\xff'};
                    text[i] = fill[(i * 7 + n) % sizeof fill];
                }
                if (at < n) {
                    text[at] = specials[s];
                }
                buf_reset(&want);
                buf_putc(&want, '"');
                for (size_t i = 0; i < n; i++) {
                    unsigned char c = (unsigned char)text[i];
                    if (c == '"' || c == '\\') {
                        buf_printf(&want, "\\%c", c);
                    } else if (c == '\n') {
                        buf_puts(&want, "\\n");
                    } else if (c < 0x20) {
                        buf_printf(&want, "\\u%04x", c);
                    } else {
                        buf_putc(&want, text[i]);
                    }
                }
                buf_putc(&want, '"');
                buf_reset(&b);
                buf_put_json_string(&b, (struct view){text, n});
                CHECK_VIEW(buf_view(&b), buf_view(&want));
            }
        }
    }
    buf_deinit(&b);
    buf_deinit(&want);
}

/* Random bit patterns come back as they were; no shorter "%g" text would. */
static void test_round_trip(void)
{
    struct prng r;
    prng_seed(&r, 20261121);
    struct buf b;
    buf_init(&b, 100);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = prng_next(&r);
        double d;
        memcpy(&d, &bits, sizeof d);
        float f;
        uint32_t half = (uint32_t)bits;
        memcpy(&f, &half, sizeof f);
        if (isfinite(d)) {
            buf_reset(&b);
            buf_put_double(&b, d);
            CHECK(strtod(buf_cstr(&b), NULL) == d);
        }
        if (isfinite(f)) {
            buf_reset(&b);
            buf_put_float(&b, f);
            CHECK(strtof(buf_cstr(&b), NULL) == f);
            char shorter[400];
            size_t digits = 0;
            for (const char *p = buf_cstr(&b); *p && *p != 'e'; p++) {
                digits += *p >= '0' && *p <= '9' && (digits || *p != '0');
            }
            if (digits > 1) {
                snprintf(shorter, sizeof shorter, "%.*g", (int)digits - 1, (double)f);
                CHECK(strtof(shorter, NULL) != f || strlen(shorter) >= b.n);
            }
        }
    }
    buf_deinit(&b);
}

int main(void)
{
    RUN(test_maximum_is_sticky);
    RUN(test_text);
    RUN(test_base64);
    RUN(test_json_string);
    RUN(test_numbers);
    RUN(test_round_trip);
    RUN(test_floats_against_printf);
    RUN(test_json_string_positions);
    return check_result();
}
