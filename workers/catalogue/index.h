/* A hash table from short byte keys to pointers, in an arena: what one transaction knows. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/arena.h"

struct index_slot {
    uint64_t hash;
    struct bytes key; /* p NULL = free */
    void *value;
};
struct index {
    struct arena *arena;
    struct index_slot *slots;
    size_t n, capacity;
};

void index_init(struct index *x, struct arena *arena);
/* NULL when there is none. */
void *index_get(const struct index *x, struct bytes key);
/* Sets it (the key is copied); NULL forgets. False when the arena is full. */
MUST_CHECK bool index_put(struct index *x, struct bytes key, void *value);
