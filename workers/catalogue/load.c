/* Three steps: owners of ids and references (one statement for all kinds), rows by kind and id
 * under lock, then the members that only their anime's key finds. Finding takes no lock: what is
 * found is locked next, entities never vanish, and a row that was merged away meanwhile says so
 * itself (merged_into). */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "contracts/json.h"
#include "events/base/fault.h"
#include "workers/catalogue/column.h"
#include "workers/catalogue/load.h"
#include "workers/catalogue/sql.h"
#include "workers/catalogue/types.h"

enum { IDS_MAX = 64 << 20 }; /* bytes of one array parameter; never near it */

static const struct pg_statement *const load_statements[N_KINDS] = {
    [KIND_ANIME] = &sql_load_anime,
    [KIND_CHARACTER] = &sql_load_character,
    [KIND_EPISODE] = &sql_load_episode,
};
/* Columns before those of the fields: six common ones, then the kind's own. */
static const int first_field_column[N_KINDS] = {9, 6, 8};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "load", "the batch's memory is spent");
}

int load_row(const PGresult *r, int row, enum entity_kind kind, struct arena *arena,
             struct entity **ret, struct err *err)
{
    struct entity *e = arena_zalloc(arena, sizeof(*e));
    if (!e || fields_init(&e->f, &kinds[kind], arena, err) < 0)
        return no_memory(err);
    e->kind = kind;
    e->id = pg_get_uuid(r, row, 0);
    e->in_db = true;
    e->revision = pg_get_i64(r, row, 1);
    struct clock base = {pg_get_timestamp_us(r, row, 2), pg_get_uuid(r, row, 3)};
    struct view clocks = pg_get_text(r, row, 4), meta = pg_get_text(r, row, 5);
    if (!view_is(meta, "{}") &&
        json_decode(kinds[kind].message, meta, arena, &e->f.message, err) < 0) {
        /* What we stored must read: anything else is ours to mend, not the event's fault. */
        if (err->class == ERR_REJECT)
            err->class = ERR_FATAL;
        return err_wrap(err, "stored %s", kinds[kind].name);
    }
    int column = first_field_column[kind];
    for (unsigned i = 0; i < kinds[kind].n_fields; i++)
        if (kinds[kind].fields[i].home == HOME_COLUMN &&
            column_read(r, row, column++, e->f.message, &kinds[kind].message->fields[i], arena,
                        err) < 0)
            return -1;
    if (kind == KIND_ANIME) {
        e->episode_rows = (int32_t)pg_get_i64(r, row, 6);
        e->f.deleted = !pg_is_null(r, row, 7);
        e->merged_into = pg_get_uuid(r, row, 8);
    } else if (kind == KIND_EPISODE) {
        e->anime_id = pg_get_uuid(r, row, 6);
        e->number = (int32_t)pg_get_i64(r, row, 7);
        ((Episode *)e->f.message)->episode_number = e->number;
    }
    *ret = e;
    return clocks_decode(&e->f, base, clocks, err);
}

int load_ids(struct work *w, enum entity_kind kind, const struct uuid ids[], size_t n,
             struct err *err)
{
    CLEANUP(pg_array_deinit) struct pg_array array;
    pg_array_init(&array, PG_UUIDS, IDS_MAX);
    for (size_t i = 0; i < n; i++)
        if (!work_by_id(w, kind, ids[i]))
            pg_array_uuid(&array, ids[i]);
    if (array.n == 0)
        return 0;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param param = pg_array_param(&array);
    if (FAULT("rows-unlocked") && pg_run(w->pg, "SAVEPOINT before_locks", err) < 0)
        return -1;
    if (pg_query(w->pg, load_statements[kind], &param, 1, &r, err) < 0)
        return -1;
    if (FAULT("rows-unlocked") && pg_run(w->pg, "ROLLBACK TO before_locks", err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++) {
        struct entity *e;
        if (load_row(r, row, kind, w->arena, &e, err) < 0)
            return -1;
        if (!uuid_is_nil(e->merged_into))
            return err_set(err, ERR_RETRY, "stale", "load", "merged into another meanwhile");
        if (!work_add(w, &w->entities, e) || !work_put_id(w, kind, e->id, e))
            return no_memory(err);
        if (kind == KIND_EPISODE && !work_put_episode(w, e->anime_id, e->number, e))
            return no_memory(err);
    }
    return 0;
}

/* One name that was asked for, in the order of its array. */
struct asked {
    const struct op *op;
    struct thing *thing;
    struct view ref; /* empty: by id */
    struct uuid entity;
    bool found;
};
enum { BY_ID, BY_REF = N_KINDS, N_BYS = 2 * N_KINDS };
struct question {
    struct asked *asked;
    size_t n, capacity;
    struct pg_array array;
};

static void questions_deinit(struct question (*q)[N_BYS])
{
    for (int i = 0; i < N_BYS; i++)
        pg_array_deinit(&(*q)[i].array);
}

static bool ask(struct work *w, struct question *q, const struct op *op, struct thing *t,
                struct view ref)
{
    if (q->n == q->capacity) {
        size_t capacity = q->capacity ? q->capacity * 2 : 64;
        struct asked *more = arena_array(w->arena, capacity, sizeof(*more));
        if (!more)
            return false;
        if (q->n)
            memcpy(more, q->asked, q->n * sizeof(*more));
        q->asked = more;
        q->capacity = capacity;
    }
    q->asked[q->n++] = (struct asked){.op = op, .thing = t, .ref = ref};
    if (ref.n)
        pg_array_text(&q->array, ref);
    else
        pg_array_uuid(&q->array, t->id);
    return true;
}

static bool ask_thing(struct work *w, struct question q[N_BYS], const struct op *op,
                      struct thing *t)
{
    if (t->has_id && !work_by_id(w, t->kind, t->id) &&
        !ask(w, &q[BY_ID + (int)t->kind], op, t, (struct view){0}))
        return false;
    for (size_t i = 0; i < t->n_refs; i++)
        if (!work_by_ref(w, t->kind, t->refs[i]) &&
            !ask(w, &q[BY_REF + (int)t->kind], op, t, t->refs[i]))
            return false;
    return true;
}

static struct uuid *ids_of(struct work *w, const struct question *q, const struct question *refs,
                           size_t *ret_n)
{
    struct uuid *ids = arena_array(w->arena, q->n + refs->n, sizeof(*ids));
    size_t n = 0;
    for (size_t i = 0; ids && i < q->n; i++)
        if (q->asked[i].found)
            ids[n++] = q->asked[i].entity;
    for (size_t i = 0; ids && i < refs->n; i++)
        if (refs->asked[i].found)
            ids[n++] = refs->asked[i].entity;
    *ret_n = n;
    return ids;
}

static int load_found(struct work *w, struct question q[N_BYS], struct err *err)
{
    for (int kind = 0; kind < N_KINDS; kind++) {
        size_t n;
        struct uuid *ids = ids_of(w, &q[BY_ID + kind], &q[BY_REF + kind], &n);
        if (!ids && q[BY_ID + kind].n + q[BY_REF + kind].n)
            return no_memory(err);
        if (n && load_ids(w, (enum entity_kind)kind, ids, n, err) < 0)
            return -1;
        for (int by = kind; by < N_BYS; by += N_KINDS)
            for (size_t i = 0; i < q[by].n; i++) {
                struct asked *a = &q[by].asked[i];
                struct entity *e =
                    a->found ? work_by_id(w, (enum entity_kind)kind, a->entity) : NULL;
                if (e && !(a->ref.n ? work_put_ref(w, e->kind, a->ref, e)
                                    : work_put_id(w, e->kind, a->thing->id, e)))
                    return no_memory(err);
            }
    }
    return 0;
}

static void questions_init(struct question q[N_BYS])
{
    for (int i = 0; i < N_BYS; i++) {
        q[i] = (struct question){0};
        pg_array_init(&q[i].array, i < BY_REF ? PG_UUIDS : PG_TEXTS, IDS_MAX);
    }
}

static int answer(struct work *w, struct question q[N_BYS], struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param params[N_BYS];
    for (int i = 0; i < N_BYS; i++)
        params[i] = pg_array_param(&q[i].array);
    if (pg_query(w->pg, &sql_resolve, params, N_BYS, &r, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++) {
        struct question *found = &q[pg_get_i64(r, row, 0)];
        struct asked *a = &found->asked[pg_get_i64(r, row, 1) - 1];
        a->found = true;
        a->entity = pg_get_uuid(r, row, 2);
    }
    return 0;
}

/* Ids that nothing of the kind meant has may be another kind's. */
static int find_kinds(struct work *w, struct question q[N_BYS], struct err *err)
{
    CLEANUP(pg_array_deinit) struct pg_array unknown;
    pg_array_init(&unknown, PG_UUIDS, IDS_MAX);
    for (int by = BY_ID; by < BY_REF; by++)
        for (size_t i = 0; i < q[by].n; i++)
            if (!q[by].asked[i].found)
                pg_array_uuid(&unknown, q[by].asked[i].thing->id);
    if (unknown.n == 0)
        return 0;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    const struct pg_param param = pg_array_param(&unknown);
    if (pg_query(w->pg, &sql_resolve_kinds, &param, 1, &r, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++) {
        const struct kind *kind = kind_by_name(pg_get_text(r, row, 1));
        if (kind && !work_put_kind(w, kind->kind, pg_get_uuid(r, row, 0)))
            return no_memory(err);
    }
    return 0;
}

static int find_owners(struct work *w, struct op *const ops[], size_t n, struct err *err)
{
    CLEANUP(questions_deinit) struct question q[N_BYS];
    questions_init(q);
    for (size_t i = 0; i < n; i++) {
        bool ok = ask_thing(w, q, ops[i], &ops[i]->main);
        for (size_t k = 0; k < ops[i]->n_members && ok; k++)
            ok = ask_thing(w, q, ops[i], &ops[i]->members[k]);
        if (!ok)
            return no_memory(err);
    }
    return answer(w, q, err) < 0 || find_kinds(w, q, err) < 0 ? -1 : load_found(w, q, err);
}

int load_peek(struct work *w, struct op *const ops[], size_t n, bool *ret_unknown, struct err *err)
{
    CLEANUP(questions_deinit) struct question q[N_BYS];
    questions_init(q);
    for (size_t i = 0; i < n; i++)
        if (!ops[i]->creates && !ask_thing(w, q, ops[i], &ops[i]->main))
            return no_memory(err);
    if (answer(w, q, err) < 0)
        return -1;
    *ret_unknown = false;
    for (size_t i = 0; i < n && !*ret_unknown; i++) {
        bool found = ops[i]->creates;
        for (int by = 0; by < N_BYS && !found; by++)
            for (size_t k = 0; k < q[by].n && !found; k++)
                found = q[by].asked[k].op == ops[i] && q[by].asked[k].found;
        *ret_unknown = !found;
    }
    return 0;
}

/* The owner that the operation will have, as far as the database knows it; NULL = none, or two. */
static struct entity *known_owner(const struct work *w, const struct thing *t)
{
    struct entity *owner = t->has_id ? work_by_id(w, t->kind, t->id) : NULL;
    for (size_t i = 0; i < t->n_refs && !owner; i++)
        owner = work_by_ref(w, t->kind, t->refs[i]);
    return owner;
}

enum { ANIMES, NUMBERS, NAME_ANIMES, NAMES, N_MEMBER_ARRAYS };

static void arrays_deinit(struct pg_array (*a)[N_MEMBER_ARRAYS])
{
    for (int i = 0; i < N_MEMBER_ARRAYS; i++)
        pg_array_deinit(&(*a)[i]);
}

/* Episodes of known anime by number, characters without id and reference by name. */
static int find_members(struct work *w, struct op *const ops[], size_t n, struct err *err)
{
    CLEANUP(arrays_deinit) struct pg_array a[N_MEMBER_ARRAYS];
    static const enum pg_array_kind array_kinds[] = {PG_UUIDS, PG_I32S, PG_UUIDS, PG_TEXTS};
    for (int i = 0; i < N_MEMBER_ARRAYS; i++)
        pg_array_init(&a[i], array_kinds[i], IDS_MAX);
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += ops[i]->n_members;
    struct asked *by[2] = {arena_array(w->arena, total, sizeof(**by)),
                           arena_array(w->arena, total, sizeof(**by))};
    if (total && (!by[0] || !by[1]))
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        struct entity *anime = known_owner(w, &ops[i]->main);
        for (size_t k = 0; anime && k < ops[i]->n_members; k++) {
            struct thing *t = &ops[i]->members[k];
            if (t->kind == KIND_EPISODE && !work_episode(w, anime->id, t->number)) {
                by[0][a[NUMBERS].n] = (struct asked){.thing = t};
                pg_array_uuid(&a[ANIMES], anime->id);
                pg_array_i64(&a[NUMBERS], t->number);
            } else if (t->kind == KIND_CHARACTER && !t->has_id && t->n_refs == 0 &&
                       !work_named(w, anime->id, t->name)) {
                by[1][a[NAMES].n] = (struct asked){.thing = t, .entity = anime->id};
                pg_array_uuid(&a[NAME_ANIMES], anime->id);
                pg_array_text(&a[NAMES], t->name);
            }
        }
    }
    if (a[NUMBERS].n + a[NAMES].n == 0)
        return 0;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param params[N_MEMBER_ARRAYS];
    for (int i = 0; i < N_MEMBER_ARRAYS; i++)
        params[i] = pg_array_param(&a[i]);
    if (pg_query(w->pg, &sql_resolve_members, params, N_MEMBER_ARRAYS, &r, err) < 0)
        return -1;
    int rows = PQntuples(r);
    struct uuid *ids = arena_array(w->arena, (size_t)rows, sizeof(*ids));
    if (rows && !ids)
        return no_memory(err);
    for (int kind = KIND_CHARACTER; kind <= KIND_EPISODE; kind++) {
        size_t found = 0;
        for (int row = 0; row < rows; row++)
            if ((pg_get_i64(r, row, 0) == 1) == (kind == KIND_CHARACTER))
                ids[found++] = pg_get_uuid(r, row, 2);
        if (load_ids(w, (enum entity_kind)kind, ids, found, err) < 0)
            return -1;
    }
    for (int row = 0; row < rows; row++) {
        if (pg_get_i64(r, row, 0) != 1)
            continue;
        const struct asked *asked = &by[1][pg_get_i64(r, row, 1) - 1];
        struct entity *e = work_by_id(w, KIND_CHARACTER, pg_get_uuid(r, row, 2));
        if (e && !work_put_name(w, asked->entity, asked->thing->name, e))
            return no_memory(err);
    }
    return 0;
}

/* Characters whose id would be made: it may be there already, under another name by now. */
static int find_made(struct work *w, struct op *const ops[], size_t n, struct err *err)
{
    size_t total = 0, made = 0;
    for (size_t i = 0; i < n; i++)
        total += ops[i]->n_members;
    struct uuid *ids = arena_array(w->arena, total, sizeof(*ids));
    if (total && !ids)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        struct entity *anime = known_owner(w, &ops[i]->main);
        for (size_t k = 0; k < ops[i]->n_members; k++) {
            const struct thing *t = &ops[i]->members[k];
            if (t->kind == KIND_CHARACTER && !t->has_id && !known_owner(w, t) &&
                (t->n_refs || (anime && !work_named(w, anime->id, t->name))))
                ids[made++] = made_character_id(t, anime ? anime->id : (struct uuid){0});
        }
    }
    return made ? load_ids(w, KIND_CHARACTER, ids, made, err) : 0;
}

/* Which characters play in which anime already: only a new pair is news. */
static int find_casts(struct work *w, struct op *const ops[], size_t n, struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += ops[i]->n_members;
    struct uuid(*pairs)[2] = arena_array(w->arena, total, sizeof(*pairs));
    if (total && !pairs)
        return no_memory(err);
    CLEANUP(pg_array_deinit) struct pg_array animes;
    CLEANUP(pg_array_deinit) struct pg_array characters;
    pg_array_init(&animes, PG_UUIDS, IDS_MAX);
    pg_array_init(&characters, PG_UUIDS, IDS_MAX);
    for (size_t i = 0; i < n; i++) {
        struct entity *anime = known_owner(w, &ops[i]->main);
        for (size_t k = 0; anime && k < ops[i]->n_members; k++) {
            const struct thing *t = &ops[i]->members[k];
            if (t->kind != KIND_CHARACTER)
                continue;
            struct entity *c = known_owner(w, t);
            if (!c && !t->has_id)
                c = t->n_refs ? NULL : work_named(w, anime->id, t->name);
            if (!c && !t->has_id)
                c = work_by_id(w, KIND_CHARACTER, made_character_id(t, anime->id));
            if (!c || work_has_cast(w, anime->id, c->id))
                continue;
            pairs[animes.n][0] = anime->id;
            pairs[animes.n][1] = c->id;
            pg_array_uuid(&animes, anime->id);
            pg_array_uuid(&characters, c->id);
        }
    }
    if (animes.n == 0)
        return 0;
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param params[] = {pg_array_param(&animes), pg_array_param(&characters)};
    if (pg_query(w->pg, &sql_load_cast, params, 2, &r, err) < 0)
        return -1;
    for (int row = 0; row < PQntuples(r); row++) {
        const struct uuid *pair = pairs[pg_get_i64(r, row, 0) - 1];
        if (!work_put_cast(w, pair[0], pair[1]))
            return no_memory(err);
    }
    return 0;
}

int load_ops(struct work *w, struct op *const ops[], size_t n, struct err *err)
{
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (!uuid_is_nil(ops[i]->merge_into) &&
            load_ids(w, KIND_ANIME, (struct uuid[]){ops[i]->main.id, ops[i]->merge_into}, 2, err) <
                0)
            return -1;
    if (find_owners(w, ops, n, err) < 0 || find_members(w, ops, n, err) < 0 ||
        find_made(w, ops, n, err) < 0)
        return -1;
    return find_casts(w, ops, n, err);
}
