/* Fails the n-th allocation, for every n, under a fixed piece of work. The work must notice, keep
 * its promises and leak nothing (the sanitizer run proves the last). */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/arena.h"
#include "events/base/buf.h"
#include "test/unit/check.h"
#include "test/unit/no_memory.h"

/* True when everything could be allocated. */
static bool work_with_buf(void)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    for (int i = 0; i < 1000; i++) {
        buf_printf(&b, "%d,", i);
    }
    bool ok = !buf_failed(&b);
    struct err err = ERR_INIT;
    CHECK(ok || (buf_error(&b, "test", "text", &err) < 0 && err.class == ERR_RETRY));
    CHECK(ok ? b.n == 3890 : strcmp(buf_cstr(&b), "") == 0);
    buf_deinit(&b);
    return ok;
}

static bool work_with_arena(void)
{
    CLEANUP(arena_freep) struct arena *a = arena_new(1 << 22);
    if (!a) {
        return false;
    }
    bool got_all = true;
    for (int i = 0; i < 200; i++) {
        char *p = arena_printf(a, "%*d", 500 + i * 100, i);
        got_all &= p != NULL;
    }
    CHECK(got_all == !arena_overflowed(a) && got_all == !arena_no_memory(a));
    arena_reset(a);
    CHECK(!arena_overflowed(a));
    return got_all;
}

static void test_each_allocation_may_fail(void)
{
    bool (*const works[])(void) = {work_with_buf, work_with_arena};
    for (size_t w = 0; w < ARRAY_LEN(works); w++) {
        int n = 0;
        for (; n < 1000; n++) {
            no_memory_in = n;
            if (works[w]()) {
                break;
            }
        }
        no_memory_in = -1;
        CHECK(n > 3 && n < 1000);
    }
}

int main(void)
{
    RUN(test_each_allocation_may_fail);
    return check_result();
}
