/* One JSON Web Key becomes a public key of OpenSSL, for one algorithm. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "workers/command_api/keyset.h"

enum jwk_state { JWK_TAKEN, JWK_SKIPPED, JWK_REFUSED };

/* Fills ret->alg and ret->pkey, the caller's, when it is taken; *ret_refusal, static text, when it
 * is refused. */
enum jwk_state jwk_read(const json_t *jwk, struct key *ret, const char **ret_refusal);
