/* Digests and random bytes. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/hash.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <sys/random.h>

void sha256(struct bytes data, uint8_t out[static SHA256_SIZE])
{
    if (!EVP_Digest(data.p ? data.p : (const uint8_t *)"", data.n, out, NULL, EVP_sha256(), NULL)) {
        abort();
    }
}

uint64_t hash64_begin(uint64_t seed)
{
    return 0xcbf29ce484222325 ^ seed;
}

uint64_t hash64_add(uint64_t state, struct bytes data)
{
    for (size_t i = 0; i < data.n; i++) {
        state = (state ^ data.p[i]) * 0x100000001b3;
    }
    return state;
}

uint64_t hash64_end(uint64_t state)
{
    /* FNV alone leaves the high bits of short keys weak. */
    state = (state ^ (state >> 33)) * 0xff51afd7ed558ccd;
    state = (state ^ (state >> 33)) * 0xc4ceb9fe1a85ec53;
    return state ^ (state >> 33);
}

uint64_t hash64(struct bytes data, uint64_t seed)
{
    return hash64_end(hash64_add(hash64_begin(seed), data));
}

void random_bytes(void *p, size_t n)
{
    uint8_t *at = p;
    while (n) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno != EINTR) {
            abort();
        }
        if (got > 0) {
            at += got;
            n -= (size_t)got;
        }
    }
}
