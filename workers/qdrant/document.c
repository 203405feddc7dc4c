// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/document.h"

#include "contracts/field.h"
#include "contracts/gen/catalog.pb-c.h"
#include "events/base/hash.h"

enum {
    TEXT_MAX = 64 << 10,    /* bytes of one part: longer texts are cut for the vectors */
    ALL_TEXT_MAX = 1 << 20, /* of all parts */
    PAYLOAD_MAX = 4 << 20,
};

/* Order is part of the canonical text: append, never reorder. */
static const struct text_row {
    unsigned kinds;
    enum text_field field;
    const char *name;
} text_rows[] = {
    {1u << DOC_ANIME | 1u << DOC_EPISODE, TEXT_TITLE, "title"},
    {1u << DOC_ANIME, TEXT_TITLE, "title_english"},
    {1u << DOC_EPISODE, TEXT_TITLE, "title_romaji"},
    {1u << DOC_ANIME | 1u << DOC_EPISODE, TEXT_TITLE, "title_japanese"},
    {1u << DOC_ANIME, TEXT_TITLE, "synonyms"},
    {1u << DOC_CHARACTER, TEXT_TITLE, "name"},
    {1u << DOC_CHARACTER, TEXT_TITLE, "name_native"},
    {1u << DOC_CHARACTER, TEXT_TITLE, "name_variations"},
    {1u << DOC_CHARACTER, TEXT_TITLE, "nicknames"},
    {1u << DOC_ANIME | 1u << DOC_EPISODE, TEXT_SYNOPSIS, "synopsis"},
    {1u << DOC_CHARACTER, TEXT_SYNOPSIS, "description"},
    {1u << DOC_ANIME, TEXT_TAG, "tags"},
    {1u << DOC_CHARACTER, TEXT_TAG, "traits"},
    {1u << DOC_ANIME, TEXT_GENRE, "genres"},
    {1u << DOC_ANIME, TEXT_DEMOGRAPHIC, "demographics"},
};

const char *text_field_name(enum text_field field)
{
    static const char *const names[N_TEXT_FIELDS] = {"title", "synopsis", "tag", "genre",
                                                     "demographic"};
    return field < N_TEXT_FIELDS ? names[field] : "";
}

/* At most max bytes, never inside a character. */
static struct view cut(struct view text, size_t max)
{
    if (text.n <= max)
        return text;
    text.n = max;
    while (text.n > 0 && ((unsigned char)text.p[text.n] & 0xc0) == 0x80)
        text.n--;
    return text;
}

/* The texts of one field: the list's elements, or the one text. */
static size_t texts_of(const ProtobufCMessage *m, const char *name, char *const **ret)
{
    const ProtobufCFieldDescriptor *field = field_by_name(m->descriptor, view_of(name));
    if (!field || !field_is_set(m, field))
        return 0;
    const char *at = (const char *)m + field->offset;
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        *ret = (char *const *)at;
        return 1;
    }
    *ret = *(char *const *const *)at;
    return *(const size_t *)((const char *)m + field->quantifier_offset);
}

static int gather_text(const struct doc_source *s, struct arena *arena, struct document *d,
                       struct err *err)
{
    size_t most = 0, bytes = 0;
    char *const *texts = NULL;
    for (size_t i = 0; i < ARRAY_LEN(text_rows); i++) {
        if (text_rows[i].kinds & (1u << s->kind))
            most += texts_of(s->content, text_rows[i].name, &texts);
    }
    d->parts = arena_array(arena, most ? most : 1, sizeof(*d->parts));
    if (!d->parts)
        return err_set(err, ERR_RETRY, "no-memory", "search document", "arena is full");
    for (size_t i = 0; i < ARRAY_LEN(text_rows); i++) {
        if (!(text_rows[i].kinds & (1u << s->kind)))
            continue;
        size_t n = texts_of(s->content, text_rows[i].name, &texts);
        for (size_t k = 0; k < n; k++) {
            struct view text = cut(view_trim(view_of(texts[k])), TEXT_MAX);
            if (text.n == 0 || bytes + text.n > ALL_TEXT_MAX)
                continue;
            d->parts[d->n_parts++] = (struct text_part){text_rows[i].field, text};
            bytes += text.n + 1;
        }
    }
    char *all = arena_alloc(arena, bytes + 1), *end = all;
    if (!all)
        return err_set(err, ERR_RETRY, "no-memory", "search document", "arena is full");
    for (size_t i = 0; i < d->n_parts; i++) {
        memcpy(end, d->parts[i].text.p, d->parts[i].text.n);
        end += d->parts[i].text.n;
        *end++ = '\n';
    }
    d->text = (struct view){all, end > all ? (size_t)(end - all) - 1 : 0};
    return 0;
}

static void put_payload(struct buf *out, const struct doc_source *s)
{
    buf_printf(out, "\"entity_type\":\"%s\",", doc_kind_name(s->kind));
    payload_put(out, s->kind, s->content);
    if (s->kind == DOC_ANIME) {
        const Echora__Catalog__V1__Anime *anime = (const Echora__Catalog__V1__Anime *)s->content;
        int64_t n = anime->episode_count > s->episode_rows ? anime->episode_count : s->episode_rows;
        if (n > 0)
            buf_printf(out, "\"episode_count\":%lld,", (long long)n);
        bool nsfw = anime->_nsfw_case && anime->nsfw;
        buf_printf(out, "\"nsfw\":%s,", nsfw ? "true" : "false");
        return;
    }
    buf_puts(out, "\"anime_ids\":[");
    for (size_t i = 0; i < s->n_anime_ids; i++) {
        buf_puts(out, i ? "," : "");
        buf_put_json_string(out, view_of(s->anime_ids[i]));
    }
    buf_printf(out, "],\"nsfw\":%s,", s->inherited_nsfw ? "true" : "false");
}

int document_make(const struct doc_source *source, struct arena *arena, struct document *ret,
                  struct err *err)
{
    *ret = (struct document){.kind = source->kind, .id = source->id, .revision = source->revision};
    if (gather_text(source, arena, ret, err) < 0)
        return -1;
    struct buf payload;
    buf_init(&payload, PAYLOAD_MAX);
    put_payload(&payload, source);
    int rc = 0;
    if (buf_failed(&payload)) {
        rc = buf_error(&payload, "search document", "the payload of the point", err);
    } else {
        char *copy = arena_strdup(arena, buf_view(&payload));
        if (copy)
            ret->payload = (struct view){copy, payload.n};
        else
            rc = err_set(err, ERR_RETRY, "no-memory", "search document", "arena is full");
    }
    buf_deinit(&payload);
    return rc;
}

int document_emb(const struct document *d, const char *model, char out[static EMB_TEXT],
                 struct err *err)
{
    /* Unit and record separators can't be mistaken for text: parts are trimmed and told apart. */
    size_t size = strlen(model) + 1;
    for (size_t i = 0; i < d->n_parts; i++)
        size += d->parts[i].text.n + 16;
    struct buf b;
    buf_init(&b, size + 64);
    buf_puts(&b, model);
    for (size_t i = 0; i < d->n_parts; i++) {
        buf_puts(&b, "\x1e");
        buf_puts(&b, text_field_name(d->parts[i].field));
        buf_puts(&b, "\x1f");
        buf_append_view(&b, d->parts[i].text);
    }
    if (buf_failed(&b)) {
        buf_deinit(&b);
        return err_set(err, ERR_RETRY, "no-memory", "search document", "no memory");
    }
    uint8_t digest[SHA256_SIZE];
    sha256(bytes_of(buf_view(&b)), digest);
    buf_deinit(&b);
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < (EMB_TEXT - 1) / 2; i++) {
        out[2 * i] = hex[digest[i] >> 4];
        out[2 * i + 1] = hex[digest[i] & 15];
    }
    out[EMB_TEXT - 1] = 0;
    return 0;
}
