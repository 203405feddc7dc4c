/* The CLI's rules without servers: configurations, documents, lines, snapshot entries. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/documents.h"
#include "ops/cli/manami.h"
#include "ops/cli/provision.h"
#include "ops/cli/stamp.h"

#include "contracts/json.h"
#include "events/base/buf.h"
#include "test/unit/check.h"

static void test_streams_hold_their_subjects_once(void)
{
    for (const struct stream_def *const *s = registry_streams; *s; s++) {
        json_t *config = provision_stream(*s, 1, true);
        const json_t *subjects = json_object_get(config, "subjects");
        CHECK_ROW(json_array_size(subjects) > 0, (*s)->name);
        for (size_t i = 0; i < json_array_size(subjects); i++)
            for (size_t k = 0; k < json_array_size(subjects); k++)
                CHECK_ROW(i == k || !subject_overlaps(
                                        view_of(json_string_value(json_array_get(subjects, i))),
                                        view_of(json_string_value(json_array_get(subjects, k)))),
                          (*s)->name);
        json_decref(config);
    }
}

static void test_what_differs(void)
{
    struct err err = ERR_INIT;
    json_t *have = NULL, *want = NULL;

    REQUIRE(json_parse(VIEW_LIT("{\"a\":1,\"list\":[\"y\",\"x\"],\"server\":true}"), &have, &err) ==
            0);
    REQUIRE(json_parse(VIEW_LIT("{\"a\":1,\"list\":[\"x\",\"y\"],\"off\":false,\"zero\":0}"), &want,
                       &err) == 0);
    CHECK_EQ_INT(provision_compare(have, want, NULL, NULL), 0);
    json_object_set_new(want, "a", json_integer(2));
    json_object_set_new(want, "on", json_true());
    json_array_append_new(json_object_get(want, "list"), json_string("z"));
    CHECK_EQ_INT(provision_compare(have, want, NULL, NULL), 3);
    json_decref(have);
    json_decref(want);
}

static void test_documents(void)
{
    static const struct {
        const char *text;
        int n; /* documents; -1 = an error at the end */
    } rows[] = {
        {"", 0},     {" \n", 0},        {"{}", 1},
        {"{}{}", 2}, {"{}\n\n{}\n", 2}, {"{\"a\":\"}{\\\"\"} {\"b\":[{}]}", 2},
        {"{", -1},   {"{} x", -1},      {"{\n \"a\": {\n}\n}\n{}", 2},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct documents d;
        struct err err = ERR_INIT;
        json_t *json;
        int n = 0, more;
        documents_start(&d, view_of(rows[i].text));
        while ((more = documents_next(&d, &json, &err)) > 0) {
            n++;
            json_decref(json);
        }
        CHECK_ROW((more < 0 ? -1 : n) == rows[i].n, rows[i].text);
    }
}

static Echora__Events__V1__AnimeEnrichedEvent *entry(const char *text, struct arena *arena,
                                                     struct err *err)
{
    static const struct manami_file file = {.sha256 = "00", .time_s = 1700000000};
    Echora__Events__V1__AnimeEnrichedEvent *event = NULL;
    json_t *json = NULL;

    *err = ERR_INIT;
    if (json_parse(view_of(text), &json, err) == 0 &&
        manami_event(json, &file, arena, &event, err) < 0)
        event = NULL;
    json_decref(json);
    return event;
}

static void test_ids_depend_on_the_references_alone(void)
{
    struct arena *arena = arena_new(1 << 20);
    struct err err;
    const Echora__Events__V1__AnimeEnrichedEvent *a =
        entry("{\"sources\":[\"https://myanimelist.net/anime/1\",\"https://anidb.net/anime/2\"],"
              "\"title\":\"A\"}",
              arena, &err);
    const Echora__Events__V1__AnimeEnrichedEvent *b = entry(
        "{\"sources\":[\" https://anidb.net/anime/2 \",\"https://www.myanimelist.net/anime/1/x\"],"
        "\"title\":\"B\"}",
        arena, &err);

    REQUIRE(a && b);
    CHECK_STR(a->anime_id, b->anime_id);
    CHECK_STR(a->event_id, b->event_id);
    CHECK(strcmp(a->event_id, a->anime_id) != 0);
    CHECK_EQ_INT(a->timestamp->seconds, 1700000000);
    arena_free(arena);
}

static void test_entries_that_are_none(void)
{
    static const char *const rows[] = {"[]",
                                       "{}",
                                       "{\"title\":\"A\"}",
                                       "{\"title\":\"A\",\"sources\":[]}",
                                       "{\"title\":\" \",\"sources\":[\"a\"]}",
                                       "{\"title\":\"A\",\"sources\":[1,\" \"]}"};
    struct arena *arena = arena_new(1 << 20);
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CHECK_ROW(entry(rows[i], arena, &err) == NULL, rows[i]);
        CHECK_STR(err.code, "snapshot-line");
    }
    arena_free(arena);
}

static void test_last_update(void)
{
    struct err err = ERR_INIT;
    json_t *json = NULL;
    int64_t t = 0;

    REQUIRE(json_parse(VIEW_LIT("{\"lastUpdate\":\"2024-05-17\"}"), &json, &err) == 0);
    CHECK(manami_is_metadata(json) && manami_last_update(json, &t));
    CHECK_EQ_INT(t, 1715904000);
    json_object_set_new(json, "lastUpdate", json_string("yesterday"));
    CHECK(!manami_last_update(json, &t));
    json_decref(json);
}

static void test_stamp(void)
{
    struct arena *arena = arena_new(1 << 20);
    struct trace_context trace;
    struct bus_message message;
    struct err err = ERR_INIT;
    Echora__Events__V1__AnimeUpdatedEvent event = ECHORA__EVENTS__V1__ANIME_UPDATED_EVENT__INIT;
    char event_id[] = "e", anime_id[] = "a";

    event.event_id = event_id;
    event.anime_id = anime_id;
    trace_start_root(&trace);
    REQUIRE(stamp_event(registry_must("anime.updated"), &event.base, bytes_of(VIEW_LIT("abc")),
                        &trace, arena, &message, &err) == 0);
    CHECK_STR(message.headers[0].name, "Nats-Msg-Id");
    CHECK_STR(message.headers[0].value, "a-ba7816bf"); /* SHA-256 of "abc" */
    CHECK_STR(message.headers[1].value, "ANIME_EVENTS");
    arena_free(arena);
}

int main(void)
{
    RUN(test_streams_hold_their_subjects_once);
    RUN(test_what_differs);
    RUN(test_documents);
    RUN(test_ids_depend_on_the_references_alone);
    RUN(test_entries_that_are_none);
    RUN(test_last_update);
    RUN(test_stamp);
    return check_result();
}
