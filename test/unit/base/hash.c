// SPDX-License-Identifier: Apache-2.0
#include "events/base/hash.h"

#include "events/base/buf.h"
#include "test/unit/check.h"

static void test_sha256(void)
{
    /* FIPS 180-4 examples */
    static const char *const rows[][2] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    struct buf b;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t digest[SHA256_SIZE];
        sha256(bytes_of(view_of(rows[i][0])), digest);
        buf_reset(&b);
        buf_put_hex(&b, (struct bytes){digest, sizeof digest});
        CHECK_STR(buf_cstr(&b), rows[i][1]);
    }
    buf_deinit(&b);
    uint8_t a[SHA256_SIZE], c[SHA256_SIZE];
    sha256((struct bytes){0}, a);
    sha256(bytes_of(view_of("")), c);
    CHECK(memcmp(a, c, sizeof a) == 0);
}

/* Low and high bits both spread, for table masks and for sampling by a limit. */
static void test_hash64(void)
{
    unsigned low[16] = {0}, high[16] = {0};
    for (uint32_t i = 0; i < 16000; i++) {
        uint64_t h = hash64((struct bytes){(const uint8_t *)&i, sizeof i}, 7);
        low[h & 15]++;
        high[h >> 60]++;
    }
    for (int i = 0; i < 16; i++) {
        CHECK(low[i] > 850 && low[i] < 1150);
        CHECK(high[i] > 850 && high[i] < 1150);
    }
    struct bytes abc = bytes_of(view_of("abc"));
    CHECK(hash64(abc, 1) != hash64(abc, 2));
    CHECK(hash64(abc, 1) == hash64(abc, 1));
    const uint64_t ab = hash64_byte(hash64_byte(hash64_begin(1), 'a'), 'b');
    CHECK(hash64_end(hash64_byte(ab, 'c')) == hash64(abc, 1));
    CHECK(hash64_end(ab) == hash64(bytes_of(view_of("ab")), 1));
}

static void test_random(void)
{
    uint8_t a[64] = {0}, b[64] = {0};
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    CHECK(memcmp(a, b, sizeof a) != 0);
    random_bytes(a, 0);
}

int main(void)
{
    RUN(test_sha256);
    RUN(test_hash64);
    RUN(test_random);
    return check_result();
}
