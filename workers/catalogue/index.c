/* Open addressing, linear probing, at most half full. Keys are never removed, their values are. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/index.h"
#include "events/base/hash.h"

enum { FIRST_CAPACITY = 256 };

void index_init(struct index *x, struct arena *arena)
{
    *x = (struct index){.arena = arena};
}

static struct index_slot *slot_of(const struct index *x, uint64_t hash, struct bytes key)
{
    for (size_t i = hash & (x->capacity - 1);; i = (i + 1) & (x->capacity - 1)) {
        struct index_slot *s = &x->slots[i];
        if (!s->key.p ||
            (s->hash == hash && s->key.n == key.n && memcmp(s->key.p, key.p, key.n) == 0))
            return s;
    }
}

void *index_get(const struct index *x, struct bytes key)
{
    return x->capacity ? slot_of(x, hash64(key, 0), key)->value : NULL;
}

static bool grow(struct index *x)
{
    struct index old = *x;
    x->capacity = old.capacity ? old.capacity * 2 : FIRST_CAPACITY;
    x->slots = arena_array(x->arena, x->capacity, sizeof(*x->slots));
    if (!x->slots) {
        *x = old;
        return false;
    }
    for (size_t i = 0; i < old.capacity; i++)
        if (old.slots[i].key.p)
            *slot_of(x, old.slots[i].hash, old.slots[i].key) = old.slots[i];
    return true;
}

bool index_put(struct index *x, struct bytes key, void *value)
{
    if ((x->n + 1) * 2 > x->capacity && !grow(x))
        return false;
    uint64_t hash = hash64(key, 0);
    struct index_slot *s = slot_of(x, hash, key);
    if (!s->key.p) {
        uint8_t *copy = arena_alloc(x->arena, key.n);
        if (!copy)
            return false;
        memcpy(copy, key.p, key.n);
        *s = (struct index_slot){.hash = hash, .key = {copy, key.n}};
        x->n++;
    }
    s->value = value;
    return true;
}
