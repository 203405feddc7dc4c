/* A JSON Web Key Set (RFC 7517) becomes a keyset.
 *
 * Skipped: keys of other types, curves and algorithms, and those that `use` or `key_ops` give to
 * something else than verifying signatures. Refused, while the others serve: RSA below 2048 bits or
 * with an exponent below 65537, a point that is not on its curve, a key published with its private
 * part. A set in which two keys have one name is an error as a whole, for nobody can tell which of
 * them is meant; so is one of which no key is left. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/err.h"
#include "workers/command_api/keyset.h"

#define JWKS_MAX ((size_t)64 << 10)

/* ERR_RETRY, code bad-keys or no-memory. */
MUST_CHECK int jwks_parse(struct view text, struct keyset **ret, struct err *err);
