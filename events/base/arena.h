/* A bump arena: one per lane, reset after each batch, with a hard cap and a sticky overflow mark.
 *
 * Nothing allocated from it may outlive the reset. Chunks are kept between resets up to keep bytes,
 * so that a steady load allocates nothing. Under ASan released memory is poisoned. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

struct arena;

/* cap: most bytes between two resets. NULL when out of memory. */
struct arena *arena_new(size_t cap);
struct arena *arena_free(struct arena *a); /* takes NULL, returns NULL */
void arena_freep(struct arena **a);
void arena_reset(struct arena *a);
/* 16-byte aligned, not zeroed; NULL when the cap is passed or memory is out (then
 * arena_overflowed). */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);
/* n * size, overflow checked, zeroed. */
void *arena_array(struct arena *a, size_t n, size_t size);
/* NUL-terminated copy; NULL as above. */
char *arena_strdup(struct arena *a, struct view text);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool arena_overflowed(const struct arena *a);
/* Overflowed because the system gave no memory, not for its cap. */
bool arena_no_memory(const struct arena *a);
size_t arena_used(const struct arena *a);
/* Raises or lowers the cap, for a message whose decoded size is known beforehand. */
void arena_set_cap(struct arena *a, size_t cap);
