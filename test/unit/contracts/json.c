/* The rules of the JSON form that every day meets; test/contract holds the whole of it against an
 * independent implementation. */
// SPDX-License-Identifier: Apache-2.0
#include "contracts/json.h"

#include "contracts/field.h"
#include "contracts/gen/events.pb-c.h"
#include "test/unit/check.h"

#define ENRICHED (&echora__events__v1__anime_enriched_event__descriptor)
#define SYNCED (&echora__events__v1__anime_synced_event__descriptor)

static struct arena *arena;

/* What comes back when the text is read and written again; the error's code when it is refused. */
static const char *through(const ProtobufCMessageDescriptor *type, const char *text)
{
    static struct err err;
    ProtobufCMessage *m = NULL;
    struct buf out;

    err = ERR_INIT;
    buf_init(&out, 1 << 20);
    const char *result = err.code;
    if (json_decode(type, view_of(text), arena, &m, &err) == 0 && json_encode(m, &out, &err) == 0)
        result = arena_strdup(arena, buf_view(&out));
    buf_deinit(&out);
    return result;
}

static void test_canonical_forms(void)
{
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"{}", "{}"},
        {"{\"event_id\":\"a\"}", "{\"eventId\":\"a\"}"},
        {"{\"timestamp\":\"2024-01-01T01:00:00+01:00\"}",
         "{\"timestamp\":\"2024-01-01T00:00:00Z\"}"},
        {"{\"anime\":{\"year\":0,\"title\":\"\",\"nsfw\":false}}",
         "{\"anime\":{\"nsfw\":false,\"year\":0}}"},
        {"{\"anime\":{\"type\":5,\"status\":77}}",
         "{\"anime\":{\"status\":77,\"type\":\"ANIME_TYPE_TV\"}}"},
        {"{\"anime\":{\"externalSources\":{\"b\":\"2\",\"a\":\"1\"}}}",
         "{\"anime\":{\"externalSources\":{\"a\":\"1\",\"b\":\"2\"}}}"},
        {"{\"characters\":[{\"favorites\":7}]}", "{\"characters\":[{\"favorites\":\"7\"}]}"},
        {"{\"anime\":{\"score\":{\"median\":\"7.25\"}}}",
         "{\"anime\":{\"score\":{\"median\":7.25}}}"},
        {"{\"anime\":null,\"characters\":null}", "{}"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_STR(through(ENRICHED, rows[i].in), rows[i].out);
    CHECK_STR(through(SYNCED, "{\"metadataUpdates\":{\"a\":[null,1.5,{\"b\":true}]}}"),
              "{\"metadataUpdates\":{\"a\":[null,1.5,{\"b\":true}]}}");
}

static void test_refusals(void)
{
    static const struct {
        const char *in, *code;
    } rows[] = {
        {"", "json-syntax"},
        {"{\"eventId\":\"a\",\"eventId\":\"b\"}", "json-syntax"},
        {"{\"eventId\":\"a\",\"event_id\":\"b\"}", "json-syntax"},
        {"{\"bogus\":1}", "json-unknown-field"},
        {"{\"eventId\":1}", "json-type"},
        {"{\"anime\":[]}", "json-type"},
        {"{\"anime\":{\"year\":4294967296}}", "json-range"},
        {"{\"anime\":{\"score\":{\"median\":1e39}}}", "json-range"},
        {"{\"eventId\":\"\\u0000\"}", "text-nul"},
        {"{\"timestamp\":\"2024-01-01\"}", "json-type"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        CHECK_STR(through(ENRICHED, rows[i].in), rows[i].code);
}

struct seen {
    unsigned n;
    struct fault faults[8];
};

static void note(void *ctx, const struct fault *fault)
{
    struct seen *seen = ctx;

    if (seen->n < ARRAY_LEN(seen->faults))
        seen->faults[seen->n] = *fault;
    seen->n++;
}

static void test_report_goes_on_behind_a_fault(void)
{
    struct err err = ERR_INIT;
    struct seen seen = {0};
    ProtobufCMessage *m = NULL;
    json_t *json = NULL;

    REQUIRE(json_parse(VIEW_LIT("{\"eventId\":1,\"anime\":{\"synonyms\":[\"a\",2,\"b\"],\"x\":1}}"),
                       &json, &err) == 0);
    CHECK_EQ_INT(json_decode_report(ENRICHED, json, arena, &m, note, &seen), 3);
    json_decref(json);
    CHECK_EQ_INT(seen.n, 3);
    CHECK_STR(seen.faults[0].path, "eventId");
    CHECK_STR(seen.faults[1].path, "anime.synonyms[1]");
    CHECK_STR(seen.faults[1].kind, "number");
    CHECK_STR(seen.faults[2].code, "json-unknown-field");
    REQUIRE(m != NULL);
    const Echora__Events__V1__AnimeEnrichedEvent *event =
        (const Echora__Events__V1__AnimeEnrichedEvent *)(void *)m;
    CHECK_EQ_INT(event->anime->n_synonyms, 2);
}

static void test_one_field(void)
{
    Echora__Catalog__V1__Anime anime = ECHORA__CATALOG__V1__ANIME__INIT;
    const ProtobufCFieldDescriptor *year = field_by_name(anime.base.descriptor, VIEW_LIT("year"));
    struct err err = ERR_INIT;
    struct buf out;
    json_t *number = json_integer(2001), *null = json_null();

    buf_init(&out, 1024);
    CHECK(json_encode_field(&anime.base, year, &out, &err) == 0);
    CHECK_STR(buf_cstr(&out), "null");
    CHECK(json_decode_field(&anime.base, year, number, arena, &err) == 0);
    CHECK(field_is_set(&anime.base, year));
    buf_reset(&out);
    CHECK(json_encode_field(&anime.base, year, &out, &err) == 0);
    CHECK_STR(buf_cstr(&out), "2001");
    CHECK(json_decode_field(&anime.base, year, null, arena, &err) == 0);
    CHECK(!field_is_set(&anime.base, year));
    json_decref(number);
    buf_deinit(&out);
}

static void test_a_full_arena_is_said(void)
{
    struct arena *small = arena_new(64);
    struct err err = ERR_INIT;
    ProtobufCMessage *m = NULL;

    CHECK(json_decode(ENRICHED, VIEW_LIT("{\"anime\":{}}"), small, &m, &err) < 0);
    CHECK_STR(err.code, "too-large");
    arena_free(small);
}

int main(void)
{
    arena = arena_new(16 << 20);
    RUN(test_canonical_forms);
    RUN(test_refusals);
    RUN(test_report_goes_on_behind_a_fault);
    RUN(test_one_field);
    RUN(test_a_full_arena_is_said);
    arena_free(arena);
    return check_result();
}
