/* Makes the n-th allocation fail. Link with no_memory_args (test/unit/meson.build): calls of our
 * own code are wrapped, those inside libraries are not. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdbool.h>
#include <stdlib.h>

static int no_memory_in = -1; /* allocations that still succeed; -1 = all do */
static unsigned no_memory_hits;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool no_memory_now(void)
{
    bool now = no_memory_in >= 0 && no_memory_in-- == 0;
    no_memory_hits += now;
    return now;
}

void *__wrap_malloc(size_t n)
{
    return no_memory_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return no_memory_now() ? NULL : __real_realloc(p, n);
}
