/* The four ways of signing a token that exist here, over OpenSSL. There is none without a key, and
 * none whose key could be a public one (RFC 8725, sections 2.1 and 3.1). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <openssl/types.h>

#include "events/base/view.h"

enum signing { SIGN_RS256, SIGN_ES256, SIGN_PS256, SIGN_EDDSA, SIGNINGS };

/* Of RSA with 8192 bits. */
#define SIGNATURE_MAX 1024
/* r and s, 32 bytes each, as JOSE has them; and the most that their DER form takes. */
#define ES256_SIZE 64
#define ES256_DER_MAX 72

/* "RS256", ...; upper and lower case differ. */
bool signing_find(struct view name, enum signing *ret);
const char *signing_name(enum signing alg);
/* The key must be one for alg, as jwks_parse makes sure. */
bool signature_is_good(enum signing alg, EVP_PKEY *key, struct view text, struct bytes signature);
/* Returns how many bytes of out are used. */
size_t es256_to_der(const uint8_t raw[static ES256_SIZE], uint8_t out[static ES256_DER_MAX]);
