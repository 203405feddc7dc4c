// SPDX-License-Identifier: Apache-2.0
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "events/base/hash.h"
#include "ops/cli/dev_issuer.h"
#include "workers/command_api/base64url.h"
#include "workers/command_api/signature.h"

#define POINT_SIZE 65 /* 4, x, y */
#define HALF 32
#define KID_TEXT 16

struct dev_key {
    EVP_PKEY *pkey;
    uint8_t point[POINT_SIZE];
    char kid[KID_TEXT];
};

struct dev_key *dev_key_new(void)
{
    struct dev_key *key = calloc(1, sizeof(*key));
    struct buf kid CLEANUP(buf_deinit) = {.max = KID_TEXT};
    uint8_t digest[SHA256_SIZE];
    size_t n = 0;

    if (key == NULL)
        return NULL;
    key->pkey = EVP_EC_gen("P-256");
    if (key->pkey == NULL ||
        EVP_PKEY_get_octet_string_param(key->pkey, OSSL_PKEY_PARAM_PUB_KEY, key->point,
                                        sizeof(key->point), &n) != 1 ||
        n != POINT_SIZE)
        return dev_key_free(key);
    sha256((struct bytes){key->point, n}, digest);
    base64url_put(&kid, (struct bytes){digest, 8});
    (void)snprintf(key->kid, sizeof(key->kid), "%s", buf_cstr(&kid));
    return key;
}

struct dev_key *dev_key_free(struct dev_key *key)
{
    if (key != NULL)
        EVP_PKEY_free(key->pkey);
    free(key);
    return NULL;
}

void dev_key_publish(const struct dev_key *key, struct buf *out)
{
    buf_printf(out,
               "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"use\":\"sig\",\"alg\":\"ES256\","
               "\"kid\":\"%s\",\"x\":\"",
               key->kid);
    base64url_put(out, (struct bytes){key->point + 1, HALF});
    buf_puts(out, "\",\"y\":\"");
    base64url_put(out, (struct bytes){key->point + 1 + HALF, HALF});
    buf_puts(out, "\"}]}\n");
}

/* OpenSSL signs in DER; JOSE wants r and s, 32 bytes each. */
static bool sign_raw(EVP_PKEY *pkey, struct view text, uint8_t out[static ES256_SIZE])
{
    uint8_t der[ES256_DER_MAX];
    const uint8_t *at = der;
    size_t n = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const bool made = ctx != NULL && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, pkey) == 1 &&
                      EVP_DigestSign(ctx, der, &n, (const uint8_t *)text.p, text.n) == 1;
    ECDSA_SIG *sig = made ? d2i_ECDSA_SIG(NULL, &at, (long)n) : NULL;
    const bool good = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), out, HALF) == HALF &&
                      BN_bn2binpad(ECDSA_SIG_get0_s(sig), out + HALF, HALF) == HALF;

    ECDSA_SIG_free(sig);
    EVP_MD_CTX_free(ctx);
    return good;
}

int dev_key_sign(const struct dev_key *key, struct view claims, struct buf *out, struct err *err)
{
    struct buf header CLEANUP(buf_deinit) = {.max = 256};
    uint8_t signature[ES256_SIZE];
    const size_t begin = out->n;

    buf_printf(&header, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", key->kid);
    base64url_put(out, bytes_of(buf_view(&header)));
    buf_putc(out, '.');
    base64url_put(out, bytes_of(claims));
    if (buf_failed(out) || buf_failed(&header))
        return buf_error(out, "sign token", "the token", err);
    if (!sign_raw(key->pkey, (struct view){out->p + begin, out->n - begin}, signature))
        return err_set(err, ERR_RETRY, "no-memory", "sign token", "OpenSSL does not sign");
    buf_putc(out, '.');
    base64url_put(out, (struct bytes){signature, sizeof(signature)});
    return buf_failed(out) ? buf_error(out, "sign token", "the token", err) : 0;
}
