/* The working set's index and lists. Keys start with a letter for their sort:
 * i kind id, r kind reference, e anime number, n anime name, c anime character. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/work.h"
#include "contracts/refs.h"

enum { KEY_MAX = REF_MAX + 2 };

struct key {
    uint8_t b[KEY_MAX];
    size_t n;
};
struct undone {
    struct bytes key;
    void *before;
};

void work_init(struct work *w, struct pg *pg, struct arena *arena, const struct risk_limits *limits)
{
    *w = (struct work){.pg = pg, .arena = arena, .limits = limits};
    index_init(&w->index, arena);
}

bool work_add(struct work *w, struct list *list, void *item)
{
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        void **p = arena_array(w->arena, capacity, sizeof(*p));
        if (!p)
            return false;
        if (list->n)
            memcpy(p, list->p, list->n * sizeof(*p));
        list->p = p;
        list->capacity = capacity;
    }
    list->p[list->n++] = item;
    return item != NULL;
}

static void key_start(struct key *k, char sort)
{
    k->b[0] = (uint8_t)sort;
    k->n = 1;
}

static void key_byte(struct key *k, int v)
{
    k->b[k->n++] = (uint8_t)v;
}

static void key_uuid(struct key *k, struct uuid id)
{
    memcpy(k->b + k->n, id.b, sizeof(id.b));
    k->n += sizeof(id.b);
}

/* Text that is too long for a key is cut: names alone are, and equal beginnings of 490 bytes are
 * one name for our purpose. */
static void key_text(struct key *k, struct view v)
{
    size_t room = KEY_MAX - k->n, n = v.n < room ? v.n : room;
    if (n)
        memcpy(k->b + k->n, v.p, n);
    k->n += n;
}

static struct bytes key_bytes(const struct key *k)
{
    return (struct bytes){k->b, k->n};
}

static struct key key_of_id(enum entity_kind kind, struct uuid id)
{
    struct key k;
    key_start(&k, 'i');
    key_byte(&k, (int)kind);
    key_uuid(&k, id);
    return k;
}

static struct key key_of_ref(enum entity_kind kind, struct view ref)
{
    struct key k;
    key_start(&k, 'r');
    key_byte(&k, (int)kind);
    key_text(&k, ref);
    return k;
}

static struct key key_of_episode(struct uuid anime, int32_t number)
{
    struct key k;
    key_start(&k, 'e');
    key_uuid(&k, anime);
    memcpy(k.b + k.n, &number, sizeof(number));
    k.n += sizeof(number);
    return k;
}

static struct key key_of_name(struct uuid anime, struct view name)
{
    struct key k;
    key_start(&k, 'n');
    key_uuid(&k, anime);
    key_text(&k, name);
    return k;
}

static struct key key_of_kind(enum entity_kind kind, struct uuid id)
{
    struct key k;
    key_start(&k, 'k');
    key_byte(&k, (int)kind);
    key_uuid(&k, id);
    return k;
}

static struct key key_of_cast(struct uuid anime, struct uuid character)
{
    struct key k;
    key_start(&k, 'c');
    key_uuid(&k, anime);
    key_uuid(&k, character);
    return k;
}

static void *get(const struct work *w, struct key k)
{
    return index_get(&w->index, key_bytes(&k));
}

static bool put(struct work *w, struct key k, void *value)
{
    if (w->recording) {
        struct undone *u = arena_alloc(w->arena, sizeof(*u));
        uint8_t *copy = arena_alloc(w->arena, k.n);
        if (!u || !copy)
            return false;
        memcpy(copy, k.b, k.n);
        *u = (struct undone){{copy, k.n}, get(w, k)};
        if (!work_add(w, &w->undo, u))
            return false;
    }
    return index_put(&w->index, key_bytes(&k), value);
}

struct entity *work_by_id(const struct work *w, enum entity_kind kind, struct uuid id)
{
    return get(w, key_of_id(kind, id));
}

struct entity *work_by_ref(const struct work *w, enum entity_kind kind, struct view ref)
{
    return get(w, key_of_ref(kind, ref));
}

struct entity *work_episode(const struct work *w, struct uuid anime, int32_t number)
{
    return get(w, key_of_episode(anime, number));
}

struct entity *work_named(const struct work *w, struct uuid anime, struct view name)
{
    return get(w, key_of_name(anime, name));
}

bool work_has_cast(const struct work *w, struct uuid anime, struct uuid character)
{
    return get(w, key_of_cast(anime, character)) != NULL;
}

const struct kind *work_other_kind(const struct work *w, enum entity_kind kind, struct uuid id)
{
    for (enum entity_kind other = 0; other < N_KINDS; other++)
        if (other != kind && (work_by_id(w, other, id) || get(w, key_of_kind(other, id))))
            return &kinds[other];
    return NULL;
}

bool work_put_kind(struct work *w, enum entity_kind kind, struct uuid id)
{
    return put(w, key_of_kind(kind, id), w);
}

bool work_put_id(struct work *w, enum entity_kind kind, struct uuid id, struct entity *e)
{
    return put(w, key_of_id(kind, id), e);
}

bool work_put_ref(struct work *w, enum entity_kind kind, struct view ref, struct entity *e)
{
    return put(w, key_of_ref(kind, ref), e);
}

bool work_put_episode(struct work *w, struct uuid anime, int32_t number, struct entity *e)
{
    return put(w, key_of_episode(anime, number), e);
}

bool work_put_name(struct work *w, struct uuid anime, struct view name, struct entity *e)
{
    return put(w, key_of_name(anime, name), e);
}

bool work_put_cast(struct work *w, struct uuid anime, struct uuid character)
{
    return put(w, key_of_cast(anime, character), w);
}

struct work_mark work_record(struct work *w)
{
    w->recording = true;
    w->undo.n = 0;
    return (struct work_mark){w->entities.n, w->aliases.n, w->refs.n};
}

void work_keep(struct work *w)
{
    w->recording = false;
}

void work_undo(struct work *w, struct work_mark mark)
{
    w->recording = false;
    while (w->undo.n > 0) {
        struct undone *u = w->undo.p[--w->undo.n];
        /* The key is there already, so this needs no memory. */
        (void)!index_put(&w->index, u->key, u->before);
    }
    w->entities.n = mark.entities;
    w->aliases.n = mark.aliases;
    w->refs.n = mark.refs;
}
