// SPDX-License-Identifier: Apache-2.0
#include "contracts/validate.h"

#include "contracts/gen/events.pb-c.h"
#include "contracts/json.h"
#include "contracts/wire.h"
#include "test/unit/check.h"

/* 2026-01-01T00:00:00Z */
#define NOW_US INT64_C(1767225600000000)

#define E "\"eventId\":\"0198a7d2-0000-7000-8000-000000000001\""
#define T "\"timestamp\":\"2025-12-31T23:00:00Z\""
#define A1 "\"0198a7d2-0000-7000-8000-00000000000a\""
#define A2 "\"0198a7d2-0000-7000-8000-00000000000b\""
#define HEAD E "," T ",\"animeId\":" A1
#define EPISODE_HEAD E "," T ",\"episodeId\":" A1
#define CHARACTER_HEAD E "," T ",\"characterId\":" A1
#define FULL "\"title\":\"x\",\"type\":\"ANIME_TYPE_TV\",\"status\":\"ANIME_STATUS_FINISHED\""
#define ENRICHED(more) "{" HEAD ",\"anime\":{" FULL "}" more "}"
#define ANIME(more) "{" HEAD ",\"anime\":{" FULL "," more "}}"
#define UPDATED(fields, anime) "{" HEAD ",\"changedFields\":[" fields "],\"anime\":{" anime "}}"
#define AIRED(more) "{" HEAD ",\"airedAt\":\"2025-12-31T23:00:00+09:00\"" more "}"
#define EPISODE(more) "{" EPISODE_HEAD more "}"
#define CHARACTER(more) "{" CHARACTER_HEAD more "}"

/* faults: "code path kind" of each, in order, separated by "; ". */
static const struct row {
    const char *subject, *json, *faults;
} rows[] = {
    /* envelope */
    {"anime.enriched", ENRICHED(""), ""},
    {"anime.enriched", "{" T ",\"animeId\":" A1 ",\"anime\":{" FULL "}}",
     "missing-id event_id absent"},
    {"anime.enriched", "{\"eventId\":\"1\"," T ",\"animeId\":" A1 ",\"anime\":{" FULL "}}",
     "bad-uuid event_id string"},
    {"anime.enriched",
     "{\"eventId\":\"0198A7D2-0000-7000-8000-00000000000A\"," T ",\"animeId\":" A1
     ",\"anime\":{" FULL "}}",
     ""},
    {"anime.enriched",
     "{\"eventId\":\"0198a7d20000700080000000000000000000\"," T ",\"animeId\":" A1
     ",\"anime\":{" FULL "}}",
     "bad-uuid event_id string"},
    {"anime.enriched", "{" E "," T ",\"anime\":{" FULL "}}", "missing-id anime_id absent"},
    {"anime.enriched", "{" E "," T ",\"animeId\":\"x\",\"anime\":{" FULL "}}",
     "bad-uuid anime_id string"},
    {"anime.enriched", "{" E ",\"animeId\":" A1 ",\"anime\":{" FULL "}}",
     "missing-required timestamp absent"},
    {"anime.created", "{" HEAD ",\"revision\":\"1\"}", ""},
    {"anime.created", "{}",
     "missing-id event_id absent; missing-id anime_id absent; missing-required timestamp absent"},
    {"character.synced", "{" E "," T "}", "missing-id character_id absent"},
    {"ingestion.review.ready", "{" E "," T "}", ""}, /* names no entity */
    {"anime.created", "{" E ",\"animeId\":" A1 ",\"timestamp\":\"2026-01-01T00:10:00Z\"}", ""},
    {"anime.created", "{" E ",\"animeId\":" A1 ",\"timestamp\":\"2026-01-01T00:10:00.000001Z\"}",
     "future-timestamp timestamp timestamp"},
    {"anime.updated", "{" E ",\"animeId\":" A1 ",\"timestamp\":\"2026-01-01T00:10:01Z\"}",
     "future-timestamp timestamp timestamp"},
    {"anime.created", "{" E ",\"animeId\":" A1 ",\"timestamp\":\"0001-01-01T00:00:00Z\"}", ""},

    /* full records */
    {"anime.enriched", "{" HEAD "}", "missing-required anime absent"},
    {"anime.enriched", "{" HEAD ",\"anime\":{}}",
     "missing-required anime.title absent; missing-required anime.type absent; "
     "missing-required anime.status absent"},
    {"anime.enriched",
     "{" HEAD ",\"anime\":{\"title\":\"\",\"type\":\"ANIME_TYPE_UNSPECIFIED\",\"status\":77}}",
     "missing-required anime.title absent; missing-required anime.type absent"},
    {"anime.enriched", ANIME("\"id\":" A1), ""},
    {"anime.enriched", ANIME("\"id\":\"0198A7D2-0000-7000-8000-00000000000A\""), ""},
    {"anime.enriched", ANIME("\"id\":" A2), "id-mismatch anime.id string"},
    {"anime.enriched", ANIME("\"id\":\"x\""), "bad-uuid anime.id string"},
    {"anime.enriched", ENRICHED(",\"characters\":[{},{\"id\":\"\"},{\"id\":" A2 "}]"), ""},
    {"anime.enriched", ENRICHED(",\"characters\":[{},{\"id\":\"x\"}]"),
     "bad-uuid characters[1].id string"},
    {"anime.enriched", ENRICHED(",\"characters\":[{\"animeIds\":[" A2 ",\"\"]}]"),
     "bad-uuid characters[0].anime_ids[1] string"},
    {"anime.enriched", ENRICHED(",\"episodes\":[{},{\"id\":" A2 ",\"animeId\":" A1 "}]"), ""},
    {"anime.enriched", ENRICHED(",\"episodes\":[{\"id\":\"7\"},{\"animeId\":" A2 "}]"),
     "bad-uuid episodes[0].id string; id-mismatch episodes[1].anime_id string"},

    /* ranges, each just inside and just outside */
    {"anime.enriched", ANIME("\"year\":1900"), ""},
    {"anime.enriched", ANIME("\"year\":1899"), "out-of-range anime.year number"},
    {"anime.enriched", ANIME("\"year\":2100"), ""},
    {"anime.enriched", ANIME("\"year\":2101"), "out-of-range anime.year number"},
    {"anime.enriched", ANIME("\"year\":0"), "out-of-range anime.year number"},
    {"anime.enriched", ANIME("\"episodeCount\":-1"), "out-of-range anime.episode_count number"},
    {"anime.enriched", ANIME("\"duration\":0"), ""},
    {"anime.enriched", ANIME("\"duration\":-1"), "out-of-range anime.duration number"},
    {"anime.enriched", ANIME("\"score\":{\"median\":0,\"arithmeticMean\":10}"), ""},
    {"anime.enriched", ANIME("\"score\":{\"median\":10.000001}"),
     "out-of-range anime.score.median number"},
    {"anime.enriched", ANIME("\"score\":{\"arithmeticGeometricMean\":-0.000001}"),
     "out-of-range anime.score.arithmetic_geometric_mean number"},
    {"anime.enriched", ANIME("\"score\":{\"arithmeticMean\":\"NaN\"}"),
     "not-finite anime.score.arithmetic_mean number"},
    {"anime.enriched", ANIME("\"similarityScore\":\"-Infinity\""),
     "not-finite anime.similarity_score number"},
    {"anime.enriched", ANIME("\"similarityScore\":17"), ""},
    {"anime.enriched", ANIME("\"statistics\":{\"mal\":{\"score\":10.5}}"),
     "out-of-range anime.statistics[0].value.score number"},
    {"anime.enriched",
     ANIME("\"relatedAnime\":{\"SEQUEL\":{\"items\":[{\"year\":2000},{\"year\":3000}]}}"),
     "out-of-range anime.related_anime[0].value.items[1].year number"},
    {"anime.enriched", ENRICHED(",\"episodes\":[{\"episodeNumber\":0},{\"episodeNumber\":-1}]"),
     "out-of-range episodes[1].episode_number number"},
    {"anime.enriched", ENRICHED(",\"episodes\":[{\"score\":11,\"duration\":-5}]"),
     "out-of-range episodes[0].duration number; out-of-range episodes[0].score number"},

    /* sparse events */
    {"anime.updated", UPDATED("", ""), ""},
    {"anime.updated", UPDATED("\"synopsis\",\"genres\",\"score\"", ""), ""},
    {"anime.updated", UPDATED("\"no_such\",\"synopsis\",\"titleEnglish\"", ""),
     "unknown-field changed_fields[0] string; unknown-field changed_fields[2] string"},
    {"anime.updated", UPDATED("\"score.median\"", ""), "unknown-field changed_fields[0] string"},
    {"anime.updated", UPDATED("\"\"", ""), "unknown-field changed_fields[0] string"},
    {"anime.updated", UPDATED("\"id\",\"entity_type\",\"similarity_score\"", ""),
     "forbidden-field changed_fields[0] string; forbidden-field changed_fields[1] string; "
     "forbidden-field changed_fields[2] string"},
    {"anime.updated", UPDATED("\"title\",\"type\",\"status\"", ""),
     "missing-required anime.title absent; missing-required anime.type absent; "
     "missing-required anime.status absent"},
    {"anime.updated", UPDATED("\"title\",\"status\"", FULL), ""},
    {"anime.updated", "{" HEAD ",\"changedFields\":[\"title\",\"genres\"]}",
     "missing-required anime.title absent"},
    {"anime.updated", UPDATED("\"year\"", "\"year\":1800"), "out-of-range anime.year number"},
    {"anime.updated", UPDATED("\"year\",\"year\"", "\"year\":1800"),
     "out-of-range anime.year number"},
    {"anime.updated", UPDATED("\"synopsis\"", "\"year\":1800"), ""}, /* not listed: never read */
    {"anime.updated", UPDATED("\"synopsis\"", "\"id\":" A2), "id-mismatch anime.id string"},
    {"episode.updated", EPISODE(",\"changedFields\":[\"title\",\"episode_number\"]"), ""},
    {"episode.updated",
     EPISODE(",\"changedFields\":[\"episode_number\"],\"episode\":{\"episodeNumber\":-1}"),
     "out-of-range episode.episode_number number"},
    {"episode.updated", EPISODE(",\"episode\":{\"id\":" A2 "}"), "id-mismatch episode.id string"},
    {"episode.updated", EPISODE(",\"episode\":{\"animeId\":\"x\"}"), ""},
    {"episode.updated",
     EPISODE(",\"changedFields\":[\"anime_id\"],\"episode\":{\"animeId\":\"x\"}"),
     "bad-uuid episode.anime_id string"},
    {"episode.updated", EPISODE(",\"changedFields\":[\"genres\"]"),
     "unknown-field changed_fields[0] string"},
    {"character.updated",
     CHARACTER(",\"changedFields\":[\"name\",\"anime_ids\"],"
               "\"character\":{\"name\":\"x\",\"animeIds\":[\"y\"]}"),
     "bad-uuid character.anime_ids[0] string"},
    {"character.updated", CHARACTER(",\"character\":{\"id\":\"x\"}"),
     "bad-uuid character.id string"},
    {"character.updated", "{" E "," T ",\"changedFields\":[\"id\"]}",
     "missing-id character_id absent; forbidden-field changed_fields[0] string"},

    /* an episode went on air */
    {"anime.episode.aired", AIRED(",\"episode\":{\"episodeNumber\":3}"), ""},
    {"anime.episode.aired", AIRED(",\"episode\":{}"), ""}, /* number 0 */
    {"anime.episode.aired", AIRED(""), "missing-required episode absent"},
    {"anime.episode.aired", AIRED(",\"episode\":{\"animeId\":" A2 ",\"id\":\"x\"}"),
     "bad-uuid episode.id string; id-mismatch episode.anime_id string"},
    {"anime.episode.aired", AIRED(",\"episode\":{\"episodeNumber\":-1}"),
     "out-of-range episode.episode_number number"},
    {"anime.episode.aired", "{" HEAD ",\"episode\":{}}", "missing-required aired_at absent"},
    {"anime.episode.aired", "{" HEAD ",\"airedAt\":\"2025-12-31\",\"episode\":{}}",
     "bad-timestamp aired_at string"},
    {"anime.episode.aired", "{" HEAD ",\"airedAt\":\"2025-12-31T10:00:00\",\"episode\":{}}",
     "bad-timestamp aired_at string"},

    /* notices */
    {"notification.episode.aired", "{" HEAD ",\"episodeNumber\":-1}",
     "out-of-range episode_number number"},
    {"anime.synced", "{" HEAD ",\"metadataUpdates\":{\"a\":1}}", ""},
};

struct found {
    struct buf text;
};

static void collect(void *ctx, const struct fault *f)
{
    struct found *found = ctx;
    if (found->text.n)
        buf_puts(&found->text, "; ");
    buf_printf(&found->text, "%s %s %s", f->code, f->path, f->kind);
    CHECK_ROW(f->text[0] != 0, f->path);
    CHECK_ROW(error_code_find(f->code) != NULL, f->code);
}

static void test_rows(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 20);
        const struct subject_def *def = registry_must(rows[i].subject);
        ProtobufCMessage *m = NULL;
        struct err err = ERR_INIT;
        if (!CHECK_EQ_INT(json_decode(def->message, view_of(rows[i].json), arena, &m, &err), 0)) {
            fprintf(stderr, "%s: %s\n", rows[i].json, err.text);
            continue;
        }
        struct found found;
        buf_init(&found.text, 1 << 16);
        unsigned n = validate_event(def, m, NOW_US, collect, &found);
        if (!CHECK_STR(buf_cstr(&found.text), rows[i].faults))
            fprintf(stderr, "  row %zu: %s\n", i, rows[i].json);
        CHECK_EQ_INT(n == 0, rows[i].faults[0] == 0);
        CHECK_EQ_INT(validate_or_err(def, m, NOW_US, &err), n ? -1 : 0);
        buf_deinit(&found.text);
    }
}

/* What JSON can't say: seconds and nanoseconds that are no time. */
static void test_bad_timestamps(void)
{
    static const struct {
        int64_t seconds;
        int32_t nanos;
        const char *faults;
    } times[] = {
        {253402300799, 999999999, "future-timestamp timestamp timestamp"},
        {253402300800, 0,
         "future-timestamp timestamp timestamp; bad-timestamp timestamp timestamp"},
        {-62135596800, 0, ""},
        {-62135596801, 0, "bad-timestamp timestamp timestamp"},
        {0, 1000000000, "bad-timestamp timestamp timestamp"},
        {0, -1, "bad-timestamp timestamp timestamp"},
    };
    static const char *const subjects[] = {"anime.created", "anime.updated"};
    for (size_t i = 0; i < ARRAY_LEN(times) * ARRAY_LEN(subjects); i++) {
        const struct subject_def *def = registry_must(subjects[i % ARRAY_LEN(subjects)]);
        Google__Protobuf__Timestamp t = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
        t.seconds = times[i / ARRAY_LEN(subjects)].seconds;
        t.nanos = times[i / ARRAY_LEN(subjects)].nanos;
        struct arena *arena CLEANUP(arena_freep) = arena_new(1 << 16);
        ProtobufCMessage *m = NULL;
        struct err err = ERR_INIT;
        REQUIRE(json_decode(def->message, view_of("{" HEAD "}"), arena, &m, &err) == 0);
        if (def->message == &echora__events__v1__anime_created_event__descriptor)
            ((Echora__Events__V1__AnimeCreatedEvent *)m)->timestamp = &t;
        else
            ((Echora__Events__V1__AnimeUpdatedEvent *)m)->timestamp = &t;
        struct found found;
        buf_init(&found.text, 1 << 12);
        validate_event(def, m, NOW_US, collect, &found);
        CHECK_STR(buf_cstr(&found.text), times[i / ARRAY_LEN(subjects)].faults);
        buf_deinit(&found.text);
    }
}

static void test_faults_are_limited(void)
{
    char *names[3 * VALIDATE_MAX_FAULTS];
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        names[i] = (char *)"nothing";
    Echora__Events__V1__AnimeUpdatedEvent e = ECHORA__EVENTS__V1__ANIME_UPDATED_EVENT__INIT;
    e.changed_fields = names;
    e.n_changed_fields = ARRAY_LEN(names);
    CHECK_EQ_INT(validate_event(registry_must("anime.updated"), &e.base, NOW_US, NULL, NULL),
                 VALIDATE_MAX_FAULTS);
}

static void test_error(void)
{
    Echora__Events__V1__AnimeCreatedEvent e = ECHORA__EVENTS__V1__ANIME_CREATED_EVENT__INIT;
    struct err err = ERR_INIT;
    CHECK_EQ_INT(validate_or_err(registry_must("anime.created"), &e.base, NOW_US, &err), -1);
    CHECK(err.class == ERR_REJECT);
    CHECK_STR(err.code, "missing-id");
    CHECK_STR(err.text, "3 faults, the first is: event_id: must be set (absent)");
}

/* Requests have checks of their own, where they are served. */
static void test_requests_have_no_rules(void)
{
    CHECK_EQ_INT(validate_event(registry_must("contracts.validate"), NULL, NOW_US, NULL, NULL), 0);
}

/* A value is never told, whatever it is. */
static void test_no_value_in_faults(void)
{
    Echora__Events__V1__AnimeUpdatedEvent e = ECHORA__EVENTS__V1__ANIME_UPDATED_EVENT__INIT;
    char *names[] = {(char *)"geheim"};
    e.event_id = e.anime_id = (char *)"geheim";
    e.changed_fields = names;
    e.n_changed_fields = 1;
    struct err err = ERR_INIT;
    CHECK_EQ_INT(validate_or_err(registry_must("anime.updated"), &e.base, NOW_US, &err), -1);
    CHECK(!strstr(err.text, "geheim"));
}

int main(void)
{
    RUN(test_rows);
    RUN(test_bad_timestamps);
    RUN(test_faults_are_limited);
    RUN(test_error);
    RUN(test_requests_have_no_rules);
    RUN(test_no_value_in_faults);
    return check_result();
}
