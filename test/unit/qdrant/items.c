/* Entities of a batch: each once, events wait for theirs, the worst error decides. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/items.h"

#include "test/unit/check.h"

static struct items items;

static struct item make(enum doc_kind kind, uint32_t id, int64_t rev)
{
    struct item item = {.kind = kind, .least_rev = rev};
    memcpy(item.id.b, &id, sizeof(id));
    return item;
}

static size_t add(struct item item, size_t event)
{
    struct err err = ERR_INIT;
    size_t index = SIZE_MAX;
    CHECK(items_add(&items, &item, event, &index, &err) == 0);
    return index;
}

static void test_each_entity_once(void)
{
    items_reset(&items);
    struct item covering = make(DOC_ANIME, 1, 5), repair = make(DOC_ANIME, 1, 3);
    covering.covers = true;
    repair.repair = true;
    CHECK_EQ_INT(add(covering, 0), 0);
    CHECK_EQ_INT(add(repair, 1), 0);
    CHECK_EQ_INT(add(make(DOC_EPISODE, 1, 9), 1), 1); /* the same id of another kind */
    CHECK_EQ_INT(items.n, 2);
    CHECK_EQ_INT(items.list[0].least_rev, 5);
    CHECK(items.list[0].covers && items.list[0].repair);
    CHECK_EQ_INT(items_find(&items, DOC_EPISODE, make(DOC_EPISODE, 1, 0).id), 1);
    CHECK_EQ_INT(items_find(&items, DOC_CHARACTER, make(DOC_EPISODE, 1, 0).id), items.n);
}

static void test_many_survive_growth_and_reset(void)
{
    for (int round = 0; round < 2; round++) {
        items_reset(&items);
        CHECK_EQ_INT(items_find(&items, DOC_ANIME, make(DOC_ANIME, 1, 0).id), 0);
        for (uint32_t i = 0; i < 5000; i++)
            CHECK_EQ_INT(add(make(DOC_CHARACTER, i * 7919, i), 0), i);
        for (uint32_t i = 0; i < 5000; i++)
            CHECK_EQ_INT(items_find(&items, DOC_CHARACTER, make(DOC_CHARACTER, i * 7919, 0).id), i);
    }
}

static void test_the_worst_decides(void)
{
    struct err rest = ERR_INIT, err = ERR_INIT;
    items_reset(&items);
    size_t a = add(make(DOC_ANIME, 1, 1), 0), b = add(make(DOC_ANIME, 2, 1), 0);
    add(make(DOC_ANIME, 1, 1), 1);
    add(make(DOC_ANIME, 3, 1), 2);
    err_set(&rest, ERR_UNAVAILABLE, "http-503", "x", "y");
    items.list[a].settled = true;
    err_set(&items.list[b].err, ERR_REJECT, "http-400", "x", "y");
    CHECK(items_worst(&items, 0, &rest, &err));
    CHECK_STR(err.code, "http-400");
    CHECK(!items_worst(&items, 1, &rest, &err));
    CHECK(items_worst(&items, 2, &rest, &err));
    CHECK_STR(err.code, "http-503");
    items.list[a].settled = false;
    CHECK(items_worst(&items, 0, &rest, &err)); /* held until the dependency is back */
    CHECK_STR(err.code, "http-503");
}

int main(void)
{
    items_init(&items);
    RUN(test_each_entity_once);
    RUN(test_many_survive_growth_and_reset);
    RUN(test_the_worst_decides);
    items_deinit(&items);
    return check_result();
}
