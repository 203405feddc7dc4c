/* The table of rules stands in spec/ingestion.md, "From snapshot to Anime".
 *
 * A related URL becomes one RelatedAnime of its own under the key RELATED: the snapshot does not
 * say which kind of relation it is, nor which URLs are one work. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/manami.h"

#include <math.h>

#include "contracts/field.h"
#include "contracts/refs.h"
#include "events/base/clock.h"
#include "events/base/uuid.h"

#define ANIME(name) Echora__Catalog__V1__##name
#define NEW(arena, type, descriptor) ((type *)(void *)message_new(&(descriptor), (arena)))
#define TITLE_MAX 4096
#define YEAR_MIN 1900
#define YEAR_MAX 2100

static int bad_line(struct err *err, const char *what)
{
    return err_set(err, ERR_REJECT, "snapshot-line", "read entry", "%s", what);
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_REJECT, "too-large", "read entry", "the entry is too large");
}

static struct view text_of(const json_t *json)
{
    return json_is_string(json) ? (struct view){json_string_value(json), json_string_length(json)}
                                : (struct view){NULL, 0};
}

bool manami_is_metadata(const json_t *line)
{
    return json_is_object(line) && !json_object_get(line, "sources");
}

bool manami_last_update(const json_t *metadata, int64_t *ret_time_s)
{
    struct view text = text_of(json_object_get(metadata, "lastUpdate"));
    char full[RFC3339_MAX];
    int32_t nanos;

    if (text.n == 10) {
        (void)snprintf(full, sizeof(full), "%.10sT00:00:00Z", text.p);
        text = view_of(full);
    }
    return rfc3339_parse(text, ret_time_s, &nanos);
}

static bool holds(char *const *list, size_t n, struct view text)
{
    for (size_t i = 0; i < n; i++)
        if (view_is(text, list[i]))
            return true;
    return false;
}

/* Strings of a JSON array: trimmed, not empty, each once, in order, without `except`. */
static int string_list(const json_t *array, const char *except, struct arena *arena, size_t *ret_n,
                       char ***ret)
{
    size_t size = json_array_size(array), n = 0;
    char **list = size ? arena_array(arena, size, sizeof(*list)) : NULL;

    if (size && !list)
        return -1;
    for (size_t i = 0; i < size; i++) {
        struct view text = view_trim(text_of(json_array_get(array, i)));
        if (text.n == 0 || (except && view_is(text, except)) || holds(list, n, text))
            continue;
        list[n] = arena_strdup(arena, text);
        if (!list[n])
            return -1;
        n++;
    }
    *ret_n = n;
    *ret = n ? list : NULL;
    return 0;
}

/* Control characters become spaces, ends are trimmed. */
static char *title_of(const json_t *entry, struct arena *arena)
{
    struct view text = text_of(json_object_get(entry, "title"));
    char *copy = text.n && text.n <= TITLE_MAX ? arena_strdup(arena, text) : NULL;

    if (!copy)
        return NULL;
    for (char *c = copy; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    struct view trimmed = view_trim(view_of(copy));
    return trimmed.n ? arena_strdup(arena, trimmed) : NULL;
}

/* <prefix><NAME> in the enum, whatever the name's case; unknown when there is none. */
static int enum_of(const ProtobufCEnumDescriptor *type, const char *prefix, struct view name,
                   int unknown)
{
    char full[64];
    int n = snprintf(full, sizeof(full), "%s", prefix);

    if (name.n == 0 || (size_t)n + name.n >= sizeof(full))
        return unknown;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        full[(size_t)n + i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    full[(size_t)n + name.n] = '\0';
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value_by_name(type, full);
    return value ? value->value : unknown;
}

static void read_enums(const json_t *entry, ANIME(Anime) * anime)
{
    struct view status = text_of(json_object_get(entry, "status"));

    anime->type = (ANIME(AnimeType))enum_of(&echora__catalog__v1__anime_type__descriptor,
                                            "ANIME_TYPE_", text_of(json_object_get(entry, "type")),
                                            ECHORA__CATALOG__V1__ANIME_TYPE__ANIME_TYPE_UNKNOWN);
    if (view_is(status, "CURRENTLY") || view_is(status, "CURRENT"))
        status = VIEW_LIT("ONGOING");
    anime->status = (ANIME(AnimeStatus))enum_of(
        &echora__catalog__v1__anime_status__descriptor, "ANIME_STATUS_", status,
        ECHORA__CATALOG__V1__ANIME_STATUS__ANIME_STATUS_UNKNOWN);
    /* A snapshot that says UNSPECIFIED knows as little. */
    if (anime->type == 0)
        anime->type = ECHORA__CATALOG__V1__ANIME_TYPE__ANIME_TYPE_UNKNOWN;
    if (anime->status == 0)
        anime->status = ECHORA__CATALOG__V1__ANIME_STATUS__ANIME_STATUS_UNKNOWN;
}

static void read_season(const json_t *entry, ANIME(Anime) * anime)
{
    const json_t *season = json_object_get(entry, "animeSeason");
    json_int_t year = json_integer_value(json_object_get(season, "year"));
    int value = enum_of(&echora__catalog__v1__anime_season__descriptor, "ANIME_SEASON_",
                        text_of(json_object_get(season, "season")), 0);

    if (value) {
        anime->season = (ANIME(AnimeSeason))value;
        anime->_season_case = ECHORA__CATALOG__V1__ANIME___SEASON_SEASON;
    }
    if (year >= YEAR_MIN && year <= YEAR_MAX) {
        anime->year = (int32_t)year;
        anime->_year_case = ECHORA__CATALOG__V1__ANIME___YEAR_YEAR;
    }
}

static void read_duration(const json_t *entry, ANIME(Anime) * anime)
{
    const json_t *duration = json_object_get(entry, "duration");
    json_int_t value = json_integer_value(json_object_get(duration, "value"));
    struct view unit = text_of(json_object_get(duration, "unit"));
    json_int_t factor = view_is(unit, "HOURS") ? 3600 : view_is(unit, "MINUTES") ? 60 : 1;

    if (value > 0 && value <= INT32_MAX / factor) {
        anime->duration = (int32_t)(value * factor);
        anime->_duration_case = ECHORA__CATALOG__V1__ANIME___DURATION_DURATION;
    }
}

static bool score_of(const json_t *score, const char *member, float *ret)
{
    double v = json_number_value(json_object_get(score, member));

    if (!(v > 0 && v <= 10))
        return false;
    *ret = (float)v;
    return true;
}

static int read_score(const json_t *entry, ANIME(Anime) * anime, struct arena *arena)
{
    const json_t *score = json_object_get(entry, "score");
    float agm, mean, median;
    bool has_agm = score_of(score, "arithmeticGeometricMean", &agm);
    bool has_mean = score_of(score, "arithmeticMean", &mean);
    bool has_median = score_of(score, "median", &median);

    if (!has_agm && !has_mean && !has_median)
        return 0;
    ANIME(ScoreCalculations) *s =
        NEW(arena, ANIME(ScoreCalculations), echora__catalog__v1__score_calculations__descriptor);
    if (!s)
        return -1;
    if (has_agm) {
        s->arithmetic_geometric_mean = agm;
        s->_arithmetic_geometric_mean_case =
            ECHORA__CATALOG__V1__SCORE_CALCULATIONS___ARITHMETIC_GEOMETRIC_MEAN_ARITHMETIC_GEOMETRIC_MEAN;
    }
    if (has_mean) {
        s->arithmetic_mean = mean;
        s->_arithmetic_mean_case =
            ECHORA__CATALOG__V1__SCORE_CALCULATIONS___ARITHMETIC_MEAN_ARITHMETIC_MEAN;
    }
    if (has_median) {
        s->median = median;
        s->_median_case = ECHORA__CATALOG__V1__SCORE_CALCULATIONS___MEDIAN_MEDIAN;
    }
    anime->score = s;
    return 0;
}

static int read_picture(const json_t *entry, ANIME(Anime) * anime, struct arena *arena)
{
    struct view url = view_trim(text_of(json_object_get(entry, "picture")));
    struct view name = url;

    for (size_t i = url.n; i > 0; i--)
        if (url.p[i - 1] == '/') {
            name = (struct view){url.p + i, url.n - i};
            break;
        }
    if (url.n == 0 || view_starts_with(name, "no_pic"))
        return 0;
    ANIME(AnimeImages) *images =
        NEW(arena, ANIME(AnimeImages), echora__catalog__v1__anime_images__descriptor);
    char **covers = arena_array(arena, 1, sizeof(*covers));
    if (!images || !covers || !(covers[0] = arena_strdup(arena, url)))
        return -1;
    images->covers = covers;
    images->n_covers = 1;
    anime->images = images;
    return 0;
}

static int read_companies(const json_t *names, struct arena *arena, size_t *ret_n,
                          ANIME(CompanyEntry) * **ret)
{
    char **list;
    size_t n;

    if (string_list(names, NULL, arena, &n, &list) < 0)
        return -1;
    ANIME(CompanyEntry) **companies = n ? arena_array(arena, n, sizeof(*companies)) : NULL;
    if (n && !companies)
        return -1;
    for (size_t i = 0; i < n; i++) {
        companies[i] =
            NEW(arena, ANIME(CompanyEntry), echora__catalog__v1__company_entry__descriptor);
        if (!companies[i])
            return -1;
        companies[i]->name = list[i];
    }
    *ret = companies;
    *ret_n = n;
    return 0;
}

static int read_relations(const json_t *entry, ANIME(Anime) * anime, struct arena *arena)
{
    static char key[] = "RELATED";
    const json_t *urls = json_object_get(entry, "relatedAnime");
    char **list;
    size_t n;

    if (!urls)
        urls = json_object_get(entry, "relations");
    if (string_list(urls, NULL, arena, &n, &list) < 0)
        return -1;
    if (n == 0)
        return 0;
    ANIME(RelatedAnimeList) *group =
        NEW(arena, ANIME(RelatedAnimeList), echora__catalog__v1__related_anime_list__descriptor);
    ANIME(Anime__RelatedAnimeEntry) *map =
        NEW(arena, ANIME(Anime__RelatedAnimeEntry),
            echora__catalog__v1__anime__related_anime_entry__descriptor);
    ANIME(RelatedAnime) **items = arena_array(arena, n, sizeof(*items));
    ANIME(Anime__RelatedAnimeEntry) **maps = arena_array(arena, 1, sizeof(*maps));
    if (!group || !map || !items || !maps)
        return -1;
    for (size_t i = 0; i < n; i++) {
        items[i] = NEW(arena, ANIME(RelatedAnime), echora__catalog__v1__related_anime__descriptor);
        if (!items[i])
            return -1;
        items[i]->sources = &list[i];
        items[i]->n_sources = 1;
    }
    group->items = items;
    group->n_items = n;
    map->key = key;
    map->value = group;
    maps[0] = map;
    anime->related_anime = maps;
    anime->n_related_anime = 1;
    return 0;
}

/* The smallest of the sources' references, in byte order. */
static int smallest_ref(const ANIME(Anime) * anime, struct arena *arena, struct view *ret,
                        struct err *err)
{
    struct view smallest = {NULL, 0};

    for (size_t i = 0; i < anime->n_sources; i++) {
        struct view ref;
        if (ref_from_source(view_of(anime->sources[i]), arena, &ref, err) < 0)
            return -1;
        size_t n = ref.n < smallest.n ? ref.n : smallest.n;
        int c = n ? memcmp(ref.p, smallest.p, n) : 0;
        if (!smallest.p || c < 0 || (c == 0 && ref.n < smallest.n))
            smallest = ref;
    }
    *ret = smallest;
    return 0;
}

static char *uuid_text(struct uuid id, struct arena *arena)
{
    char text[UUID_TEXT];

    uuid_format(id, text);
    return arena_strdup(arena, view_of(text));
}

static int set_ids(Echora__Events__V1__AnimeEnrichedEvent *event, const struct manami_file *file,
                   struct arena *arena, struct err *err)
{
    struct view ref;

    if (smallest_ref(event->anime, arena, &ref, err) < 0)
        return -1;
    char *name = arena_printf(arena, "%s:%.*s", file->sha256, VIEW_ARG(ref));
    if (!name)
        return no_memory(err);
    event->event_id = uuid_text(uuid_v5(uuid_echora, view_of(name)), arena);
    event->anime_id = uuid_text(uuid_v5(uuid_echora, ref), arena);
    event->timestamp =
        NEW(arena, Google__Protobuf__Timestamp, google__protobuf__timestamp__descriptor);
    if (!event->event_id || !event->anime_id || !event->timestamp)
        return no_memory(err);
    event->timestamp->seconds = file->time_s;
    event->anime->id = event->anime_id;
    return 0;
}

static int read_anime(const json_t *entry, ANIME(Anime) * anime, struct arena *arena)
{
    json_int_t episodes = json_integer_value(json_object_get(entry, "episodes"));

    anime->entity_type = ECHORA__CATALOG__V1__ENTITY_TYPE__ENTITY_TYPE_ANIME;
    if (episodes > 0 && episodes <= INT32_MAX)
        anime->episode_count = (int32_t)episodes;
    read_enums(entry, anime);
    read_season(entry, anime);
    read_duration(entry, anime);
    if (read_score(entry, anime, arena) < 0 || read_picture(entry, anime, arena) < 0 ||
        read_relations(entry, anime, arena) < 0 ||
        string_list(json_object_get(entry, "synonyms"), anime->title, arena, &anime->n_synonyms,
                    &anime->synonyms) < 0 ||
        string_list(json_object_get(entry, "tags"), NULL, arena, &anime->n_tags, &anime->tags) <
            0 ||
        read_companies(json_object_get(entry, "studios"), arena, &anime->n_studios,
                       &anime->studios) < 0 ||
        read_companies(json_object_get(entry, "producers"), arena, &anime->n_producers,
                       &anime->producers) < 0)
        return -1;
    return 0;
}

int manami_event(const json_t *entry, const struct manami_file *file, struct arena *arena,
                 Echora__Events__V1__AnimeEnrichedEvent **ret, struct err *err)
{
    if (!json_is_object(entry))
        return bad_line(err, "no JSON object");
    Echora__Events__V1__AnimeEnrichedEvent *event =
        NEW(arena, Echora__Events__V1__AnimeEnrichedEvent,
            echora__events__v1__anime_enriched_event__descriptor);
    ANIME(Anime) *anime = NEW(arena, ANIME(Anime), echora__catalog__v1__anime__descriptor);
    if (!event || !anime)
        return no_memory(err);
    event->anime = anime;
    anime->title = title_of(entry, arena);
    if (!anime->title)
        return bad_line(err, "no title");
    if (string_list(json_object_get(entry, "sources"), NULL, arena, &anime->n_sources,
                    &anime->sources) < 0)
        return no_memory(err);
    if (anime->n_sources == 0)
        return bad_line(err, "no sources");
    if (read_anime(entry, anime, arena) < 0)
        return no_memory(err);
    if (set_ids(event, file, arena, err) < 0)
        return -1;
    *ret = event;
    return 0;
}
