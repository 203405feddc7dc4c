/* The tables of kind.h. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "workers/catalogue/kind.h"
#include "workers/catalogue/types.h"

static const struct field_row anime_fields[] = {
    {"background", HOME_COLUMN},
    {"duration", HOME_COLUMN},
    {"episode_count", HOME_COLUMN},
    {"id", HOME_KEY},
    {"entity_type", HOME_KEY},
    {"month", HOME_COLUMN},
    {"nsfw", HOME_COLUMN},
    {"rating", HOME_COLUMN},
    {"season", HOME_COLUMN},
    {"similarity_score", HOME_NONE}, /* of one search, never of the anime */
    {"source_material", HOME_COLUMN},
    {"status", HOME_COLUMN},
    {"synopsis", HOME_COLUMN},
    {"title", HOME_COLUMN},
    {"title_english", HOME_COLUMN},
    {"title_japanese", HOME_COLUMN},
    {"type", HOME_COLUMN},
    {"year", HOME_COLUMN},
    {"content_warnings", HOME_META},
    {"demographics", HOME_META},
    {"ending_themes", HOME_META},
    {"genres", HOME_META},
    {"opening_themes", HOME_META},
    {"related_anime", HOME_META},
    {"related_source_material", HOME_META},
    {"sources", HOME_META},
    {"streaming_sources", HOME_META},
    {"synonyms", HOME_META},
    {"tags", HOME_META},
    {"themes", HOME_META},
    {"trailers", HOME_META},
    {"aired_dates", HOME_META},
    {"broadcast", HOME_META},
    {"external_sources", HOME_META},
    {"images", HOME_META},
    {"score", HOME_META},
    {"staff_data", HOME_META},
    {"statistics", HOME_META},
    {"licensors", HOME_META},
    {"producers", HOME_META},
    {"studios", HOME_META},
    {"hiatus", HOME_META},
    {"country_of_origin", HOME_META},
};

static const struct field_row character_fields[] = {
    {"description", HOME_COLUMN}, {"favorites", HOME_COLUMN},     {"id", HOME_KEY},
    {"entity_type", HOME_KEY},    {"name", HOME_COLUMN},          {"name_native", HOME_COLUMN},
    {"roles", HOME_META},         {"anime_ids", HOME_META}, /* as published; what it belongs to is
                                                               anime_character */
    {"animeography", HOME_META},  {"traits", HOME_META},          {"images", HOME_META},
    {"mangaography", HOME_META},  {"name_variations", HOME_META}, {"nicknames", HOME_META},
    {"sources", HOME_META},       {"voice_actors", HOME_META},    {"attributes", HOME_META},
    {"spoilers", HOME_META},
};

static const struct field_row episode_fields[] = {
    {"aired", HOME_META},
    {"anime_id", HOME_KEY},
    {"description", HOME_COLUMN},
    {"duration", HOME_COLUMN},
    {"episode_number", HOME_KEY},
    {"filler", HOME_COLUMN},
    {"id", HOME_KEY},
    {"entity_type", HOME_KEY},
    {"recap", HOME_COLUMN},
    {"score", HOME_COLUMN},
    {"season_number", HOME_COLUMN},
    {"synopsis", HOME_COLUMN},
    {"title", HOME_COLUMN},
    {"title_japanese", HOME_COLUMN},
    {"title_romaji", HOME_COLUMN},
    {"images", HOME_META},
    {"streaming", HOME_META},
    {"sources", HOME_META},
    {"characters", HOME_META},
    {"staff", HOME_META},
    {"titles", HOME_META},
};

const struct kind kinds[N_KINDS] = {
    [KIND_ANIME] = {KIND_ANIME, "anime", &echora__catalog__v1__anime__descriptor, anime_fields,
                    ARRAY_LEN(anime_fields)},
    [KIND_CHARACTER] = {KIND_CHARACTER, "character", &echora__catalog__v1__character__descriptor,
                        character_fields, ARRAY_LEN(character_fields)},
    [KIND_EPISODE] = {KIND_EPISODE, "episode", &echora__catalog__v1__episode__descriptor,
                      episode_fields, ARRAY_LEN(episode_fields)},
};

uint64_t kind_stored_mask(const struct kind *kind)
{
    uint64_t mask = 0;
    for (unsigned i = 0; i < kind->n_fields; i++)
        if (kind->fields[i].home == HOME_META || kind->fields[i].home == HOME_COLUMN)
            mask |= field_bit((int)i);
    return mask;
}

int kind_field(const struct kind *kind, struct view name)
{
    for (unsigned i = 0; i < kind->n_fields; i++)
        if (view_is(name, kind->fields[i].name))
            return (int)i;
    return -1;
}

uint64_t kind_bit(enum entity_kind kind, const char *name)
{
    int i = kind_field(&kinds[kind], view_of(name));
    if (i < 0)
        abort();
    return field_bit(i);
}

const struct kind *kind_by_name(struct view name)
{
    for (int i = 0; i < N_KINDS; i++)
        if (view_is(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}
