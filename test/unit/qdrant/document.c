/* Search text, payload and the hash over the text, from messages to JSON. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/document.h"

#include <jansson.h>

#include "contracts/field.h"
#include "contracts/gen/catalog.pb-c.h"
#include "contracts/json.h"
#include "test/unit/check.h"

static struct arena *arena;

static const ProtobufCMessageDescriptor *const types[N_DOC_KINDS] = {
    &echora__catalog__v1__anime__descriptor, &echora__catalog__v1__character__descriptor,
    &echora__catalog__v1__episode__descriptor};

static struct document make(enum doc_kind kind, const char *json, struct doc_source *source)
{
    struct err err = ERR_INIT;
    struct document d = {0};
    ProtobufCMessage *content = NULL;
    source->kind = kind;
    source->revision = 7;
    CHECK(json_decode(types[kind], view_of(json), arena, &content, &err) == 0);
    source->content = content;
    CHECK(content && document_make(source, arena, &d, &err) == 0);
    return d;
}

static json_t *payload_of(const struct document *d)
{
    char *text = arena_printf(arena, "{%.*s\"end\":1}", (int)d->payload.n, d->payload.p);
    json_t *root = json_loads(text, 0, NULL);
    CHECK(root != NULL);
    return root;
}

static void test_anime(void)
{
    struct doc_source source = {.episode_rows = 3};
    struct document d = make(
        DOC_ANIME,
        "{\"title\":\" Cowboy Bebop \",\"titleEnglish\":\"Cowboy "
        "\\\"B\\\"\",\"synopsis\":\"Space.\","
        "\"tags\":[\"jazz\",\"\",\"space\"],\"genres\":[\"Action\"],\"demographics\":[\"Seinen\"],"
        "\"type\":\"ANIME_TYPE_TV_SHORT\",\"status\":\"ANIME_STATUS_FINISHED\",\"year\":1998,"
        "\"episodeCount\":2,\"season\":\"ANIME_SEASON_SPRING\",\"score\":{\"median\":8.75},"
        "\"themes\":[{\"name\":\"Loss\",\"description\":\"x\"}],"
        "\"statistics\":{\"mal\":{\"scoredBy\":\"12\",\"score\":8.5}},"
        "\"airedDates\":{\"airedFrom\":\"1998-04-03T00:00:00Z\"}}",
        &source);
    CHECK_VIEW(d.text, view_of("Cowboy Bebop\nCowboy \"B\"\nSpace.\njazz\nspace\nAction\nSeinen"));
    CHECK_EQ_INT(d.n_parts, 7);
    CHECK_EQ_INT(d.parts[2].field, TEXT_SYNOPSIS);
    CHECK_EQ_INT(d.parts[6].field, TEXT_DEMOGRAPHIC);
    json_t *p = payload_of(&d);
    CHECK_STR(json_string_value(json_object_get(p, "entity_type")), "anime");
    CHECK_STR(json_string_value(json_object_get(p, "type")), "TV_SHORT");
    CHECK_STR(json_string_value(json_object_get(p, "status")), "FINISHED");
    CHECK_STR(json_string_value(json_object_get(p, "season")), "SPRING");
    CHECK_STR(json_string_value(json_object_get(p, "aired_from")), "1998-04-03T00:00:00Z");
    CHECK_EQ_INT(json_integer_value(json_object_get(p, "episode_count")), 3);
    CHECK(json_is_false(json_object_get(p, "nsfw")));
    CHECK(json_number_value(json_object_get(json_object_get(p, "score"), "median")) == 8.75);
    json_t *mal = json_object_get(json_object_get(p, "statistics"), "mal");
    CHECK_EQ_INT(json_integer_value(json_object_get(mal, "scored_by")), 12);
    CHECK_STR(json_string_value(json_array_get(json_object_get(p, "themes"), 0)), "Loss");
    CHECK(json_object_get(p, "synopsis") == NULL); /* search text is no payload */
    CHECK(json_object_get(p, "rating") == NULL);
    json_decref(p);
}

static void test_children(void)
{
    char *ids[] = {(char[]){"0190aaaa-0000-7000-8000-00000000000a"}};
    struct doc_source source = {.anime_ids = ids, .n_anime_ids = 1, .inherited_nsfw = true};
    struct document d =
        make(DOC_CHARACTER,
             "{\"name\":\"Spike\",\"nicknames\":[\"Swimming Bird\"],\"traits\":"
             "[\"smoker\"],\"description\":\"A hunter.\",\"favorites\":\"9\","
             "\"roles\":[\"CHARACTER_ROLE_MAIN\"],\"attributes\":{\"height\":\"185\"}}",
             &source);
    CHECK_VIEW(d.text, view_of("Spike\nSwimming Bird\nA hunter.\nsmoker"));
    json_t *p = payload_of(&d);
    CHECK(json_is_true(json_object_get(p, "nsfw")));
    CHECK_EQ_INT(json_array_size(json_object_get(p, "anime_ids")), 1);
    CHECK_EQ_INT(json_integer_value(json_object_get(p, "favorites")), 9);
    CHECK_STR(json_string_value(json_array_get(json_object_get(p, "roles"), 0)), "MAIN");
    CHECK(json_object_get(json_object_get(p, "attributes"), "height") != NULL);
    json_decref(p);

    struct doc_source episode = {.anime_ids = ids, .n_anime_ids = 1};
    d = make(DOC_EPISODE, "{\"title\":\"Asteroid Blues\",\"synopsis\":\"Start.\"}", &episode);
    CHECK_VIEW(d.text, view_of("Asteroid Blues\nStart."));
    p = payload_of(&d);
    CHECK(json_is_integer(json_object_get(p, "episode_number"))); /* 0 is a number */
    CHECK(json_is_false(json_object_get(p, "nsfw")));
    json_decref(p);
}

static void check_emb(const char *a, const char *b, bool same)
{
    char one[EMB_TEXT], two[EMB_TEXT];
    struct doc_source source = {0};
    struct document d = make(DOC_ANIME, a, &source);
    CHECK_EQ_INT(document_emb(&d, "hash/1", one, NULL), 0);
    d = make(DOC_ANIME, b, &source);
    CHECK_EQ_INT(document_emb(&d, "hash/1", two, NULL), 0);
    CHECK_ROW((strcmp(one, two) == 0) == same, b);
    CHECK_EQ_INT(strlen(one), EMB_TEXT - 1);
}

static void test_emb_follows_the_search_text(void)
{
    const char *base =
        "{\"title\":\"A\",\"tags\":[\"x\",\"y\"],\"status\":\"ANIME_STATUS_ONGOING\"}";
    check_emb(base, "{\"title\":\"A\",\"tags\":[\"x\",\"y\"],\"status\":\"ANIME_STATUS_FINISHED\"}",
              true);
    check_emb(base, "{\"title\":\" A\",\"tags\":[\"x\",\"y\"],\"year\":2001}", true);
    check_emb(base, "{\"title\":\"B\",\"tags\":[\"x\",\"y\"]}", false);
    check_emb(base, "{\"title\":\"A\",\"tags\":[\"xy\"]}", false);
    check_emb(base, "{\"title\":\"A\",\"tags\":[\"x\"],\"genres\":[\"y\"]}", false);
    char one[EMB_TEXT], two[EMB_TEXT];
    struct doc_source source = {0};
    struct document d = make(DOC_ANIME, base, &source);
    CHECK_EQ_INT(document_emb(&d, "hash/1", one, NULL), 0);
    CHECK_EQ_INT(document_emb(&d, "none/1", two, NULL), 0);
    CHECK(strcmp(one, two) != 0);
}

/* Rows that no field of the message fills: what the worker derives (payload.h, document.h). */
static bool is_derived(const char *name)
{
    static const char *const names[] = {"entity_type", "rev",  "emb",          "deleted",
                                        "anime_ids",   "nsfw", "episode_count"};
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        found = found || strcmp(name, names[i]) == 0;
    return found;
}

/* Every row names a field of each message that it is for, or is one of the derived ones. */
static void test_payload_rows_name_fields(void)
{
    for (size_t i = 0; i < n_payload_fields; i++) {
        const struct payload_field *row = &payload_fields[i];
        CHECK_ROW(row->path || is_derived(row->name), row->name);
        for (enum doc_kind kind = DOC_ANIME; row->path && kind < N_DOC_KINDS; kind++) {
            if (!(row->kinds & (1u << kind)))
                continue;
            const ProtobufCMessageDescriptor *type = types[kind];
            struct view rest = view_of(row->path), part;
            while (type && view_split(&rest, '.', &part)) {
                const ProtobufCFieldDescriptor *field = field_by_name(type, part);
                CHECK_ROW(field != NULL, row->path);
                type = field && field->type == PROTOBUF_C_TYPE_MESSAGE ? field->descriptor : NULL;
            }
        }
    }
}

int main(void)
{
    arena = arena_new(16 << 20);
    RUN(test_anime);
    RUN(test_children);
    RUN(test_emb_follows_the_search_text);
    RUN(test_payload_rows_name_fields);
    arena = arena_free(arena);
    return check_result();
}
