/* Tokens that were found good a moment ago: the same token again costs a hash, not a signature.
 *
 * What is remembered holds for one set of keys and one client table. When either is another, all is
 * forgotten: a key that the issuer took back, or a client that was struck off, ends here as soon as
 * it ends there. Times of the token are looked at each time. Nothing but tokens that are good gets
 * in, by the hash of all their bytes. Thread-safe. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/command_api/token.h"

struct verified;

struct verified *verified_new(void);               /* NULL when out of memory */
struct verified *verified_free(struct verified *); /* takes NULL, returns NULL */

/* Whether this token was found good with these keys and clients, and would be now. *ret is filled
 * then. */
bool verified_find(struct verified *v, const uint8_t hash[static SHA256_SIZE], struct keyset *keys,
                   struct clients *clients, int64_t now_s, struct caller *ret);
/* It was found good with them. Kept only while nobody has asked with others since. */
void verified_keep(struct verified *v, const uint8_t hash[static SHA256_SIZE],
                   const struct keyset *keys, const struct clients *clients,
                   const struct caller *caller);
