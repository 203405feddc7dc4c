// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/base64url.h"

#include <openssl/evp.h>

#include "test/unit/check.h"

/* By OpenSSL: the other alphabet and padding taken off. */
static size_t want_text(const uint8_t *data, size_t n, char *out)
{
    EVP_EncodeBlock((uint8_t *)out, data, (int)n);
    size_t length = strcspn(out, "=");
    for (size_t i = 0; i < length; i++)
        out[i] = out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i];
    return length;
}

static void check_value(const uint8_t *data, size_t n)
{
    struct buf text CLEANUP(buf_deinit) = {.max = 4096};
    char want[4096];
    uint8_t back[2048];
    size_t n_back = 99;

    const size_t n_want = want_text(data, n, want);
    base64url_put(&text, (struct bytes){data, n});
    CHECK_VIEW(buf_view(&text), ((struct view){want, n_want}));
    CHECK(base64url_decode(buf_view(&text), back, sizeof(back), &n_back));
    CHECK(n_back == n && memcmp(back, data, n) == 0);
    CHECK(base64url_decode(buf_view(&text), back, n, &n_back));
    CHECK(n == 0 || !base64url_decode(buf_view(&text), back, n - 1, &n_back));
}

static void test_every_short_value(void)
{
    check_value((const uint8_t *)"", 0);
    for (unsigned i = 0; i < 256; i++)
        check_value(&(uint8_t){(uint8_t)i}, 1);
    for (unsigned i = 0; i < 65536; i += 7)
        check_value((const uint8_t[]){(uint8_t)(i >> 8), (uint8_t)i}, 2);
    for (unsigned i = 0; i < 1u << 24; i += 4099)
        check_value((const uint8_t[]){(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}, 3);
}

static void test_long_values(void)
{
    uint8_t data[1100];

    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 151 >> 3);
    for (size_t n = 4; n < sizeof(data); n += 13)
        check_value(data, n);
}

/* Of all texts of two letters 256 are canonical, one for each byte; of three 65536. */
static void test_one_text_for_each_value(void)
{
    size_t two = 0, three = 0;
    uint8_t out[3];
    size_t n;

    for (unsigned a = 0; a < 256; a++) {
        for (unsigned b = 0; b < 256; b++) {
            const char text[] = {(char)a, (char)b, 'A'};
            two += base64url_decode((struct view){text, 2}, out, sizeof(out), &n);
            three += base64url_decode((struct view){text, 3}, out, sizeof(out), &n);
            CHECK(!base64url_decode((struct view){text, 1}, out, sizeof(out), &n));
        }
    }
    CHECK_EQ_INT(two, 256);
    CHECK_EQ_INT(three, 64 * 64);
}

static void test_refused(void)
{
    static const char *const texts[] = {
        "A",     "AAAAA", "AA==", "AAA=", "AA=",  " AAA", "AAA ",
        "AA\nA", "AB",    "AAB",  "AA+A", "AA/A", "A.AA", "AA\xc3\xa9"};
    uint8_t out[16];
    size_t n = 77;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        CHECK_ROW(!base64url_decode(view_of(texts[i]), out, sizeof(out), &n), texts[i]);
    CHECK_EQ_INT(n, 77);
    CHECK(!base64url_decode((struct view){"AA\0A", 4}, out, sizeof(out), &n));
}

int main(void)
{
    RUN(test_every_short_value);
    RUN(test_long_values);
    RUN(test_one_text_for_each_value);
    RUN(test_refused);
    return check_result();
}
