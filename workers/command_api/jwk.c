// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/jwk.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>

#include "workers/command_api/base64url.h"

#define RSA_LEAST_BITS 2048
#define RSA_MOST_BITS 8192
#define RSA_LEAST_EXPONENT 65537
#define RSA_EXPONENT_BYTES 8
#define SMALL_FACTORS 1024
#define COORDINATE 32

/* Which keys are for which algorithm; the first fitting row is what a key without `alg` is for. */
static const struct {
    const char *kty, *crv, *alg;
    enum signing signing;
} kinds[] = {
    {"RSA", NULL, "RS256", SIGN_RS256},
    {"RSA", NULL, "PS256", SIGN_PS256},
    {"EC", "P-256", "ES256", SIGN_ES256},
    {"OKP", "Ed25519", "EdDSA", SIGN_EDDSA},
};

static bool member_is(const json_t *jwk, const char *name, const char *wanted)
{
    const char *text = json_string_value(json_object_get(jwk, name));

    return text != NULL && strcmp(text, wanted) == 0;
}

static bool find_kind(const json_t *jwk, enum signing *ret)
{
    const bool any = json_object_get(jwk, "alg") == NULL;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (member_is(jwk, "kty", kinds[i].kty) && (any || member_is(jwk, "alg", kinds[i].alg)) &&
            (kinds[i].crv == NULL || member_is(jwk, "crv", kinds[i].crv))) {
            *ret = kinds[i].signing;
            return true;
        }
    }
    return false;
}

static bool is_for_verifying(const json_t *jwk)
{
    const json_t *ops = json_object_get(jwk, "key_ops"), *op;
    bool verify = ops == NULL;
    size_t i;

    if (json_object_get(jwk, "use") != NULL && !member_is(jwk, "use", "sig"))
        return false;
    json_array_foreach(ops, i, op)
    {
        const char *text = json_string_value(op);
        verify |= text != NULL && strcmp(text, "verify") == 0;
    }
    return verify;
}

static bool decode(const json_t *jwk, const char *name, uint8_t *out, size_t size, size_t *ret_n)
{
    const char *text = json_string_value(json_object_get(jwk, name));

    return text != NULL && base64url_decode(view_of(text), out, size, ret_n) && *ret_n > 0;
}

/* Takes the parameters over. */
static EVP_PKEY *make(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY_CTX *ctx = params != NULL ? EVP_PKEY_CTX_new_from_name(NULL, type, NULL) : NULL;
    EVP_PKEY *key = NULL;

    if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    return key;
}

/* Of RSA read_rsa makes sure: OpenSSL would draw lots on a modulus that is no product of two
 * primes, and the same key would be taken one time and refused the next. */
static bool is_sound(EVP_PKEY *key)
{
    if (EVP_PKEY_is_a(key, "RSA"))
        return true;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    const bool sound = ctx != NULL && EVP_PKEY_public_check(ctx) == 1;

    EVP_PKEY_CTX_free(ctx);
    return sound;
}

static bool has_small_factor(const BIGNUM *n)
{
    bool found = !BN_is_odd(n);

    for (BN_ULONG p = 3; p < SMALL_FACTORS && !found; p += 2)
        found = BN_mod_word(n, p) == 0;
    return found;
}

static EVP_PKEY *make_rsa_of(const BIGNUM *n, const BIGNUM *e)
{
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;

    if (build != NULL && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    OSSL_PARAM_BLD_free(build);
    return make("RSA", params);
}

static EVP_PKEY *read_rsa(const json_t *jwk, const char **ret_refusal)
{
    uint8_t modulus[RSA_MOST_BITS / 8 + 1], exponent[RSA_EXPONENT_BYTES];
    size_t n_modulus, n_exponent;
    EVP_PKEY *key = NULL;

    *ret_refusal = "an RSA key without a modulus or exponent that can be used";
    if (!decode(jwk, "n", modulus, sizeof(modulus), &n_modulus) ||
        !decode(jwk, "e", exponent, sizeof(exponent), &n_exponent))
        return NULL;
    BIGNUM *n = BN_bin2bn(modulus, (int)n_modulus, NULL);
    BIGNUM *e = BN_bin2bn(exponent, (int)n_exponent, NULL);
    if (n != NULL && e != NULL) {
        const BN_ULONG small = BN_num_bits(e) <= 32 ? BN_get_word(e) : RSA_LEAST_EXPONENT;

        if (BN_num_bits(n) < RSA_LEAST_BITS || BN_num_bits(n) > RSA_MOST_BITS)
            *ret_refusal = "an RSA key below 2048 or above 8192 bits";
        else if (small < RSA_LEAST_EXPONENT || !BN_is_odd(e))
            *ret_refusal = "an RSA key with an exponent below 65537, or an even one";
        else if (has_small_factor(n))
            *ret_refusal = "an RSA key whose modulus has a small factor";
        else
            key = make_rsa_of(n, e);
    }
    BN_free(n);
    BN_free(e);
    return key;
}

static EVP_PKEY *read_p256(const json_t *jwk, const char **ret_refusal)
{
    uint8_t point[1 + 2 * COORDINATE] = {POINT_CONVERSION_UNCOMPRESSED};
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    size_t n_x, n_y;

    *ret_refusal = "an EC key that is no point of its curve";
    if (build != NULL && decode(jwk, "x", point + 1, COORDINATE, &n_x) && n_x == COORDINATE &&
        decode(jwk, "y", point + 1 + COORDINATE, COORDINATE, &n_y) && n_y == COORDINATE &&
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point)) == 1)
        params = OSSL_PARAM_BLD_to_param(build);
    OSSL_PARAM_BLD_free(build);
    return make("EC", params);
}

static EVP_PKEY *read_ed25519(const json_t *jwk, const char **ret_refusal)
{
    uint8_t x[COORDINATE];
    size_t n;

    *ret_refusal = "an Ed25519 key that is not 32 bytes";
    if (!decode(jwk, "x", x, sizeof(x), &n) || n != COORDINATE)
        return NULL;
    return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, n);
}

static EVP_PKEY *read_public(const json_t *jwk, enum signing alg, const char **ret_refusal)
{
    if (json_object_get(jwk, "d") != NULL) {
        *ret_refusal = "a key that is published with its private part";
        return NULL;
    }
    if (alg == SIGN_ES256)
        return read_p256(jwk, ret_refusal);
    return alg == SIGN_EDDSA ? read_ed25519(jwk, ret_refusal) : read_rsa(jwk, ret_refusal);
}

enum jwk_state jwk_read(const json_t *jwk, struct key *ret, const char **ret_refusal)
{
    if (!find_kind(jwk, &ret->alg) || !is_for_verifying(jwk))
        return JWK_SKIPPED;
    EVP_PKEY *key = read_public(jwk, ret->alg, ret_refusal);
    if (key != NULL && !is_sound(key)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    ERR_clear_error(); /* of this thread, for other users of OpenSSL */
    ret->pkey = key;
    return key != NULL ? JWK_TAKEN : JWK_REFUSED;
}
