/* See store_lists.h. What depends on references is resolved by the statements themselves, against
 * the references written just before in the same transaction. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "contracts/refs.h"
#include "workers/catalogue/relation.h"
#include "workers/catalogue/sql.h"
#include "workers/catalogue/store_lists.h"
#include "workers/catalogue/types.h"

enum { ARRAY_BYTES = 96 << 20, N_MAX = 8, KEY_MAX = 300 };

struct table {
    struct pg_array a[N_MAX];
    int n;
};

static void table_deinit(struct table *t)
{
    for (int i = 0; i < t->n; i++)
        pg_array_deinit(&t->a[i]);
}

static void table_init(struct table *t, const enum pg_array_kind columns[], int n)
{
    t->n = n;
    for (int i = 0; i < n; i++)
        pg_array_init(&t->a[i], columns[i], ARRAY_BYTES);
}

static int run(struct work *w, const struct pg_statement *statement, struct table *t,
               struct err *err)
{
    struct pg_param params[N_MAX];
    for (int i = 0; i < t->n; i++)
        params[i] = pg_array_param(&t->a[i]);
    return pg_query(w->pg, statement, params, t->n, NULL, err);
}

/* Takes away the rows of known anime whose fields in mask changed. */
static int clear(struct work *w, const struct pg_statement *statement, uint64_t mask,
                 struct err *err)
{
    CLEANUP(table_deinit) struct table t;
    table_init(&t, (const enum pg_array_kind[]){PG_UUIDS}, 1);
    for (size_t i = 0; i < w->entities.n; i++) {
        const struct entity *e = w->entities.p[i];
        if (e->in_db && e->replaced & mask)
            pg_array_uuid(&t.a[0], e->id);
    }
    return t.a[0].n ? run(w, statement, &t, err) : 0;
}

/* Keys and references stand in one primary key, and an index takes rows of some 2,700 bytes: a
 * longer key is cut here; meta holds it whole. */
static struct view key_of(const char *key)
{
    struct view v = view_of(key);
    if (v.n <= KEY_MAX)
        return v;
    for (v.n = KEY_MAX; v.n > 0 && ((unsigned char)v.p[v.n] & 0xc0) == 0x80;)
        v.n--;
    return v;
}

/* Each reference of the sources once; seen holds what this list had before. */
static bool next_ref(struct work *w, const char *source, struct view key, struct index *seen,
                     struct view *ret)
{
    struct err bad;
    if (ref_from_source(view_of(source), w->arena, ret, &bad) < 0)
        return false;
    char text[REF_MAX + KEY_MAX + 8];
    int n = snprintf(text, sizeof(text), "%.*s|%.*s", VIEW_ARG(key), VIEW_ARG(*ret));
    struct bytes name = {(const uint8_t *)text, (size_t)n};
    return !index_get(seen, name) && index_put(seen, name, w);
}

static int store_relations(struct work *w, struct err *err)
{
    uint64_t mask = kind_bit(KIND_ANIME, "related_anime");
    CLEANUP(table_deinit) struct table t;
    static const enum pg_array_kind columns[] = {PG_UUIDS, PG_TEXTS, PG_TEXTS,
                                                 PG_TEXTS, PG_TEXTS, PG_UUIDS};
    table_init(&t, columns, ARRAY_LEN(columns));
    for (size_t i = 0; i < w->entities.n; i++) {
        const struct entity *e = w->entities.p[i];
        if (!(e->replaced & mask))
            continue;
        const Anime *a = (const Anime *)e->f.message;
        struct index seen;
        index_init(&seen, w->arena);
        for (size_t k = 0; k < a->n_related_anime; k++) {
            struct view key = key_of(a->related_anime[k]->key);
            const Echora__Catalog__V1__RelatedAnimeList *list = a->related_anime[k]->value;
            for (size_t x = 0; list && x < list->n_items; x++)
                for (size_t s = 0; s < list->items[x]->n_sources; s++) {
                    struct view ref;
                    if (!next_ref(w, list->items[x]->sources[s], key, &seen, &ref))
                        continue;
                    pg_array_uuid(&t.a[0], e->id);
                    pg_array_text(&t.a[1], key);
                    pg_array_text(&t.a[2], ref);
                    pg_array_text(&t.a[3], view_of(relation_type(key)));
                }
        }
    }
    for (size_t i = 0; i < w->refs.n; i++) {
        const struct new_ref *r = w->refs.p[i];
        if (r->entity->kind != KIND_ANIME)
            continue;
        pg_array_text(&t.a[4], r->ref);
        pg_array_uuid(&t.a[5], r->entity->id);
    }
    if (clear(w, &sql_clear_relations, mask, err) < 0)
        return -1;
    return t.a[0].n + t.a[4].n ? run(w, &sql_insert_relations, &t, err) : 0;
}

/* References of things that only anime name (companies, materials). Adds them to claims under the
 * entry's number and returns the smallest, empty when there is none. */
static struct view claim(struct work *w, struct table *claims, int32_t entry, const char *space,
                         char *const sources[], size_t n)
{
    struct view least = {0};
    int32_t first = claims->a[0].n;
    struct index seen;
    index_init(&seen, w->arena);
    for (size_t s = 0; s < n; s++) {
        struct view ref;
        if (!next_ref(w, sources[s], (struct view){"", 0}, &seen, &ref))
            continue;
        pg_array_i64(&claims->a[0], entry);
        pg_array_text(&claims->a[1], ref);
        size_t common = ref.n < least.n ? ref.n : least.n;
        int c = least.n ? memcmp(ref.p, least.p, common) : -1;
        if (c < 0 || (c == 0 && ref.n < least.n))
            least = ref;
    }
    char text[REF_MAX + 64];
    int length = snprintf(text, sizeof(text), "%s:%.*s", space, VIEW_ARG(least));
    struct uuid id = uuid_v5(uuid_echora, (struct view){text, (size_t)length});
    for (int32_t i = first; i < claims->a[0].n; i++)
        pg_array_uuid(&claims->a[2], id);
    return least;
}

static const enum pg_array_kind claim_columns[] = {PG_I32S, PG_TEXTS, PG_UUIDS};

static void text_or_null(struct pg_array *a, struct view v)
{
    if (v.n)
        pg_array_text(a, v);
    else
        pg_array_null(a);
}

static void add_companies(struct work *w, struct table *t, struct table *claims,
                          const struct entity *e, const char *role, CompanyEntry *const list[],
                          size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct view ref =
            claim(w, claims, t->a[0].n, "company", list[i]->sources, list[i]->n_sources);
        pg_array_uuid(&t->a[0], e->id);
        pg_array_text(&t->a[1], view_of(role));
        pg_array_i64(&t->a[2], (int64_t)i);
        pg_array_text(&t->a[3], view_of(list[i]->name));
        text_or_null(&t->a[4],
                     list[i]->_description_case ? view_of(list[i]->description) : (struct view){0});
        text_or_null(&t->a[5], ref);
        pg_array_timestamp(&t->a[6], e->replaced_at.time_us);
        pg_array_uuid(&t->a[7], e->replaced_at.event);
    }
}

static int store_companies(struct work *w, struct err *err)
{
    uint64_t mask = kind_bit(KIND_ANIME, "studios") | kind_bit(KIND_ANIME, "producers") |
                    kind_bit(KIND_ANIME, "licensors");
    CLEANUP(table_deinit) struct table t;
    CLEANUP(table_deinit) struct table claims;
    static const enum pg_array_kind columns[] = {PG_UUIDS, PG_TEXTS, PG_I32S,       PG_TEXTS,
                                                 PG_TEXTS, PG_TEXTS, PG_TIMESTAMPS, PG_UUIDS};
    table_init(&t, columns, ARRAY_LEN(columns));
    table_init(&claims, claim_columns, ARRAY_LEN(claim_columns));
    for (size_t i = 0; i < w->entities.n; i++) {
        const struct entity *e = w->entities.p[i];
        if (!(e->replaced & mask))
            continue;
        const Anime *a = (const Anime *)e->f.message;
        add_companies(w, &t, &claims, e, "studio", a->studios, a->n_studios);
        add_companies(w, &t, &claims, e, "producer", a->producers, a->n_producers);
        add_companies(w, &t, &claims, e, "licensor", a->licensors, a->n_licensors);
    }
    if (clear(w, &sql_clear_companies, mask, err) < 0)
        return -1;
    if (claims.a[0].n && run(w, &sql_claim_companies, &claims, err) < 0)
        return -1;
    return t.a[0].n ? run(w, &sql_insert_companies, &t, err) : 0;
}

static const char *material_type(const RelatedSourceMaterial *m)
{
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
        &echora__catalog__v1__source_material_type__descriptor, (int)m->type);
    return v ? v->name + sizeof("SOURCE_MATERIAL_TYPE_") - 1 : "UNKNOWN";
}

static int store_materials(struct work *w, struct err *err)
{
    uint64_t mask = kind_bit(KIND_ANIME, "related_source_material");
    CLEANUP(table_deinit) struct table t;
    CLEANUP(table_deinit) struct table claims;
    static const enum pg_array_kind columns[] = {PG_UUIDS, PG_TEXTS, PG_TEXTS,      PG_TEXTS,
                                                 PG_TEXTS, PG_TEXTS, PG_TIMESTAMPS, PG_UUIDS};
    table_init(&t, columns, ARRAY_LEN(columns));
    table_init(&claims, claim_columns, ARRAY_LEN(claim_columns));
    for (size_t i = 0; i < w->entities.n; i++) {
        const struct entity *e = w->entities.p[i];
        if (!(e->replaced & mask))
            continue;
        const Anime *a = (const Anime *)e->f.message;
        struct index seen;
        index_init(&seen, w->arena);
        for (size_t k = 0; k < a->n_related_source_material; k++) {
            struct view key = key_of(a->related_source_material[k]->key);
            const Echora__Catalog__V1__RelatedSourceMaterialList *list =
                a->related_source_material[k]->value;
            for (size_t x = 0; list && x < list->n_items; x++) {
                const RelatedSourceMaterial *m = list->items[x];
                if (m->n_sources)
                    claim(w, &claims, claims.a[0].n, "material", m->sources, m->n_sources);
                for (size_t s = 0; s < m->n_sources; s++) {
                    struct view ref;
                    if (!next_ref(w, m->sources[s], key, &seen, &ref))
                        continue;
                    pg_array_uuid(&t.a[0], e->id);
                    pg_array_text(&t.a[1], key);
                    pg_array_text(&t.a[2], view_of(material_relation_type(key)));
                    pg_array_text(&t.a[3], ref);
                    pg_array_text(&t.a[4], view_of(m->title));
                    pg_array_text(&t.a[5], view_of(material_type(m)));
                    pg_array_timestamp(&t.a[6], e->replaced_at.time_us);
                    pg_array_uuid(&t.a[7], e->replaced_at.event);
                }
            }
        }
    }
    if (clear(w, &sql_clear_materials, mask, err) < 0)
        return -1;
    if (claims.a[0].n && run(w, &sql_claim_materials, &claims, err) < 0)
        return -1;
    return t.a[0].n ? run(w, &sql_insert_materials, &t, err) : 0;
}

int store_lists(struct work *w, struct err *err)
{
    if (store_relations(w, err) < 0 || store_companies(w, err) < 0 || store_materials(w, err) < 0)
        return -1;
    if (!arena_overflowed(w->arena))
        return 0;
    /* next_ref left out what had no room. */
    return err_set(err, ERR_RETRY, "no-memory", "store", "the batch's memory is spent");
}
