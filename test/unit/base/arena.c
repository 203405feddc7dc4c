// SPDX-License-Identifier: Apache-2.0
#include "events/base/arena.h"

#include "test/unit/check.h"

/* The same requests under every cap: they succeed exactly when their rounded sum fits. */
static void test_cap_sweep(void)
{
    static const size_t sizes[] = {1, 15, 16, 17, 0, 100, 1000, 3};
    static const size_t rounded[] = {16, 16, 16, 32, 16, 112, 1008, 16};
    for (size_t cap = 0; cap < 1400; cap += 7) {
        CLEANUP(arena_freep) struct arena *a = arena_new(cap);
        REQUIRE(a);
        size_t used = 0;
        bool overflowed = false;
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            char *p = arena_alloc(a, sizes[i]);
            bool fits = used + rounded[i] <= cap;
            CHECK((p != NULL) == fits);
            if (p) {
                CHECK((uintptr_t)p % 16 == 0);
                memset(p, 0xa5, sizes[i]);
                used += rounded[i];
            }
            overflowed |= !fits;
            CHECK(arena_overflowed(a) == overflowed);
            CHECK_EQ_INT(arena_used(a), used);
        }
    }
}

static void test_reset_starts_over(void)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(64);
    REQUIRE(a);
    void *first = arena_alloc(a, 64);
    CHECK(first);
    CHECK(!arena_alloc(a, 1));
    CHECK(arena_overflowed(a));
    arena_reset(a);
    CHECK(!arena_overflowed(a));
    CHECK_EQ_INT(arena_used(a), 0);
    CHECK(arena_alloc(a, 64) == first); /* the chunk was kept */
    arena_set_cap(a, 10 << 20);
    CHECK(arena_alloc(a, 5 << 20));
    arena_set_cap(a, 16); /* below what is in use */
    CHECK(!arena_alloc(a, 1));
    arena_reset(a);
    CHECK(arena_alloc(a, 16));
}

static void test_absurd_sizes_overflow(void)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(SIZE_MAX);
    REQUIRE(a);
    CHECK(!arena_alloc(a, SIZE_MAX));
    CHECK(!arena_alloc(a, SIZE_MAX - 8));
    CHECK(!arena_array(a, SIZE_MAX / 2, 3));
    CHECK(arena_overflowed(a));
}

static void test_many_resets_with_mixed_sizes(void)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(8 << 20);
    REQUIRE(a);
    for (unsigned round = 0; round < 50; round++) {
        size_t total = 0;
        for (unsigned i = 0; i < 60; i++) {
            size_t n = (size_t)(i * 7919 + round * 104729) % (i % 7 == 0 ? 300000 : 3000);
            unsigned char *p = arena_alloc(a, n);
            REQUIRE(p);
            memset(p, (int)i, n);
            total += n;
        }
        CHECK(arena_used(a) >= total);
        arena_reset(a);
    }
}

static void test_text(void)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(1 << 16);
    REQUIRE(a);
    CHECK_STR(arena_strdup(a, VIEW_LIT("hello")), "hello");
    CHECK_STR(arena_strdup(a, (struct view){0}), "");
    CHECK_STR(arena_printf(a, "%d-%s", 42, "x"), "42-x");
    const int *zeros = arena_array(a, 100, sizeof(int));
    REQUIRE(zeros);
    for (int i = 0; i < 100; i++) {
        CHECK_EQ_INT(zeros[i], 0);
    }
    CHECK(!arena_printf(a, "%*d", 1 << 17, 1));
    CHECK(arena_free(NULL) == NULL);
}

int main(void)
{
    RUN(test_cap_sweep);
    RUN(test_reset_starts_over);
    RUN(test_absurd_sizes_overflow);
    RUN(test_many_resets_with_mixed_sizes);
    RUN(test_text);
    return check_result();
}
