/* A list of chunks, filled front to back; reset frees those beyond KEEP_BYTES and starts over.
 *
 * Chunk sizes double from 8 KiB to 1 MiB, a request that is larger gets a chunk of its own size.
 * The cap counts what callers asked for (rounded to 16 bytes), not what the chunks hold. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
/* The interface takes a pointer to const, so gcc believes that fresh memory were read. */
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#define POISON(p, n) __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#define RED_ZONE 16
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define RED_ZONE 0
#endif

#define ALIGN 16
#define FIRST_CHUNK ((size_t)8 << 10)
#define LARGEST_CHUNK ((size_t)1 << 20)
#define KEEP_BYTES ((size_t)1 << 20)

struct chunk {
    struct chunk *next;
    size_t size, used;
    char pad[8]; /* keeps data aligned */
    char data[];
};
_Static_assert(sizeof(struct chunk) % ALIGN == 0, "chunk data must stay aligned");

struct arena {
    struct chunk *first, *current;
    size_t cap, used, next_size;
    bool overflowed, no_memory;
};

struct arena *arena_new(size_t cap)
{
    struct arena *a = calloc(1, sizeof *a);
    if (a) {
        a->cap = cap;
        a->next_size = FIRST_CHUNK;
    }
    return a;
}

static void free_chunks(struct chunk *c)
{
    while (c) {
        struct chunk *next = c->next;
        UNPOISON(c->data, c->size);
        free(c);
        c = next;
    }
}

struct arena *arena_free(struct arena *a)
{
    if (a) {
        free_chunks(a->first);
        free(a);
    }
    return NULL;
}

void arena_freep(struct arena **a)
{
    *a = arena_free(*a);
}

void arena_reset(struct arena *a)
{
    size_t kept = 0;
    struct chunk **link = &a->first;
    while (*link && kept + (*link)->size <= KEEP_BYTES) {
        kept += (*link)->size;
        (*link)->used = 0;
        POISON((*link)->data, (*link)->size);
        link = &(*link)->next;
    }
    free_chunks(*link);
    *link = NULL;
    a->current = a->first;
    a->used = 0;
    a->overflowed = a->no_memory = false;
    if (!a->first) {
        a->next_size = FIRST_CHUNK;
    }
}

/* The next chunk with room for n bytes: a kept one, or a new one behind the current. */
static struct chunk *next_chunk(struct arena *a, size_t n)
{
    while (a->current && a->current->next) {
        a->current = a->current->next;
        if (a->current->size >= n) {
            return a->current;
        }
    }
    size_t size = n > a->next_size ? n : a->next_size;
    struct chunk *c = malloc(sizeof *c + size);
    if (!c) {
        return NULL;
    }
    *c = (struct chunk){.size = size};
    POISON(c->data, size);
    if (a->current) {
        a->current->next = c;
    } else {
        a->first = c;
    }
    a->current = c;
    if (a->next_size < LARGEST_CHUNK) {
        a->next_size *= 2;
    }
    return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > a->cap) { /* also keeps the rounding from wrapping, see arena_set_cap */
        a->overflowed = true;
        return NULL;
    }
    size_t rounded = n ? (n + ALIGN - 1) / ALIGN * ALIGN : ALIGN;
    if (rounded < n || a->used > a->cap || rounded > a->cap - a->used) {
        a->overflowed = true;
        return NULL;
    }
    struct chunk *c = a->current;
    if (!c || c->size - c->used < rounded + RED_ZONE) {
        c = next_chunk(a, rounded + RED_ZONE);
        if (!c) {
            a->overflowed = a->no_memory = true;
            return NULL;
        }
    }
    char *p = c->data + c->used;
    c->used += rounded + RED_ZONE;
    a->used += rounded;
    UNPOISON(p, n);
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    if (p) {
        memset(p, 0, n);
    }
    return p;
}

void *arena_array(struct arena *a, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total)) {
        a->overflowed = true;
        return NULL;
    }
    return arena_zalloc(a, total);
}

char *arena_strdup(struct arena *a, struct view text)
{
    char *p = text.n < SIZE_MAX ? arena_alloc(a, text.n + 1) : NULL;
    if (p) {
        if (text.n) {
            memcpy(p, text.p, text.n);
        }
        p[text.n] = '\0';
    }
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p) {
        vsnprintf(p, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    va_end(args);
    return p;
}

bool arena_overflowed(const struct arena *a)
{
    return a->overflowed;
}

bool arena_no_memory(const struct arena *a)
{
    return a->no_memory;
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}

void arena_set_cap(struct arena *a, size_t cap)
{
    a->cap = cap;
}
