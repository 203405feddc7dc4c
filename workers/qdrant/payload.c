// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/payload.h"

#include <math.h>

#include "contracts/field.h"
#include "events/base/clock.h"

enum {
    A = 1u << DOC_ANIME,
    C = 1u << DOC_CHARACTER,
    E = 1u << DOC_EPISODE,
};

const struct payload_field payload_fields[] = {
    {"entity_type", A | C | E, .index = "keyword"},
    {"rev", A | C | E, .index = "integer"},
    {"emb", A | C | E, .index = "keyword"},
    {"deleted", A | C | E, .index = "bool"},
    {"anime_ids", C | E, .index = "keyword"},
    {"nsfw", A | C | E, .index = "bool"}, /* children inherit it */

    {"title", A | E, "title"},
    {"title_english", A, "title_english"},
    {"title_japanese", A | E, "title_japanese"},
    {"title_romaji", E, "title_romaji"},
    {"type", A, "type", .index = "keyword"},
    {"status", A, "status", .index = "keyword"},
    {"rating", A, "rating", .index = "keyword"},
    {"source_material", A, "source_material", .index = "keyword"},
    {"season", A, "season", .index = "keyword"},
    {"year", A, "year", .index = "integer"},
    {"month", A, "month", .index = "keyword"},
    {"episode_count", A, .index = "integer"}, /* the greater of published and stored */
    {"duration", A | E, "duration", .index = "integer"},
    {"genres", A, "genres", .index = "keyword"},
    {"tags", A, "tags", .index = "keyword"},
    {"demographics", A, "demographics", .index = "keyword"},
    {"themes", A, "themes", .names = true, .index = "keyword"},
    {"content_warnings", A, "content_warnings", .index = "keyword"},
    {"sources", A, "sources", .index = "keyword"},
    {"studios", A, "studios", .names = true, .index = "keyword"},
    {"aired_from", A, "aired_dates.aired_from", .index = "datetime"},
    {"score", A, "score"},
    {"score.arithmetic_geometric_mean", A, "score.arithmetic_geometric_mean", .index_only = true,
     .index = "float"},
    {"score.arithmetic_mean", A, "score.arithmetic_mean", .index_only = true, .index = "float"},
    {"score.median", A, "score.median", .index_only = true, .index = "float"},
    {"statistics", A, "statistics"},

    {"name", C, "name"},
    {"name_native", C, "name_native"},
    {"favorites", C, "favorites", .index = "integer"},
    {"roles", C, "roles", .index = "keyword"},
    {"traits", C, "traits", .index = "keyword"},
    {"attributes", C, "attributes"},

    {"episode_number", E, "episode_number", .index = "integer"},
    {"season_number", E, "season_number", .index = "integer"},
    {"aired", E, "aired", .index = "datetime"},
    {"filler", E, "filler"},
    {"recap", E, "recap"},
    {"score", E, "score", .index = "float"},
};
const size_t n_payload_fields = ARRAY_LEN(payload_fields);

static const char *const kind_names[N_DOC_KINDS] = {"anime", "character", "episode"};

const char *doc_kind_name(enum doc_kind kind)
{
    return kind < N_DOC_KINDS ? kind_names[kind] : "";
}

enum doc_kind doc_kind_of(struct view name)
{
    enum doc_kind kind = DOC_ANIME;
    while (kind < N_DOC_KINDS && !view_is(name, kind_names[kind]))
        kind++;
    return kind;
}

static void put_message(struct buf *out, const ProtobufCMessage *message);

/* "ANIME_TYPE_TV_SHORT" of enum AnimeType is "TV_SHORT": the prefix is the name of the number 0
 * without its last word. */
static void put_enum(struct buf *out, const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, value);
    const ProtobufCEnumValue *zero = protobuf_c_enum_descriptor_get_value(type, 0);
    const char *end = zero ? strrchr(zero->name, '_') : NULL;
    size_t prefix = end ? (size_t)(end - zero->name) + 1 : 0;
    if (!found) {
        buf_puts(out, "\"UNKNOWN\"");
        return;
    }
    const char *name = strncmp(found->name, zero ? zero->name : "", prefix) == 0
                           ? found->name + prefix
                           : found->name;
    buf_put_json_string(out, view_of(name));
}

static void put_number(struct buf *out, double v, bool is_float)
{
    if (!isfinite(v))
        buf_puts(out, "null");
    else if (is_float)
        buf_put_float(out, (float)v);
    else
        buf_put_double(out, v);
}

/* One value that stands at p. */
static void put_one(struct buf *out, const ProtobufCFieldDescriptor *field, const void *p)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        buf_put_i64(out, *(const int32_t *)p);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        buf_put_i64(out, *(const uint32_t *)p);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        buf_put_i64(out, *(const int64_t *)p);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        put_number(out, (double)*(const float *)p, true);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        put_number(out, *(const double *)p, false);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        buf_puts(out, *(const protobuf_c_boolean *)p ? "true" : "false");
        break;
    case PROTOBUF_C_TYPE_ENUM:
        put_enum(out, field->descriptor, *(const int *)p);
        break;
    case PROTOBUF_C_TYPE_STRING:
        buf_put_json_string(out, view_of(*(char *const *)p));
        break;
    case PROTOBUF_C_TYPE_MESSAGE:
        put_message(out, *(ProtobufCMessage *const *)p);
        break;
    default:
        buf_puts(out, "null"); /* bytes: none in the domain model */
    }
}

static size_t count_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field)
{
    return *(const size_t *)((const char *)m + field->quantifier_offset);
}

static const char *list_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *field)
{
    return *(const char *const *)((const char *)m + field->offset);
}

static void cut_comma(struct buf *out)
{
    if (out->n && out->p[out->n - 1] == ',')
        out->n--;
}

static void put_map(struct buf *out, const ProtobufCMessage *m,
                    const ProtobufCFieldDescriptor *field)
{
    ProtobufCMessage *const *entries = (ProtobufCMessage *const *)list_of(m, field);
    buf_putc(out, '{');
    for (size_t i = 0; i < count_of(m, field); i++) {
        const ProtobufCFieldDescriptor *key = &entries[i]->descriptor->fields[0];
        const ProtobufCFieldDescriptor *value = &entries[i]->descriptor->fields[1];
        if (key->type != PROTOBUF_C_TYPE_STRING)
            continue;
        put_one(out, key, (const char *)entries[i] + key->offset);
        buf_putc(out, ':');
        const void *at = (const char *)entries[i] + value->offset;
        if (value->type == PROTOBUF_C_TYPE_MESSAGE && !*(void *const *)at)
            buf_puts(out, "{}");
        else
            put_one(out, value, at);
        buf_putc(out, ',');
    }
    cut_comma(out);
    buf_putc(out, '}');
}

static void put_list(struct buf *out, const ProtobufCMessage *m,
                     const ProtobufCFieldDescriptor *field, bool names)
{
    const char *list = list_of(m, field);
    buf_putc(out, '[');
    for (size_t i = 0; i < count_of(m, field); i++) {
        const char *at = list + i * field_value_size(field);
        if (names) {
            const ProtobufCMessage *item = *(ProtobufCMessage *const *)at;
            const ProtobufCFieldDescriptor *name =
                field_by_name(item->descriptor, VIEW_LIT("name"));
            put_one(out, name, (const char *)item + name->offset);
        } else {
            put_one(out, field, at);
        }
        buf_putc(out, ',');
    }
    cut_comma(out);
    buf_putc(out, ']');
}

static void put_field(struct buf *out, const ProtobufCMessage *m,
                      const ProtobufCFieldDescriptor *field, bool names)
{
    if (field_is_map(field))
        put_map(out, m, field);
    else if (field->label == PROTOBUF_C_LABEL_REPEATED)
        put_list(out, m, field, names);
    else
        put_one(out, field, (const char *)m + field->offset);
}

static void put_message(struct buf *out, const ProtobufCMessage *m)
{
    if (strcmp(m->descriptor->name, "google.protobuf.Timestamp") == 0) {
        char text[RFC3339_MAX];
        const ProtobufCFieldDescriptor *fields = m->descriptor->fields;
        rfc3339_format(*(const int64_t *)((const char *)m + fields[0].offset),
                       *(const int32_t *)((const char *)m + fields[1].offset), text);
        buf_put_json_string(out, view_of(text));
        return;
    }
    buf_putc(out, '{');
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &m->descriptor->fields[i];
        if (!field_is_set(m, field))
            continue;
        buf_put_json_string(out, view_of(field->name));
        buf_putc(out, ':');
        put_field(out, m, field, false);
        buf_putc(out, ',');
    }
    cut_comma(out);
    buf_putc(out, '}');
}

/* Follows "a.b"; NULL when something on the way is not set. */
static const ProtobufCFieldDescriptor *find(const ProtobufCMessage **m, const char *path)
{
    struct view rest = view_of(path), part;
    const ProtobufCFieldDescriptor *field = NULL;
    while (view_split(&rest, '.', &part)) {
        if (field)
            *m = *(ProtobufCMessage *const *)((const char *)*m + field->offset);
        field = field_by_name((*m)->descriptor, part);
        if (!field || !field_is_set(*m, field))
            return NULL;
    }
    return field;
}

/* Zero is a number for these (an episode 0 is a prologue) and an answer for those. */
static bool counts_when_zero(const ProtobufCFieldDescriptor *field)
{
    return field->label != PROTOBUF_C_LABEL_REPEATED &&
           (strcmp(field->name, "episode_number") == 0 || field->type == PROTOBUF_C_TYPE_BOOL);
}

void payload_put(struct buf *out, enum doc_kind kind, const ProtobufCMessage *message)
{
    for (size_t i = 0; i < n_payload_fields; i++) {
        const struct payload_field *row = &payload_fields[i];
        if (!(row->kinds & (1u << kind)) || !row->path || row->index_only)
            continue;
        const ProtobufCMessage *m = message;
        const ProtobufCFieldDescriptor *field = find(&m, row->path);
        if (!field) {
            m = message;
            field = field_by_name(m->descriptor, view_of(row->path));
            if (!field || !counts_when_zero(field) || field->quantifier_offset)
                continue;
        }
        buf_put_json_string(out, view_of(row->name));
        buf_putc(out, ':');
        put_field(out, m, field, row->names);
        buf_putc(out, ',');
    }
}
