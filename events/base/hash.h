/* Digests, over OpenSSL. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

#define SHA256_SIZE 32
/* Aborts when OpenSSL has no memory left for its context (as uuid_v5). */
void sha256(struct bytes data, uint8_t out[static SHA256_SIZE]);
/* Fast 64-bit hash for tables and sampling (FNV-1a with a final mix); never for secrets. */
uint64_t hash64(struct bytes data, uint64_t seed);
/* The same in parts: hash64_end of what hash64_add has made of hash64_begin is the hash of all data
 * added. A state may be copied, and both go on. */
uint64_t hash64_begin(uint64_t seed);
uint64_t hash64_add(uint64_t state, struct bytes data);
uint64_t hash64_end(uint64_t state);
/* Fills p with random bytes from the system; aborts when there are none. */
void random_bytes(void *p, size_t n);
