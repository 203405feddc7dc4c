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

uint64_t hash64(struct bytes data, uint64_t seed)
{
    uint64_t state = hash64_begin(seed);
    for (size_t i = 0; i < data.n; i++)
        state = hash64_byte(state, data.p[i]);
    return hash64_end(state);
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
