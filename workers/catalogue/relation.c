/* See relation.h. The known keys are the wire's own enum names, read from the descriptors. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/relation.h"
#include "workers/catalogue/types.h"

enum { KEY_MAX = 64 };

/* "Side story" and "anime_relation_type_side_story" become "SIDE_STORY". False when too long. */
static bool normalise(struct view key, const char *prefix, char out[static KEY_MAX])
{
    key = view_trim(key);
    if (key.n >= KEY_MAX)
        return false;
    for (size_t i = 0; i < key.n; i++) {
        char c = key.p[i];
        if (c >= 'a' && c <= 'z')
            c = (char)(c - 'a' + 'A');
        out[i] = c == ' ' || c == '-' ? '_' : c;
    }
    out[key.n] = 0;
    size_t n = strlen(prefix);
    if (strncmp(out, prefix, n) == 0)
        memmove(out, out + n, key.n - n + 1);
    return true;
}

static const char *type_of(struct view key, const ProtobufCEnumDescriptor *type, const char *prefix)
{
    char name[KEY_MAX];
    if (!normalise(key, prefix, name))
        return "OTHER";
    if (!name[0] || strcmp(name, "RELATED") == 0)
        return "UNSPECIFIED";
    for (unsigned i = 0; i < type->n_values; i++) {
        const char *known = type->values[i].name + strlen(prefix);
        if (strcmp(name, known) == 0)
            return known;
    }
    return "OTHER";
}

const char *relation_type(struct view key)
{
    return type_of(key, &echora__catalog__v1__anime_relation_type__descriptor,
                   "ANIME_RELATION_TYPE_");
}

const char *material_relation_type(struct view key)
{
    return type_of(key, &echora__catalog__v1__source_material_relation_type__descriptor,
                   "SOURCE_MATERIAL_RELATION_TYPE_");
}
