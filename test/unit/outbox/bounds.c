/* Bounds as text: what is written is read as the same, anything else is not read; snapshots that
 * are cut. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/bounds.h"

#include "test/unit/check.h"

static void batch_of(struct outbox_batch *b, const char *prev, const char *cur)
{
    batch_init(b);
    b->number = 7;
    b->n_rows = 2;
    b->first_id = 41;
    b->last_id = 44;
    snapshot_set(&b->prev, view_of(prev), 1);
    snapshot_set(&b->cur, view_of(cur), 1);
    buf_puts(&b->stragglers, "{}");
}

static void test_there_and_back(void)
{
    struct outbox_batch b, got;
    char text[BOUNDS_MAX];
    batch_of(&b, "790:790:", "795:801:795,798,800");
    batch_init(&got);
    got.number = 7;
    got.start_sequence = 12;
    buf_puts(&got.stragglers, "{5}");
    CHECK(bounds_format(&b, text));
    CHECK(strcmp(text, "2 41 44 790:790: 795:801:795,798,800") == 0);
    CHECK(bounds_parse(view_of(text), &got));
    CHECK(got.n_rows == 2 && got.first_id == 41 && got.last_id == 44);
    CHECK(got.prev.xmax == 790 && view_is(buf_view(&got.prev.text), "790:790:"));
    CHECK(got.cur.xmax == 801 && view_is(buf_view(&got.cur.text), "795:801:795,798,800"));
    CHECK(!batch_has_stragglers(&got));
    CHECK(got.number == 7 && got.start_sequence == 12);
    batch_deinit(&b);
    batch_deinit(&got);
}

static void test_what_does_not_travel(void)
{
    struct outbox_batch b;
    char text[BOUNDS_MAX], open[2 * BOUNDS_MAX] = "5:99999:";
    batch_of(&b, "5:5:", "5:9:");
    buf_reset(&b.stragglers);
    buf_puts(&b.stragglers, "{5}");
    CHECK(!bounds_format(&b, text));
    batch_deinit(&b);

    memset(open + 8, '1', sizeof(open) - 9);
    batch_of(&b, "5:5:", open);
    CHECK(!bounds_format(&b, text));
    batch_deinit(&b);
}

static void test_other_texts(void)
{
    static const char *const bad[] = {
        "",
        "2",
        "2 41",
        "2 41 44",
        "2 41 44 790:790:",
        "0 41 44 790:790: 795:795:",
        "-2 41 44 790:790: 795:795:",
        "2 0 44 790:790: 795:795:",
        "2 41 40 790:790: 795:795:",
        "2 41 44 790:790 795:795:",
        "2 41 44 790: 795:795:",
        "2 41 44 2:2: 795:795:",
        "2 41 44 790:789: 795:795:",
        "2 41 44 790:790: 795:795: ",
        "2 41 44 790:790: 795:795: 1",
        "2 41 44 790:790: 795:801:795,",
        "2 41 44 790:790: 795:801:,795",
        "2 41 44 790:790: 795:801:798,795",
        "2 41 44 790:790: 795:801:795,795",
        "2 41 44 790:790: 795:801:801",
        "2 41 44 790:790: 795:801:794",
        "2 41 44 790:790: 795:801:79x",
        "2  41 44 790:790: 795:795:",
        "2 41 44 790:790: 99999999999999999999:99999999999999999999:",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct outbox_batch b;
        batch_init(&b);
        CHECK(!bounds_parse(view_of(bad[i]), &b));
        batch_deinit(&b);
    }
}

static void test_cut(void)
{
    static const struct {
        const char *text;
        uint64_t xmax;
        const char *cut;
    } rows[] = {
        {"790:790:", 790, "790:790:"},
        {"790:790:", 795, "790:790:"},
        {"795:801:795,798,800", 801, "795:801:795,798,800"},
        {"795:801:795,798,800", 800, "795:800:795,798"},
        {"795:801:795,798,800", 798, "795:798:795"},
        {"795:801:795,798,800", 795, "795:795:"},
        {"795:801:795,798,800", 700, "700:700:"},
        {"801:801:", 796, "796:796:"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outbox_batch b;
        batch_init(&b);
        CHECK(snapshot_parse(view_of(rows[i].text), &b.cur));
        CHECK(snapshot_cut(&b.cur, rows[i].xmax));
        CHECK(view_is(buf_view(&b.cur.text), rows[i].cut));
        CHECK(b.cur.xmax <= rows[i].xmax);
        batch_deinit(&b);
    }
    struct snapshot bad = {0};
    buf_init(&bad.text, 64);
    buf_puts(&bad.text, "nonsense");
    CHECK(!snapshot_cut(&bad, 5));
    buf_deinit(&bad.text);
}

int main(void)
{
    RUN(test_cut);
    RUN(test_there_and_back);
    RUN(test_what_does_not_travel);
    RUN(test_other_texts);
    return check_result();
}
