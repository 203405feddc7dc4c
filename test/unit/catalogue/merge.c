/* The order rule: every permutation of a history, with doubled events, gives the same fields,
 * clocks and stored text as event-time order. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "events/base/backoff.h"
#include "test/unit/check.h"
#include "workers/catalogue/merge.h"
#include "workers/catalogue/types.h"

static struct arena *arena;

enum { MAX_EVENTS = 5 };

struct happening {
    Anime message;
    uint64_t mask;
    struct clock at;
    int existence; /* 0 none, 1 alive, 2 deleted */
};

static struct clock clock_at(int64_t time_us, uint8_t id)
{
    return (struct clock){time_us, {{[15] = id}}};
}

/* A random event over four fields, with clocks that often share their time. */
static struct happening random_event(struct prng *r, uint8_t id)
{
    static const char *const titles[] = {"", "A", "B", "C"};
    static char *tags[] = {(char *)"x", (char *)"y", (char *)"z"};
    struct happening h = {.message = ECHORA__CATALOG__V1__ANIME__INIT};
    h.message.title = (char *)titles[prng_below(r, ARRAY_LEN(titles))];
    h.message.episode_count = (int32_t)prng_below(r, 3);
    h.message.n_tags = prng_below(r, 3);
    h.message.tags = tags + prng_below(r, 2);
    if (prng_below(r, 2)) {
        h.message._year_case = ECHORA__CATALOG__V1__ANIME___YEAR_YEAR;
        h.message.year = 2000 + (int32_t)prng_below(r, 2);
    }
    h.at = clock_at(1000 + (int64_t)prng_below(r, 3), id);
    if (prng_below(r, 2)) {
        h.mask = merge_mask_present(&kinds[KIND_ANIME], &h.message.base);
        h.existence = 1;
    } else {
        char *names[] = {(char *)"title", (char *)"year", (char *)"tags", (char *)"episode_count"};
        size_t from = prng_below(r, 4);
        h.mask = merge_mask_listed(&kinds[KIND_ANIME], names + from, 4 - from);
        h.existence = prng_below(r, 4) == 0 ? 2 : 0;
    }
    return h;
}

static void apply(struct fields *f, const struct happening *h)
{
    struct merged merged = {0};
    merge_fields(f, &h->message.base, h->mask, h->at, &merged);
    if (h->existence)
        merge_existence(f, h->existence == 2, h->at, &merged);
}

/* Everything that is stored, as text. */
static const char *dump(const struct fields *f)
{
    const Anime *a = (const Anime *)f->message;
    struct clock base;
    struct buf b;
    buf_init(&b, 1 << 16);
    clocks_encode(f, &base, &b);
    char id[UUID_TEXT];
    uuid_format(base.event, id);
    buf_printf(&b, " base %" PRId64 " %s title %s count %d year %d/%d tags", base.time_us, id,
               a->title, a->episode_count, a->_year_case, a->_year_case ? a->year : 0);
    for (size_t i = 0; i < a->n_tags; i++)
        buf_printf(&b, " %s", a->tags[i]);
    buf_printf(&b, " deleted %d", f->deleted);
    const char *copy = arena_strdup(arena, buf_view(&b));
    buf_deinit(&b);
    return copy;
}

static struct fields fresh(void)
{
    struct fields f;
    struct err err = ERR_INIT;
    CHECK_EQ_INT(fields_init(&f, &kinds[KIND_ANIME], arena, &err), 0);
    return f;
}

static int by_clock(const void *a, const void *b)
{
    return clock_cmp(((const struct happening *)a)->at, ((const struct happening *)b)->at);
}

static void permute(struct happening *events, size_t n, size_t k, const char *want)
{
    if (k == n) {
        struct fields f = fresh();
        for (size_t i = 0; i < n; i++) {
            apply(&f, &events[i]);
            apply(&f, &events[i / 2]); /* redelivered */
        }
        CHECK_STR(dump(&f), want);
        return;
    }
    for (size_t i = k; i < n; i++) {
        struct happening t = events[k];
        events[k] = events[i];
        events[i] = t;
        permute(events, n, k + 1, want);
        events[i] = events[k];
        events[k] = t;
    }
}

static void test_every_order_gives_the_same(void)
{
    struct prng r;
    for (uint64_t seed = 1; seed <= 150; seed++) {
        prng_seed(&r, seed);
        struct happening events[MAX_EVENTS];
        size_t n = 2 + prng_below(&r, MAX_EVENTS - 1);
        for (size_t i = 0; i < n; i++)
            events[i] = random_event(&r, (uint8_t)(i + 1));
        qsort(events, n, sizeof(events[0]), by_clock);
        struct fields f = fresh();
        for (size_t i = 0; i < n; i++)
            apply(&f, &events[i]);
        const char *want = dump(&f);
        permute(events, n, 0, want);
        arena_reset(arena);
    }
}

/* What is written and read again has the same clocks. */
static void test_stored_clocks_come_back(void)
{
    struct prng r;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        prng_seed(&r, seed);
        struct fields f = fresh();
        struct happening first = random_event(&r, 1);
        first.existence = 1; /* an anime's row begins with its existence */
        apply(&f, &first);
        for (uint8_t i = 0; i < 6; i++) {
            struct happening h = random_event(&r, i);
            apply(&f, &h);
        }
        struct clock base;
        struct buf b;
        buf_init(&b, 1 << 16);
        clocks_encode(&f, &base, &b);
        struct fields g = fresh();
        g.message = f.message;
        struct err err = ERR_INIT;
        CHECK_EQ_INT(clocks_decode(&g, base, buf_view(&b), &err), 0);
        for (unsigned i = 0; i <= kinds[KIND_ANIME].n_fields; i++)
            CHECK_EQ_INT(clock_cmp(f.clocks[i], g.clocks[i]), 0);
        buf_deinit(&b);
        arena_reset(arena);
    }
}

static void test_rules(void)
{
    struct fields f = fresh();
    struct merged m = {0};
    Anime a = ECHORA__CATALOG__V1__ANIME__INIT;
    a.title = (char *)"New";
    uint64_t title = kind_bit(KIND_ANIME, "title");
    merge_fields(&f, &a.base, title, clock_at(10, 1), &m);
    CHECK(m.changed == title && m.moved);
    /* An older event doesn't overwrite, nor move the clock. */
    a.title = (char *)"Old";
    m = (struct merged){0};
    merge_fields(&f, &a.base, title, clock_at(9, 9), &m);
    CHECK(m.changed == 0 && !m.moved);
    CHECK_STR(((Anime *)f.message)->title, "New");
    /* An equal value advances the clock and changes nothing. */
    a.title = (char *)"New";
    merge_fields(&f, &a.base, title, clock_at(11, 1), &m);
    CHECK(m.changed == 0 && m.moved);
    /* At the same time the greater id wins. */
    a.title = (char *)"Tie";
    merge_fields(&f, &a.base, title, clock_at(11, 2), &m);
    CHECK_STR(((Anime *)f.message)->title, "Tie");
    /* Sparse: what is listed and absent is cleared; names that are no fields are left out. */
    char *names[] = {(char *)"title", (char *)"id", (char *)"nonsense"};
    Anime none = ECHORA__CATALOG__V1__ANIME__INIT;
    CHECK(merge_mask_listed(&kinds[KIND_ANIME], names, 3) == title);
    merge_fields(&f, &none.base, title, clock_at(12, 1), &m);
    CHECK_STR(((Anime *)f.message)->title, "");
    /* The clearing is remembered: an older value doesn't come back. */
    merge_fields(&f, &a.base, title, clock_at(11, 9), &m);
    CHECK_STR(((Anime *)f.message)->title, "");
    CHECK(merge_mask_present(&kinds[KIND_ANIME], &none.base) == 0);
}

static void test_existence(void)
{
    struct fields f = fresh();
    struct merged m = {0};
    CHECK(!merge_existence(&f, false, clock_at(10, 1), &m) && m.moved);
    CHECK(merge_existence(&f, true, clock_at(20, 1), &m) && f.deleted);
    CHECK(!merge_existence(&f, false, clock_at(15, 1), &m) && f.deleted);
    CHECK(merge_existence(&f, false, clock_at(21, 1), &m) && !f.deleted);
}

static void test_one_event_needs_no_list(void)
{
    struct fields f = fresh();
    struct happening h = {
        .message = ECHORA__CATALOG__V1__ANIME__INIT, .at = clock_at(5, 1), .existence = 1};
    h.message.title = (char *)"A";
    h.message.episode_count = 3;
    h.mask = merge_mask_present(&kinds[KIND_ANIME], &h.message.base);
    apply(&f, &h);
    struct clock base;
    struct buf b;
    buf_init(&b, 4096);
    clocks_encode(&f, &base, &b);
    CHECK_EQ_INT(b.n, 0);
    CHECK_EQ_INT(clock_cmp(base, h.at), 0);
    buf_deinit(&b);
}

int main(void)
{
    arena = arena_new(64 << 20);
    RUN(test_rules);
    RUN(test_existence);
    RUN(test_one_event_needs_no_list);
    RUN(test_stored_clocks_come_back);
    RUN(test_every_order_gives_the_same);
    arena_free(arena);
    return check_result();
}
