/* The entities that one batch of events is about, each once, and which events wait for which. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/event.h"
#include "workers/qdrant/payload.h"

struct item {
    enum doc_kind kind;
    struct uuid id;
    int64_t least_rev; /* a catalogue that answers less has not caught up */
    bool repair;
    bool covers; /* an anime whose characters and episodes belong to the event */
    bool settled;
    const struct trace_context *trace; /* of the event with the highest revision */
    struct err err;                    /* set: why not settled */
};

struct items {
    struct item *list;
    size_t n;
    struct link {
        uint32_t event, item;
    } * links;
    size_t n_links;
    /* private */
    size_t capacity, link_capacity, n_slots;
    uint32_t *slots; /* open addressing, index + 1 */
};

void items_init(struct items *items);
void items_deinit(struct items *items);
/* Empties it; keeps the memory unless it grew beyond what common batches need. */
void items_reset(struct items *items);
/* Finds or makes the item and lets the event wait for it; raises least_rev, repair and covers.
 * Returns its index. Code no-memory, too-many (an event about more than a million entities). */
MUST_CHECK int items_add(struct items *items, const struct item *item, size_t event,
                         size_t *ret_index, struct err *err);
/* Index of the entity, or items->n. */
size_t items_find(const struct items *items, enum doc_kind kind, struct uuid id);
/* The error that decides an event: the worst of its items'. false = all settled. Items that are
 * neither settled nor in error count as `rest`. */
bool items_worst(const struct items *items, size_t event, const struct err *rest, struct err *ret);
