/* UUIDs of RFC 9562. Version 7 carries milliseconds and, in the 12 bits behind them, the fraction
 * of the millisecond (section 6.2, method 3); a process never gives out the same or an earlier time
 * twice, so its ids sort in the order in which they were made. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/uuid.h"

#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/hash.h"

/* Version 5 of "echora" in the DNS namespace; test/unit/base/uuid.c holds it to that. */
const struct uuid uuid_echora = {{0x50, 0x0e, 0x2b, 0x4e, 0xda, 0x2a, 0x5b, 0x3a, 0x8b, 0x5e, 0x0c,
                                  0x9e, 0x30, 0x94, 0x50, 0x1f}};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

static bool is_dash_position(size_t i)
{
    return i == 8 || i == 13 || i == 18 || i == 23;
}

bool uuid_parse(struct view text, struct uuid *ret)
{
    if (text.n != UUID_TEXT - 1) {
        return false;
    }
    struct uuid id;
    size_t n = 0;
    for (size_t i = 0; i < text.n;) {
        if (is_dash_position(i)) {
            if (text.p[i] != '-') {
                return false;
            }
            i++;
            continue;
        }
        int high = hex_value(text.p[i]), low = hex_value(text.p[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        id.b[n++] = (uint8_t)(high << 4 | low);
        i += 2;
    }
    *ret = id;
    return true;
}

void uuid_format(struct uuid id, char out[static UUID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    char *p = out;
    for (size_t i = 0; i < sizeof id.b; i++) {
        if (is_dash_position((size_t)(p - out))) {
            *p++ = '-';
        }
        *p++ = digits[id.b[i] >> 4];
        *p++ = digits[id.b[i] & 15];
    }
    *p = '\0';
}

int uuid_cmp(struct uuid a, struct uuid b)
{
    return memcmp(a.b, b.b, sizeof a.b);
}

bool uuid_is_nil(struct uuid id)
{
    return uuid_cmp(id, (struct uuid){{0}}) == 0;
}

static struct uuid with_version(struct uuid id, unsigned version)
{
    id.b[6] = (uint8_t)((id.b[6] & 0x0f) | version << 4);
    id.b[8] = (uint8_t)((id.b[8] & 0x3f) | 0x80);
    return id;
}

/* Milliseconds since 1970 in the upper 48 of 60 bits, 1/4096 of them below; strictly rising. */
static uint64_t next_tick(void)
{
    static _Atomic uint64_t last;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    uint64_t ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    uint64_t tick = ms << 12 | ((uint64_t)t.tv_nsec % 1000000 * 4096 / 1000000);
    uint64_t before = atomic_load_explicit(&last, memory_order_relaxed), now;
    do {
        now = tick > before ? tick : before + 1;
    } while (!atomic_compare_exchange_weak_explicit(&last, &before, now, memory_order_relaxed,
                                                    memory_order_relaxed));
    return now;
}

struct uuid uuid_v7(void)
{
    uint64_t tick = next_tick();
    struct uuid id;
    random_bytes(id.b + 8, 8);
    for (int i = 0; i < 6; i++) {
        id.b[i] = (uint8_t)(tick >> (52 - 8 * i));
    }
    id.b[6] = (uint8_t)(tick >> 8 & 0x0f);
    id.b[7] = (uint8_t)tick;
    return with_version(id, 7);
}

struct uuid uuid_v5(struct uuid space, struct view name)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (!ctx || !EVP_DigestInit_ex(ctx, EVP_sha1(), NULL) ||
        !EVP_DigestUpdate(ctx, space.b, sizeof space.b) || !EVP_DigestUpdate(ctx, name.p, name.n) ||
        !EVP_DigestFinal_ex(ctx, digest, NULL)) {
        abort(); /* out of memory inside OpenSSL */
    }
    EVP_MD_CTX_free(ctx);
    struct uuid id;
    memcpy(id.b, digest, sizeof id.b);
    return with_version(id, 5);
}
