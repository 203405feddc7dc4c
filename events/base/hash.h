/* Digests, over OpenSSL. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

#define SHA256_SIZE 32
/* Aborts when OpenSSL has no memory left for its context (as uuid_v5). */
void sha256(struct bytes data, uint8_t out[static SHA256_SIZE]);
/* Fast 64-bit hash for tables and sampling (FNV-1a with a final mix); never for secrets. */
uint64_t hash64(struct bytes data, uint64_t seed);
/* The same in parts: hash64_end of what hash64_byte has made of hash64_begin, byte by byte, is the
 * hash of all of them. A state may be copied, and both go on. Here for the embedder, whose time
 * goes into a call for every letter otherwise. */
static inline uint64_t hash64_begin(uint64_t seed)
{
    return 0xcbf29ce484222325 ^ seed;
}

static inline uint64_t hash64_byte(uint64_t state, uint8_t byte)
{
    return (state ^ byte) * 0x100000001b3;
}

static inline uint64_t hash64_end(uint64_t state)
{
    /* FNV alone leaves the high bits of short keys weak. */
    state = (state ^ (state >> 33)) * 0xff51afd7ed558ccd;
    state = (state ^ (state >> 33)) * 0xc4ceb9fe1a85ec53;
    return state ^ (state >> 33);
}
/* Fills p with random bytes from the system; aborts when there are none. */
void random_bytes(void *p, size_t n);
