/* The n-th allocation fails, for every n until none does, under what each event and each start goes
 * through. Every failure says no-memory and rejects nothing; what is not told as a failure is equal
 * to what an undisturbed run gives; nothing is leaked (the sanitizer run proves that). */
// SPDX-License-Identifier: Apache-2.0

#include "test/unit/no_memory.h"
#include "contracts/field.h"
#include "contracts/gen/events.pb-c.h"
#include "contracts/json.h"
#include "contracts/registry.h"
#include "contracts/wire.h"
#include "events/deadletter.h"
#include "events/option.h"
#include "events/pg.h"
#include "events/pg_types.h"
#include "test/unit/check.h"

enum { LARGE = 4 << 20, TRIES = 3000 };

static const char event_text[] =
    "{\"eventId\":\"0190a8a0-1111-7000-8000-000000000001\",\"timestamp\":\"2026-01-02T03:04:05Z\","
    "\"animeId\":\"0190a8a0-0000-7000-8000-000000000001\",\"anime\":{\"title\":\"A\",\"type\":"
    "\"ANIME_TYPE_TV\",\"status\":\"ANIME_STATUS_FINISHED\",\"genres\":[\"x\",\"y\"],\"synopsis\":"
    "\"%s\"},"
    "\"characters\":[{\"name\":\"C\"},{\"name\":\"D\"}],\"episodes\":[{\"episodeNumber\":1,"
    "\"title\":\"E\"}]}";

static char text[64 << 10];
static struct bytes wire;
static const struct subject_def *def;

/* A failure for want of memory, and nothing else. */
static bool is_no_memory(const struct err *err)
{
    return (err->class == ERR_RETRY || err->class == ERR_FATAL) &&
           strcmp(err->code, "no-memory") == 0;
}

static int decode_event(struct err *err)
{
    struct arena *a CLEANUP(arena_freep) = arena_new(LARGE);
    struct buf out CLEANUP(buf_deinit);
    ProtobufCMessage *m = NULL;

    buf_init(&out, LARGE);
    if (!a)
        return err_set(err, ERR_RETRY, "no-memory", "test", "no arena");
    if (wire_decode(def->message, wire, LARGE, a, &m, err) < 0 ||
        validate_or_err(def, m, 1800000000000000, err) < 0 || wire_encode(m, &out, err) < 0)
        return -1;
    CHECK_VIEW(buf_view(&out), ((struct view){(const char *)wire.p, wire.n}));
    return 0;
}

static int json_both_ways(struct err *err)
{
    struct arena *a CLEANUP(arena_freep) = arena_new(LARGE);
    struct buf out CLEANUP(buf_deinit);
    ProtobufCMessage *m = NULL;

    buf_init(&out, LARGE);
    if (!a)
        return err_set(err, ERR_RETRY, "no-memory", "test", "no arena");
    if (json_decode(def->message, view_of(text), a, &m, err) < 0 || json_encode(m, &out, err) < 0)
        return -1;
    CHECK_VIEW(buf_view(&out), view_of(text));
    return 0;
}

static int write_dead_letter(struct err *err)
{
    struct arena *a CLEANUP(arena_freep) = arena_new(LARGE);
    static const struct bus_header original[] = {{"X-One", "1"}, {"X-Two", "2"}};
    const struct dead_letter facts = {.stream = "ANIME_EVENTS",
                                      .consumer = "catalog-updated",
                                      .subject = "anime.updated",
                                      .sequence = 1,
                                      .deliveries = 1,
                                      .class = "reject",
                                      .code = "decode",
                                      .reason = "why",
                                      .worker = "w",
                                      .payload = wire,
                                      .original = original,
                                      .n_original = 2};
    struct bus_message letter;
    if (!a)
        return err_set(err, ERR_RETRY, "no-memory", "test", "no arena");
    if (dead_letter_build(&facts, a, &letter, err) < 0)
        return -1;
    CHECK(letter.n_headers > 12);
    return 0;
}

static int load_options(struct err *err)
{
    struct settings {
        const char *url;
        int64_t lanes;
    } s = {0};
    static const struct option rows[] = {
        {.name = "url", .kind = OPT_STRING, .offset = offsetof(struct settings, url), .help = "."},
        {.name = "lanes",
         .kind = OPT_INT,
         .offset = offsetof(struct settings, lanes),
         .default_text = "1",
         .help = "."},
    };
    const struct option_set set = {rows, ARRAY_LEN(rows), &s};
    char *argv[] = {(char *)"p", (char *)"--lanes", (char *)"3"};

    if (options_load(&set, 1, ARRAY_LEN(argv), argv, NULL, err) < 0) {
        CHECK(s.url == NULL && s.lanes == 0);
        return -1;
    }
    CHECK(s.lanes == 3);
    CHECK_STR(s.url, "from the environment");
    return 0;
}

static int make_array(struct err *err)
{
    struct pg_array array;
    pg_array_init(&array, PG_TEXTS, LARGE);
    for (int i = 0; i < 1000; i++)
        pg_array_text(&array, view_of(event_text));
    struct pg_param param = pg_array_param(&array);
    int result = 0;
    if (param.length < 0) {
        CHECK_EQ_INT(param.length, PG_NO_MEMORY);
        result = err_set(err, ERR_RETRY, "no-memory", "test", "array");
    }
    pg_array_deinit(&array);
    return result;
}

static void test_every_allocation_fails_once(void)
{
    static const struct {
        const char *what;
        int (*run)(struct err *err);
        int least; /* allocations that it makes */
    } works[] = {
        {"decode an event", decode_event, 3},
        {"JSON both ways", json_both_ways, 3},
        {"a dead letter", write_dead_letter, 2},
        {"configuration", load_options, 2},
        {"an array", make_array, 5},
    };
    for (size_t i = 0; i < ARRAY_LEN(works); i++) {
        int n = 0;
        for (; n < TRIES; n++) {
            struct err err = ERR_INIT;
            no_memory_hits = 0;
            no_memory_in = n;
            int result = works[i].run(&err);
            no_memory_in = -1;
            CHECK_ROW(result == 0 || is_no_memory(&err), works[i].what);
            if (no_memory_hits == 0) {
                CHECK_ROW(result == 0, works[i].what);
                break;
            }
        }
        CHECK_ROW(n >= works[i].least && n < TRIES, works[i].what);
    }
}

int main(void)
{
    struct arena *a = arena_new(LARGE);
    struct buf packed, again;
    ProtobufCMessage *m = NULL;
    struct err err = ERR_INIT;
    char synopsis[20000];

    memset(synopsis, 's', sizeof(synopsis) - 1);
    synopsis[sizeof(synopsis) - 1] = '\0';
    snprintf(text, sizeof(text), event_text, synopsis);
    def = registry_must("anime.enriched");
    setenv("ECHORA_URL", "from the environment", 1);
    buf_init(&packed, LARGE);
    buf_init(&again, LARGE);
    if (CHECK(json_decode(def->message, view_of(text), a, &m, &err) == 0 &&
              wire_encode(m, &packed, &err) == 0 && json_encode(m, &again, &err) == 0)) {
        snprintf(text, sizeof(text), "%s", buf_cstr(&again)); /* in canonical form */
        wire = bytes_of(buf_view(&packed));
        RUN(test_every_allocation_fails_once);
    }
    buf_deinit(&packed);
    buf_deinit(&again);
    arena_free(a);
    return check_result();
}
