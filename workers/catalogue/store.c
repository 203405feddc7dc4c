/* Rows go as one array per column (unnest), in the order in which locks are taken. What must be new
 * and is not shows in the number of rows, so a race costs no failed statement. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "events/base/fault.h"
#include "events/metrics.h"
#include "workers/catalogue/column.h"
#include "workers/catalogue/sql.h"
#include "workers/catalogue/store.h"
#include "workers/catalogue/store_lists.h"
#include "workers/catalogue/types.h"

enum { COLUMNS_MAX = 24, ARRAY_BYTES = 96 << 20, META_BYTES = 32 << 20 };

struct store {
    struct buf meta, clocks;
    struct metric *unknown_enums;
};

static const struct metric_def unknown_enums_def = {
    "echora_catalogue_unknown_enums_total", METRIC_COUNTER,
    "Enum numbers without a name, stored as UNKNOWN with their number in meta.", "", NULL};

struct store *store_new(void)
{
    struct store *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    buf_init(&s->meta, META_BYTES);
    buf_init(&s->clocks, 1 << 20);
    s->unknown_enums = metric_series(&unknown_enums_def, (const char *const[]){NULL});
    return s;
}

struct store *store_free(struct store *s)
{
    if (!s)
        return NULL;
    buf_deinit(&s->meta);
    buf_deinit(&s->clocks);
    free(s);
    return NULL;
}

void store_freep(struct store **s)
{
    *s = store_free(*s);
}

static int race(struct err *err, const char *what)
{
    return err_set(err, ERR_RETRY, "race", "store", "another writer made the same %s", what);
}

/* The arrays of one statement; freed when the statement is done: most are small. */
struct columns {
    struct pg_array a[COLUMNS_MAX];
    int n;
};

static void columns_deinit(struct columns *c)
{
    for (int i = 0; i < c->n; i++)
        pg_array_deinit(&c->a[i]);
}

static struct columns columns_of(const enum pg_array_kind kinds_[], int n)
{
    struct columns c = {.n = n};
    for (int i = 0; i < n; i++)
        pg_array_init(&c.a[i], kinds_[i], ARRAY_BYTES);
    return c;
}
#define COLUMNS(...)                                                                               \
    columns_of(                                                                                    \
        (const enum pg_array_kind[]){__VA_ARGS__},                                                 \
        (int)(sizeof((const enum pg_array_kind[]){__VA_ARGS__}) / sizeof(enum pg_array_kind)))

static const struct pg_param *params_of(struct columns *c, struct pg_param params[])
{
    for (int i = 0; i < c->n; i++)
        params[i] = pg_array_param(&c->a[i]);
    return params;
}

static int run(struct work *w, const struct pg_statement *statement, struct columns *c,
               PGresult **ret, struct err *err)
{
    struct pg_param params[COLUMNS_MAX];
    return pg_query(w->pg, statement, params_of(c, params), c->n, ret, err);
}

/* Fewer rows than there were to write is a race. */
static int check_all(const PGresult *r, int64_t n, const char *what, struct err *err)
{
    return strtoll(PQcmdTuples((PGresult *)r), NULL, 10) == n ? 0 : race(err, what);
}

/* Runs it and compares the number of rows it wrote; fewer is a race. */
static int run_all(struct work *w, const struct pg_statement *statement, struct columns *c,
                   const char *what, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    if (c->a[0].n == 0)
        return 0;
    if (run(w, statement, c, &r, err) < 0)
        return -1;
    return check_all(r, c->a[0].n, what, err);
}

static void note_where_it_stands(struct work *w)
{
    for (size_t i = 0; i < w->ops.n; i++) {
        struct op *op = w->ops.p[i];
        op->stands_at = op->main.entity ? op->main.entity->revision : 0;
    }
}

int store_revisions(struct work *w, struct err *err)
{
    if (w->announcements.n == 0) {
        note_where_it_stands(w);
        return 0;
    }
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param n = pg_i32((int32_t)w->announcements.n);
    if (pg_query(w->pg, &sql_take_revisions, &n, 1, &r, err) < 0)
        return -1;
    if (PQntuples(r) != (int)w->announcements.n)
        return err_set(err, ERR_FATAL, "internal", "take revisions", "%d rows", PQntuples(r));
    for (size_t i = 0; i < w->announcements.n; i++) {
        struct announcement *a = w->announcements.p[i];
        a->revision = a->entity->revision = pg_get_i64(r, (int)i, 0);
        struct op *op = (struct op *)a->op;
        if (op->main.entity == a->entity)
            op->revision = a->revision;
    }
    note_where_it_stands(w);
    return 0;
}

static const struct pg_statement *const upserts[N_KINDS] = {
    [KIND_ANIME] = &sql_upsert_anime,
    [KIND_CHARACTER] = &sql_upsert_character,
    [KIND_EPISODE] = &sql_upsert_episode,
};

static struct columns entity_columns(enum entity_kind kind)
{
    struct columns c = COLUMNS(PG_UUIDS, PG_I64S, PG_TIMESTAMPS, PG_UUIDS, PG_JSONS, PG_JSONS);
    static const enum pg_array_kind anime[] = {PG_I32S, PG_TIMESTAMPS, PG_UUIDS};
    static const enum pg_array_kind episode[] = {PG_UUIDS, PG_I32S};
    for (size_t i = 0; kind == KIND_ANIME && i < ARRAY_LEN(anime); i++)
        pg_array_init(&c.a[c.n++], anime[i], ARRAY_BYTES);
    for (size_t i = 0; kind == KIND_EPISODE && i < ARRAY_LEN(episode); i++)
        pg_array_init(&c.a[c.n++], episode[i], ARRAY_BYTES);
    for (unsigned i = 0; i < kinds[kind].n_fields; i++)
        if (kinds[kind].fields[i].home == HOME_COLUMN)
            pg_array_init(&c.a[c.n++], column_array_kind(&kinds[kind].message->fields[i]),
                          ARRAY_BYTES);
    return c;
}

static int add_entity(struct store *s, struct columns *c, const struct entity *e, struct err *err)
{
    struct clock base;
    unsigned unknown;
    buf_reset(&s->meta);
    buf_reset(&s->clocks);
    clocks_encode(&e->f, &base, &s->clocks);
    if (buf_failed(&s->clocks))
        return buf_error(&s->clocks, "store", "the list of clocks", err);
    if (meta_encode(e->f.kind, e->f.message, &s->meta, &unknown, err) < 0)
        return -1;
    if (unknown)
        metric_add(s->unknown_enums, unknown);
    struct pg_array *a = c->a;
    pg_array_uuid(a++, e->id);
    pg_array_i64(a++, e->revision);
    pg_array_timestamp(a++, base.time_us);
    pg_array_uuid(a++, base.event);
    if (s->clocks.n)
        pg_array_text(a++, buf_view(&s->clocks));
    else
        pg_array_null(a++);
    pg_array_text(a++, buf_view(&s->meta));
    if (e->kind == KIND_ANIME) {
        pg_array_i64(a++, e->episode_rows);
        if (e->f.deleted)
            pg_array_timestamp(a++, fields_existence_clock(&e->f).time_us);
        else
            pg_array_null(a++);
        if (uuid_is_nil(e->merged_into))
            pg_array_null(a++);
        else
            pg_array_uuid(a++, e->merged_into);
    } else if (e->kind == KIND_EPISODE) {
        pg_array_uuid(a++, e->anime_id);
        pg_array_i64(a++, e->number);
    }
    for (unsigned i = 0; i < e->f.kind->n_fields; i++)
        if (e->f.kind->fields[i].home == HOME_COLUMN)
            column_write(a++, e->f.message, &e->f.kind->message->fields[i]);
    return 0;
}

static int store_rows(struct store *s, struct work *w, enum entity_kind kind, struct err *err)
{
    CLEANUP(columns_deinit) struct columns c = entity_columns(kind);
    struct entity **sent = arena_array(w->arena, w->entities.n, sizeof(*sent));
    if (!sent && w->entities.n)
        return err_set(err, ERR_RETRY, "no-memory", "store", "the batch's memory is spent");
    int n = 0, made = 0;
    for (size_t i = 0; i < w->entities.n; i++) {
        struct entity *e = w->entities.p[i];
        if (e->kind != kind || !e->dirty)
            continue;
        if (add_entity(s, &c, e, err) < 0)
            return -1;
        sent[n++] = e;
        made += !e->in_db;
    }
    if (n == 0)
        return 0;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    if (run(w, upserts[kind], &c, &r, err) < 0) {
        /* The number is taken under another id: find that row next time. */
        return strcmp(err->code, "pg-23505") == 0 ? race(err, kinds[kind].name) : -1;
    }
    int inserted = 0;
    for (int i = 0; i < PQntuples(r); i++)
        inserted += pg_get_bool(r, i, 0);
    return inserted == made && PQntuples(r) == n ? 0 : race(err, kinds[kind].name);
}

static int store_refs(struct work *w, enum entity_kind kind, struct err *err)
{
    static const struct pg_statement *const statements[N_KINDS] = {
        &sql_insert_anime_xref, &sql_insert_character_xref, &sql_insert_episode_xref};
    CLEANUP(columns_deinit) struct columns c = COLUMNS(PG_TEXTS, PG_UUIDS);
    for (size_t i = 0; i < w->refs.n; i++) {
        const struct new_ref *r = w->refs.p[i];
        if (r->entity->kind != kind)
            continue;
        pg_array_text(&c.a[0], r->ref);
        pg_array_uuid(&c.a[1], r->entity->id);
    }
    if (kind != KIND_EPISODE)
        return run_all(w, statements[kind], &c, "reference", err);
    return c.a[0].n ? run(w, statements[kind], &c, NULL, err) : 0;
}

static int store_aliases(struct work *w, struct err *err)
{
    CLEANUP(columns_deinit) struct columns c = COLUMNS(PG_UUIDS, PG_TEXTS, PG_UUIDS);
    for (size_t i = 0; i < w->aliases.n; i++) {
        const struct new_alias *a = w->aliases.p[i];
        pg_array_uuid(&c.a[0], a->id);
        pg_array_text(&c.a[1], view_of(kinds[a->entity->kind].name));
        pg_array_uuid(&c.a[2], a->entity->id);
    }
    return run_all(w, &sql_insert_alias, &c, "alias", err);
}

/* One row per pair, the newest: an upsert may not touch a row twice. */
static int store_casts(struct work *w, struct err *err)
{
    CLEANUP(columns_deinit)
    struct columns c = COLUMNS(PG_UUIDS, PG_UUIDS, PG_TEXTS, PG_I32S, PG_TIMESTAMPS, PG_UUIDS);
    struct index newest;
    index_init(&newest, w->arena);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < w->casts.n; i++) {
            struct cast *x = w->casts.p[i];
            uint8_t key[32];
            memcpy(key, x->anime->id.b, 16);
            memcpy(key + 16, x->character->id.b, 16);
            struct cast *best = index_get(&newest, (struct bytes){key, sizeof(key)});
            if (pass == 0) {
                if ((!best || clock_cmp(best->clock, x->clock) < 0) &&
                    !index_put(&newest, (struct bytes){key, sizeof(key)}, x))
                    return err_set(err, ERR_RETRY, "no-memory", "store", "out of memory");
                continue;
            }
            if (best != x)
                continue;
            pg_array_uuid(&c.a[0], x->anime->id);
            pg_array_uuid(&c.a[1], x->character->id);
            pg_array_text(&c.a[2], view_of(x->role));
            pg_array_i64(&c.a[3], x->billing);
            pg_array_timestamp(&c.a[4], x->clock.time_us);
            pg_array_uuid(&c.a[5], x->clock.event);
        }
    return c.a[0].n ? run(w, &sql_upsert_cast, &c, NULL, err) : 0;
}

static int store_merges(struct work *w, struct err *err)
{
    for (size_t i = 0; i < w->merges.n; i++) {
        const struct entity *e = w->merges.p[i];
        struct pg_param params[] = {pg_uuid(e->id), pg_uuid(e->merged_into)};
        if (pg_query(w->pg, &sql_move_references, params, 2, NULL, err) < 0)
            return -1;
    }
    return 0;
}

int store_entities(struct store *s, struct work *w, struct err *err)
{
    for (int kind = 0; kind < N_KINDS; kind++)
        if (store_rows(s, w, (enum entity_kind)kind, err) < 0)
            return -1;
    for (int kind = 0; kind < N_KINDS; kind++)
        if (store_refs(w, (enum entity_kind)kind, err) < 0)
            return -1;
    if (store_merges(w, err) < 0 || store_aliases(w, err) < 0 || store_casts(w, err) < 0)
        return -1;
    return store_lists(w, err);
}

static struct view traceparent(const struct op *op, char out[static TRACEPARENT_MAX])
{
    if (!op->trace || !op->trace->set)
        return (struct view){0};
    trace_format(op->trace, out);
    return view_of(out);
}

static void text_or_null(struct pg_array *a, struct view v)
{
    if (v.n)
        pg_array_text(a, v);
    else
        pg_array_null(a);
}

/* The new rows' answer is left for store_check. */
static int store_inbox(struct work *w, struct err *err)
{
    CLEANUP(columns_deinit)
    struct columns c =
        COLUMNS(PG_TEXTS, PG_UUIDS, PG_TIMESTAMPS, PG_I64S, PG_UUIDS, PG_I64S, PG_TEXTS);
    CLEANUP(columns_deinit)
    struct columns settled =
        COLUMNS(PG_TEXTS, PG_UUIDS, PG_TIMESTAMPS, PG_UUIDS, PG_I64S, PG_TEXTS);
    for (size_t i = 0; i < w->ops.n; i++) {
        const struct op *op = w->ops.p[i];
        if (!op->consumer || op->outcome == OUTCOME_REJECTED ||
            (op->from_pending && op->outcome == OUTCOME_PENDING))
            continue;
        struct pg_array *a = op->from_pending ? settled.a : c.a;
        pg_array_text(a++, view_of(op->consumer));
        pg_array_uuid(a++, op->clock.event);
        pg_array_timestamp(a++, op->clock.time_us);
        if (!op->from_pending)
            pg_array_i64(a++, (int64_t)op->stream_sequence);
        pg_array_uuid(a++, op->main.entity ? op->main.entity->id : op->main.id);
        pg_array_i64(a++, op->revision);
        pg_array_text(a++, view_of(outcome_name(op->outcome)));
    }
    w->inbox_rows = FAULT("inbox-dropped") ? 0 : c.a[0].n;
    struct pg_param params[COLUMNS_MAX];
    if (w->inbox_rows > 0 &&
        pg_defer(w->pg, &sql_inbox_insert, params_of(&c, params), c.n, err) < 0)
        return -1;
    return settled.a[0].n ? run(w, &sql_inbox_settle, &settled, NULL, err) : 0;
}

/* Pairs of name and value, in order. A value that is no text is "?": that a header is there counts.
 */
static void put_headers(struct buf *b, const struct op *op)
{
    char comma = '[';
    for (size_t i = 0; i < op->n_headers; i++) {
        struct view name = view_of(op->headers[i].name), value = view_of(op->headers[i].value);
        if (!utf8_is_valid(bytes_of(name)))
            continue;
        if (!utf8_is_valid(bytes_of(value)))
            value = VIEW_LIT("?");
        buf_putc(b, comma);
        buf_putc(b, '[');
        buf_put_json_string(b, name);
        buf_putc(b, ',');
        buf_put_json_string(b, value);
        buf_putc(b, ']');
        comma = ',';
    }
    buf_puts(b, comma == '[' ? "[]" : "]");
}

static int store_pending(struct work *w, struct err *err)
{
    CLEANUP(columns_deinit)
    struct columns c = COLUMNS(PG_TEXTS, PG_UUIDS, PG_TIMESTAMPS, PG_TEXTS, PG_UUIDS, PG_TEXTS,
                               PG_JSONS, PG_BYTEAS, PG_I64S, PG_TIMESTAMPS, PG_TEXTS);
    CLEANUP(buf_deinit) struct buf headers;
    buf_init(&headers, 1 << 16);
    for (size_t i = 0; i < w->ops.n; i++) {
        const struct op *op = w->ops.p[i];
        if (!op->consumer || op->from_pending || op->outcome != OUTCOME_PENDING)
            continue;
        buf_reset(&headers);
        put_headers(&headers, op);
        if (buf_failed(&headers))
            return buf_error(&headers, "store", "the header block of a waiting update", err);
        char trace[TRACEPARENT_MAX];
        struct pg_array *a = c.a;
        pg_array_text(a++, view_of(op->consumer));
        pg_array_uuid(a++, op->clock.event);
        pg_array_timestamp(a++, op->clock.time_us);
        pg_array_text(a++, view_of(kinds[op->main.kind].name));
        pg_array_uuid(a++, op->main.id);
        pg_array_text(a++, view_of(op->def->subject));
        pg_array_text(a++, buf_view(&headers));
        pg_array_bytea(a++, op->payload);
        pg_array_i64(a++, (int64_t)op->stream_sequence);
        pg_array_timestamp(a++, op->stored_us);
        text_or_null(a++, traceparent(op, trace));
    }
    return c.a[0].n ? run(w, &sql_insert_pending, &c, NULL, err) : 0;
}

static int store_refused(struct work *w, struct err *err)
{
    CLEANUP(columns_deinit)
    struct columns c = COLUMNS(PG_TEXTS, PG_UUIDS, PG_TIMESTAMPS, PG_TEXTS, PG_TEXTS);
    for (size_t i = 0; i < w->refused.n; i++) {
        const struct refused *refused = w->refused.p[i];
        struct pg_array *a = c.a;
        pg_array_text(a++, view_of(refused->consumer));
        pg_array_uuid(a++, refused->event);
        pg_array_timestamp(a++, refused->time_us);
        pg_array_text(a++, view_of(refused->err.code));
        pg_array_text(a++, view_of(refused->err.text));
    }
    return run_all(w, &sql_refuse_pending, &c, "waiting update", err);
}

static int store_parked(struct work *w, const struct parked *p, struct err *err)
{
    CLEANUP(columns_deinit) struct columns c = COLUMNS(PG_TEXTS, PG_TEXTS);
    CLEANUP(buf_deinit) struct buf payload;
    size_t size = protobuf_c_message_get_packed_size(p->copy);
    buf_init(&payload, size + 1);
    uint8_t *out = buf_extend(&payload, size);
    if (!out)
        return err_set(err, ERR_RETRY, "no-memory", "store", "out of memory");
    protobuf_c_message_pack(p->copy, out);
    const Echora__Events__V1__AnimeUpdatedEvent *copy =
        (const Echora__Events__V1__AnimeUpdatedEvent *)p->copy;
    for (size_t i = 0; i < copy->n_changed_fields; i++)
        pg_array_text(&c.a[0], view_of(copy->changed_fields[i]));
    for (size_t i = 0; i < p->n_reasons; i++)
        pg_array_text(&c.a[1], view_of(p->reason_list[i]));
    char trace[TRACEPARENT_MAX];
    struct view parent = traceparent(p->op, trace);
    struct pg_param params[] = {
        pg_uuid(p->review_id),
        pg_uuid(p->op->clock.event),
        pg_uuid(p->anime->id),
        pg_timestamptz(p->op->clock.time_us),
        pg_array_param(&c.a[0]),
        pg_array_param(&c.a[1]),
        pg_bytea(bytes_of(buf_view(&payload))),
        parent.n ? pg_text(parent) : pg_null(),
    };
    return pg_query(w->pg, &sql_insert_review, params, ARRAY_LEN(params), NULL, err);
}

int store_outcomes(struct work *w, struct err *err)
{
    for (size_t i = 0; i < w->parked.n; i++)
        if (store_parked(w, w->parked.p[i], err) < 0)
            return -1;
    if (store_pending(w, err) < 0 || store_refused(w, err) < 0)
        return -1;
    return store_inbox(w, err);
}

int store_check(struct work *w, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    if (w->inbox_rows == 0)
        return 0;
    if (pg_deferred(w->pg, &r, err) < 0)
        return -1;
    return check_all(r, w->inbox_rows, "inbox row", err);
}
