// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/signature.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "events/base/hash.h"
#include "test/unit/check.h"

/* By OpenSSL's own encoder. */
static size_t want_der(const uint8_t raw[static ES256_SIZE], uint8_t *out)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    uint8_t *at = out;

    ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL));
    const int n = i2d_ECDSA_SIG(sig, &at);
    ECDSA_SIG_free(sig);
    return n > 0 ? (size_t)n : 0;
}

static void check_der(const uint8_t raw[static ES256_SIZE])
{
    uint8_t want[128], got[ES256_DER_MAX + 8];

    memset(got, 0x5a, sizeof(got));
    const size_t n_want = want_der(raw, want), n = es256_to_der(raw, got);
    CHECK(n <= ES256_DER_MAX && n == n_want && memcmp(got, want, n) == 0);
    for (size_t i = n; i < sizeof(got); i++)
        CHECK_EQ_INT(got[i], 0x5a);
}

/* Every number of leading zeros, with and without the highest bit behind them. */
static void test_every_length(void)
{
    uint8_t raw[ES256_SIZE];

    for (size_t r = 0; r <= 32; r++) {
        for (size_t s = 0; s <= 32; s++) {
            for (unsigned high = 0; high < 4; high++) {
                memset(raw, 0x11, sizeof(raw));
                memset(raw, 0, r);
                memset(raw + 32, 0, s);
                if (r < 32 && (high & 1))
                    raw[r] = 0x80;
                if (s < 32 && (high & 2))
                    raw[32 + s] = 0xff;
                check_der(raw);
            }
        }
    }
}

static void test_random_values(void)
{
    uint8_t raw[ES256_SIZE];

    for (unsigned i = 0; i < 2000; i++) {
        sha256((struct bytes){(const uint8_t *)&i, sizeof(i)}, raw);
        sha256((struct bytes){raw, 32}, raw + 32);
        check_der(raw);
    }
    memset(raw, 0xff, sizeof(raw));
    check_der(raw);
}

static void test_names(void)
{
    enum signing found = SIGNINGS;

    for (enum signing s = SIGN_RS256; s < SIGNINGS; s++)
        CHECK(signing_find(view_of(signing_name(s)), &found) && found == s);
    static const char *const others[] = {"", "none", "HS256", "rs256", "RS2566", "ES25", "eddsa"};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        CHECK_ROW(!signing_find(view_of(others[i]), &found), others[i]);
}

/* Other users of OpenSSL (libpq, libcurl) look into the same queue of this thread. */
static void test_no_error_is_left_behind(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    uint8_t zeros[ES256_SIZE] = {0}, ones[ES256_SIZE];

    memset(ones, 0xff, sizeof(ones));
    CHECK(!signature_is_good(SIGN_ES256, key, VIEW_LIT("x"), (struct bytes){zeros, ES256_SIZE}));
    CHECK(!signature_is_good(SIGN_ES256, key, VIEW_LIT("x"), (struct bytes){ones, ES256_SIZE}));
    CHECK(!signature_is_good(SIGN_ES256, key, VIEW_LIT("x"), (struct bytes){ones, 63}));
    CHECK(!signature_is_good(SIGN_RS256, key, VIEW_LIT("x"), (struct bytes){ones, ES256_SIZE}));
    CHECK_EQ_INT(ERR_peek_error(), 0);
    EVP_PKEY_free(key);
}

int main(void)
{
    RUN(test_every_length);
    RUN(test_random_values);
    RUN(test_names);
    RUN(test_no_error_is_left_behind);
    return check_result();
}
