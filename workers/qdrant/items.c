// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/items.h"

#include <stdlib.h>

#include "events/base/hash.h"

enum { FIRST = 256, KEEP = 1024, MOST = 1 << 20 };

void items_init(struct items *items)
{
    *items = (struct items){0};
}

void items_deinit(struct items *items)
{
    free(items->list);
    free(items->links);
    free(items->slots);
    *items = (struct items){0};
}

void items_reset(struct items *items)
{
    if (items->capacity > KEEP || items->link_capacity > KEEP) {
        items_deinit(items);
        return;
    }
    items->n = items->n_links = 0;
    if (items->slots)
        memset(items->slots, 0, items->n_slots * sizeof(*items->slots));
}

static size_t first_slot(const struct items *items, enum doc_kind kind, struct uuid id)
{
    return hash64((struct bytes){id.b, sizeof(id.b)}, (uint64_t)kind) & (items->n_slots - 1);
}

/* The slot that holds the entity, or the free one where it belongs. */
static uint32_t *find_slot(const struct items *items, enum doc_kind kind, struct uuid id)
{
    for (size_t i = first_slot(items, kind, id);; i = (i + 1) & (items->n_slots - 1)) {
        uint32_t at = items->slots[i];
        if (at == 0 ||
            (items->list[at - 1].kind == kind && uuid_cmp(items->list[at - 1].id, id) == 0))
            return &items->slots[i];
    }
}

static bool grow(struct items *items)
{
    size_t capacity = items->capacity ? items->capacity * 2 : FIRST;
    struct item *list = realloc(items->list, capacity * sizeof(*list));
    if (!list)
        return false;
    items->list = list;
    uint32_t *slots = calloc(capacity * 2, sizeof(*slots));
    if (!slots)
        return false;
    free(items->slots);
    items->slots = slots;
    items->n_slots = capacity * 2;
    items->capacity = capacity;
    for (size_t i = 0; i < items->n; i++)
        *find_slot(items, list[i].kind, list[i].id) = (uint32_t)i + 1;
    return true;
}

static bool add_link(struct items *items, size_t event, size_t item)
{
    if (items->n_links == items->link_capacity) {
        size_t capacity = items->link_capacity ? items->link_capacity * 2 : FIRST;
        struct link *links = realloc(items->links, capacity * sizeof(*links));
        if (!links)
            return false;
        items->links = links;
        items->link_capacity = capacity;
    }
    items->links[items->n_links++] = (struct link){(uint32_t)event, (uint32_t)item};
    return true;
}

static void merge(struct item *known, const struct item *more)
{
    known->repair |= more->repair;
    known->covers |= more->covers;
    if (more->least_rev > known->least_rev) {
        known->least_rev = more->least_rev;
        known->trace = more->trace;
    }
}

int items_add(struct items *items, const struct item *item, size_t event, size_t *ret_index,
              struct err *err)
{
    if (items->n_links >= MOST)
        return err_set(err, ERR_REJECT, "too-many", "gather entities",
                       "the batch is about more than %d entities", MOST);
    if (items->n == items->capacity && !grow(items))
        return err_set(err, ERR_RETRY, "no-memory", "gather entities", "no memory");
    uint32_t *slot = find_slot(items, item->kind, item->id);
    size_t index = *slot ? *slot - 1 : items->n;
    if (*slot) {
        merge(&items->list[index], item);
    } else {
        items->list[items->n++] = *item;
        *slot = (uint32_t)items->n;
    }
    if (!add_link(items, event, index))
        return err_set(err, ERR_RETRY, "no-memory", "gather entities", "no memory");
    *ret_index = index;
    return 0;
}

size_t items_find(const struct items *items, enum doc_kind kind, struct uuid id)
{
    uint32_t at = items->n ? *find_slot(items, kind, id) : 0;
    return at ? at - 1 : items->n;
}

/* What must be answered first: the process, the dependency, then the event. */
static int weight(enum err_class class)
{
    static const int weights[] = {
        [ERR_NONE] = 0,      [ERR_REJECT] = 1,      [ERR_RETRY] = 2,
        [ERR_UNCERTAIN] = 3, [ERR_UNAVAILABLE] = 4, [ERR_FATAL] = 5,
    };
    return weights[class];
}

bool items_worst(const struct items *items, size_t event, const struct err *rest, struct err *ret)
{
    const struct err *worst = NULL;
    for (size_t i = 0; i < items->n_links; i++) {
        if (items->links[i].event != event)
            continue;
        const struct item *item = &items->list[items->links[i].item];
        const struct err *err = item->err.class != ERR_NONE ? &item->err : rest;
        if (!item->settled && (!worst || weight(err->class) > weight(worst->class)))
            worst = err;
    }
    if (worst)
        *ret = *worst;
    return worst != NULL;
}
