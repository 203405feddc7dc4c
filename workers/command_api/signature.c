// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/signature.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "events/base/fault.h"

#define ED25519_SIZE 64
#define PS256_SALT 32
#define DER_SEQUENCE 0x30
#define DER_INTEGER 0x02

static const char *const names[SIGNINGS] = {
    [SIGN_RS256] = "RS256",
    [SIGN_ES256] = "ES256",
    [SIGN_PS256] = "PS256",
    [SIGN_EDDSA] = "EdDSA",
};

bool signing_find(struct view name, enum signing *ret)
{
    for (enum signing s = SIGN_RS256; s < SIGNINGS; s++) {
        if (view_is(name, names[s])) {
            *ret = s;
            return true;
        }
    }
    return false;
}

const char *signing_name(enum signing alg)
{
    return names[alg];
}

/* One positive integer of 32 bytes: without leading zeros, one in front where it would look
 * negative. At most 35 bytes. */
static size_t put_integer(const uint8_t value[static 32], uint8_t *out)
{
    size_t skip = 0, n = 0;

    while (skip < 31 && value[skip] == 0)
        skip++;
    const bool pad = (value[skip] & 0x80) != 0;
    out[n++] = DER_INTEGER;
    out[n++] = (uint8_t)(32 - skip + pad);
    if (pad)
        out[n++] = 0;
    memcpy(out + n, value + skip, 32 - skip);
    return n + 32 - skip;
}

size_t es256_to_der(const uint8_t raw[static ES256_SIZE], uint8_t out[static ES256_DER_MAX])
{
    size_t n = 2;

    n += put_integer(raw, out + n);
    n += put_integer(raw + 32, out + n);
    out[0] = DER_SEQUENCE;
    out[1] = (uint8_t)(n - 2);
    return n;
}

/* RSA signatures are as long as the modulus; the others have one length. */
static bool has_right_length(enum signing alg, const EVP_PKEY *key, size_t n)
{
    if (alg == SIGN_ES256)
        return n == ES256_SIZE;
    if (alg == SIGN_EDDSA)
        return n == ED25519_SIZE;
    return n == (size_t)EVP_PKEY_get_size(key);
}

static bool set_up(EVP_MD_CTX *ctx, enum signing alg, EVP_PKEY *key)
{
    EVP_PKEY_CTX *details = NULL;

    if (EVP_DigestVerifyInit(ctx, &details, alg == SIGN_EDDSA ? NULL : EVP_sha256(), NULL, key) !=
        1)
        return false;
    if (alg == SIGN_RS256)
        return EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PADDING) == 1;
    if (alg == SIGN_PS256)
        return EVP_PKEY_CTX_set_rsa_padding(details, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(details, PS256_SALT) == 1;
    return true;
}

bool signature_is_good(enum signing alg, EVP_PKEY *key, struct view text, struct bytes signature)
{
    uint8_t der[ES256_DER_MAX];

    if (FAULT("signature-unchecked"))
        return true;
    if (!has_right_length(alg, key, signature.n))
        return false;
    if (alg == SIGN_ES256)
        signature = (struct bytes){der, es256_to_der(signature.p, der)};
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool good =
        ctx != NULL && set_up(ctx, alg, key) &&
        EVP_DigestVerify(ctx, signature.p, signature.n, (const uint8_t *)text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    /* What is left in this thread's queue, other users of OpenSSL would take for their own. */
    ERR_clear_error();
    return good;
}
