// SPDX-License-Identifier: Apache-2.0
#include "contracts/field.h"

#include "contracts/gen/catalog.pb-c.h"
#include "contracts/gen/struct.pb-c.h"
#include "contracts/wire.h"
#include "test/unit/check.h"
#include "test/unit/contracts/fill.h"

static const ProtobufCMessageDescriptor *const entities[] = {
    &echora__catalog__v1__anime__descriptor,
    &echora__catalog__v1__character__descriptor,
    &echora__catalog__v1__episode__descriptor,
};

/* Through bytes and back, one field alone. */
static void check_wire(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, struct arena *arena)
{
    struct buf out;
    struct err err = ERR_INIT;
    ProtobufCMessage *back = NULL;
    buf_init(&out, 1 << 20);
    CHECK_ROW(wire_encode(m, &out, &err) == 0, f->name);
    int rc = wire_decode(m->descriptor, bytes_of(buf_view(&out)), WIRE_DECODE_MAX_DEFAULT, arena,
                         &back, &err);
    if (CHECK_ROW(rc == 0, f->name)) {
        CHECK_ROW(field_equal(m, back, f), f->name);
        CHECK_ROW(message_equal(m, back), f->name);
    }
    buf_deinit(&out);
}

static void check_one(const ProtobufCMessageDescriptor *type, const ProtobufCFieldDescriptor *f,
                      struct arena *arena)
{
    ProtobufCMessage *empty = message_new(type, arena), *a = message_new(type, arena);
    ProtobufCMessage *b = message_new(type, arena), *c = message_new(type, arena);
    CHECK_ROW(!field_is_set(empty, f), f->name);
    CHECK_ROW(field_by_name(type, view_of(f->name)) == f, f->name);

    fill_field(a, f, arena, 7, FILL_DEPTH);
    fill_field(b, f, arena, 7, FILL_DEPTH);
    CHECK_ROW(field_is_set(a, f), f->name);
    CHECK_ROW(field_equal(a, b, f) && message_equal(a, b), f->name);
    CHECK_ROW(!field_equal(a, empty, f) && !message_equal(empty, a), f->name);
    if (f->type != PROTOBUF_C_TYPE_BOOL) {
        fill_field(b, f, arena, 8, FILL_DEPTH);
        CHECK_ROW(!field_equal(a, b, f), f->name);
    }
    check_wire(a, f, arena);

    field_share(c, a, f);
    CHECK_ROW(field_equal(a, c, f) && message_equal(a, c), f->name);
    field_clear(c, f);
    CHECK_ROW(!field_is_set(c, f) && message_equal(c, empty), f->name);
    field_share(a, empty, f);
    CHECK_ROW(!field_is_set(a, f) && message_equal(a, empty), f->name);
    check_wire(a, f, arena);
}

static void test_every_field(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(64 << 20);
    for (size_t i = 0; i < ARRAY_LEN(entities); i++) {
        for (unsigned j = 0; j < entities[i]->n_fields; j++)
            check_one(entities[i], &entities[i]->fields[j], arena);
    }
}

/* An optional field holds zero; a plain one can't tell zero from absent. */
static void test_zero(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    Echora__Catalog__V1__Anime a = ECHORA__CATALOG__V1__ANIME__INIT;
    const ProtobufCFieldDescriptor *duration =
        field_by_name(a.base.descriptor, view_of("duration"));
    const ProtobufCFieldDescriptor *count =
        field_by_name(a.base.descriptor, view_of("episode_count"));
    const ProtobufCFieldDescriptor *synopsis =
        field_by_name(a.base.descriptor, view_of("synopsis"));
    a._duration_case = ECHORA__CATALOG__V1__ANIME___DURATION_DURATION;
    a.episode_count = 0;
    a._synopsis_case = ECHORA__CATALOG__V1__ANIME___SYNOPSIS_SYNOPSIS;
    a.synopsis = (char *)"";
    CHECK(field_is_set(&a.base, duration));
    CHECK(!field_is_set(&a.base, count));
    CHECK(field_is_set(&a.base, synopsis));
    check_wire(&a.base, duration, arena);
    check_wire(&a.base, synopsis, arena);
}

static void test_maps(void)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
    typedef Echora__Catalog__V1__Anime__ExternalSourcesEntry Entry;
    Entry e[4];
    for (size_t i = 0; i < ARRAY_LEN(e); i++) {
        echora__catalog__v1__anime__external_sources_entry__init(&e[i]);
        e[i].key = arena_printf(arena, "k%zu", i % 3); /* the last repeats the first's key */
        e[i].value = arena_printf(arena, "v%zu", i);
    }
    Entry *ab[] = {&e[0], &e[1]}, *ba[] = {&e[1], &e[0]}, *again[] = {&e[3], &e[1], &e[0]};
    Entry *late[] = {&e[0], &e[1], &e[3]};
    Echora__Catalog__V1__Anime x = ECHORA__CATALOG__V1__ANIME__INIT, y = x;
    const ProtobufCFieldDescriptor *f =
        field_by_name(x.base.descriptor, view_of("external_sources"));
    CHECK(field_is_map(f));
    x.n_external_sources = y.n_external_sources = 2;
    x.external_sources = ab;
    y.external_sources = ba;
    CHECK(field_equal(&x.base, &y.base, f)); /* order doesn't count */
    y.n_external_sources = 3;
    y.external_sources = again;
    CHECK(field_equal(&x.base, &y.base, f)); /* of one key the last stands */
    y.external_sources = late;
    CHECK(!field_equal(&x.base, &y.base, f));
    y.n_external_sources = 1;
    y.external_sources = ab;
    CHECK(!field_equal(&x.base, &y.base, f));

    /* Over the size that is sorted on the stack. */
    enum { MANY = 500 };
    Entry *many = arena_array(arena, MANY, sizeof(*many));
    Entry **up = arena_array(arena, MANY, sizeof(*up)),
          **down = arena_array(arena, MANY, sizeof(*up));
    for (size_t i = 0; i < MANY; i++) {
        echora__catalog__v1__anime__external_sources_entry__init(&many[i]);
        many[i].key = arena_printf(arena, "%zu", i);
        up[i] = down[MANY - 1 - i] = &many[i];
    }
    x.n_external_sources = y.n_external_sources = MANY;
    x.external_sources = up;
    y.external_sources = down;
    CHECK(field_equal(&x.base, &y.base, f));
    many[17].value = (char *)"x";
    Entry other = many[17];
    other.value = (char *)"y";
    down[MANY - 1 - 17] = &other;
    CHECK(!field_equal(&x.base, &y.base, f));
}

/* A map's value that was left out is an empty one. */
static void test_map_of_messages(void)
{
    Echora__Catalog__V1__Anime__StatisticsEntry a =
        ECHORA__CATALOG__V1__ANIME__STATISTICS_ENTRY__INIT;
    Echora__Catalog__V1__Anime__StatisticsEntry b = a, *pa = &a, *pb = &b;
    Echora__Catalog__V1__Statistics s = ECHORA__CATALOG__V1__STATISTICS__INIT;
    Echora__Catalog__V1__Anime x = ECHORA__CATALOG__V1__ANIME__INIT, y = x;
    b.value = &s;
    x.n_statistics = y.n_statistics = 1;
    x.statistics = &pa;
    y.statistics = &pb;
    const ProtobufCFieldDescriptor *f = field_by_name(x.base.descriptor, view_of("statistics"));
    CHECK(field_equal(&x.base, &y.base, f) && field_equal(&y.base, &x.base, f));
    s._rank_case = ECHORA__CATALOG__V1__STATISTICS___RANK_RANK;
    CHECK(!field_equal(&x.base, &y.base, f) && !field_equal(&y.base, &x.base, f));
}

static void test_lists_are_ordered(void)
{
    char *ab[] = {(char *)"a", (char *)"b"}, *ba[] = {(char *)"b", (char *)"a"};
    Echora__Catalog__V1__Anime x = ECHORA__CATALOG__V1__ANIME__INIT, y = x;
    const ProtobufCFieldDescriptor *f = field_by_name(x.base.descriptor, view_of("genres"));
    x.n_genres = y.n_genres = 2;
    x.genres = ab;
    y.genres = ba;
    CHECK(!field_is_map(f));
    CHECK(!field_equal(&x.base, &y.base, f));
    y.genres = ab;
    CHECK(field_equal(&x.base, &y.base, f));
}

/* Members of one oneof share their memory: clearing one leaves another alone. */
static void test_oneof(void)
{
    Google__Protobuf__Value v = GOOGLE__PROTOBUF__VALUE__INIT, w = v;
    const ProtobufCFieldDescriptor *text =
        field_by_name(v.base.descriptor, view_of("string_value"));
    const ProtobufCFieldDescriptor *number =
        field_by_name(v.base.descriptor, view_of("number_value"));
    v.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_STRING_VALUE;
    v.string_value = (char *)"x";
    field_clear(&v.base, number);
    CHECK(field_is_set(&v.base, text) && !field_is_set(&v.base, number));
    w.kind_case = GOOGLE__PROTOBUF__VALUE__KIND_NUMBER_VALUE;
    w.number_value = 1;
    CHECK(!message_equal(&v.base, &w.base));
    field_share(&w.base, &v.base, text);
    CHECK(message_equal(&v.base, &w.base));
    field_share(&w.base, &v.base, number); /* not set there, and not here */
    CHECK(message_equal(&v.base, &w.base));
}

static void test_floats_by_bits(void)
{
    Echora__Catalog__V1__ScoreCalculations x = ECHORA__CATALOG__V1__SCORE_CALCULATIONS__INIT, y = x;
    const ProtobufCFieldDescriptor *f = field_by_name(x.base.descriptor, view_of("median"));
    x._median_case = y._median_case = ECHORA__CATALOG__V1__SCORE_CALCULATIONS___MEDIAN_MEDIAN;
    x.median = 0.0f;
    y.median = -0.0f;
    CHECK(!field_equal(&x.base, &y.base, f));
    x.median = y.median = __builtin_nanf("");
    CHECK(field_equal(&x.base, &y.base, f));
}

static void test_names(void)
{
    const ProtobufCMessageDescriptor *anime = &echora__catalog__v1__anime__descriptor;
    CHECK(!field_by_name(anime, view_of("")));
    CHECK(!field_by_name(anime, view_of("episodeCount")));
    CHECK(!field_by_name(anime, VIEW_LIT("title\0x")));
    CHECK(!field_by_name(anime,
                         view_of("a_name_that_is_a_great_deal_longer_than_any_field_of_ours_is")));
    CHECK(field_by_name(anime, (struct view){"title_english", 5}) ==
          field_by_name(anime, view_of("title")));
}

int main(void)
{
    RUN(test_every_field);
    RUN(test_zero);
    RUN(test_maps);
    RUN(test_map_of_messages);
    RUN(test_lists_are_ordered);
    RUN(test_oneof);
    RUN(test_floats_by_bits);
    RUN(test_names);
    return check_result();
}
