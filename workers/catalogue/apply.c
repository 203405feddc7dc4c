/* Applying one operation: find the owners of everything it speaks of, refuse it or go on, merge.
 *
 * Owners come first and can be taken back, so that a refused operation changes nothing; from the
 * first merge on nothing can fail but memory, which ends the whole attempt.
 *
 * Owners (spec catalog.md, "References"): the entity that the id or an alias names and those that
 * the references belong to; none = new, one = it, more = identity-conflict. An episode is owned
 * through its key (anime, number), and an id may name no other, nor a thing of another kind; a
 * reference that another episode has already is left there. A character without id and reference is
 * matched by its name within the anime. Ids that we make are version 5, so that the same event
 * makes the same ids again. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "contracts/field.h"
#include "events/base/fault.h"
#include "outbox/append.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/types.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "apply event", "the batch's memory is spent");
}

enum found { FOUND_NO_MEMORY = -1, FOUND, FOUND_CONFLICT /* op->err says why it is refused */ };

static enum found conflict(struct op *op, const char *what, struct uuid a, struct uuid b)
{
    char x[UUID_TEXT], y[UUID_TEXT];
    uuid_format(a, x);
    uuid_format(b, y);
    err_set(&op->err, ERR_REJECT, "identity-conflict", "find owner",
            "the %s belongs to %s and to %s: merge or detach, then replay", what, x, y);
    return FOUND_CONFLICT;
}

/* An id names one thing, whatever its kind: the index has one point for it. */
static enum found check_kind(struct work *w, struct op *op, const struct thing *t)
{
    if (!t->has_id || work_by_id(w, t->kind, t->id) || FAULT("kinds-unchecked"))
        return FOUND;
    const struct kind *other = work_other_kind(w, t->kind, t->id);
    if (!other)
        return FOUND;
    char id[UUID_TEXT];
    uuid_format(t->id, id);
    err_set(&op->err, ERR_REJECT, "identity-conflict", "find owner",
            "the %s's id %s is the id of another kind of thing, %s", kinds[t->kind].name, id,
            other->name);
    return FOUND_CONFLICT;
}

/* The one owner of id and references in *ret, NULL = nobody. */
static enum found owner_of(struct work *w, struct op *op, const struct thing *t,
                           struct entity **ret)
{
    struct entity *owner = t->has_id ? work_by_id(w, t->kind, t->id) : NULL;
    for (size_t i = 0; i < t->n_refs && t->kind != KIND_EPISODE; i++) {
        struct entity *other = work_by_ref(w, t->kind, t->refs[i]);
        if (other && owner && other != owner)
            return conflict(op, kinds[t->kind].name, owner->id, other->id);
        owner = other ? other : owner;
    }
    *ret = owner;
    return FOUND;
}

static struct entity *make(struct work *w, enum entity_kind kind, struct uuid id)
{
    struct err ignored;
    struct entity *e = arena_zalloc(w->arena, sizeof(*e));
    if (!e || fields_init(&e->f, &kinds[kind], w->arena, &ignored) < 0)
        return NULL;
    e->kind = kind;
    e->id = id;
    e->dirty = true;
    if (!work_add(w, &w->entities, e) || !work_put_id(w, kind, id, e))
        return NULL;
    return e;
}

static enum found add_refs(struct work *w, const struct thing *t, struct entity *e)
{
    for (size_t i = 0; i < t->n_refs; i++) {
        if (work_by_ref(w, t->kind, t->refs[i]))
            continue;
        struct new_ref *r = arena_alloc(w->arena, sizeof(*r));
        if (!r)
            return FOUND_NO_MEMORY;
        *r = (struct new_ref){t->refs[i], e};
        if (!work_add(w, &w->refs, r) || !work_put_ref(w, t->kind, r->ref, e))
            return FOUND_NO_MEMORY;
    }
    return FOUND;
}

static enum found add_alias(struct work *w, const struct thing *t, struct entity *e)
{
    if (!t->has_id || work_by_id(w, t->kind, t->id) == e || FAULT("alias-forgotten"))
        return FOUND;
    struct new_alias *a = arena_alloc(w->arena, sizeof(*a));
    if (!a)
        return FOUND_NO_MEMORY;
    *a = (struct new_alias){t->id, e};
    return work_add(w, &w->aliases, a) && work_put_id(w, t->kind, t->id, e) ? FOUND
                                                                            : FOUND_NO_MEMORY;
}

/* Id, references and entity of the thing belong together from here on. */
static enum found settle(struct work *w, struct thing *t, struct entity *e)
{
    t->entity = e;
    enum found f = add_alias(w, t, e);
    return f == FOUND ? add_refs(w, t, e) : f;
}

static struct uuid made_id(const char *what, struct uuid anime, const char *rest, size_t n)
{
    char text[640], id[UUID_TEXT];
    uuid_format(anime, id);
    int length =
        snprintf(text, sizeof(text), "%s:%s:%.*s", what, id, (int)(n < 560 ? n : 560), rest);
    return uuid_v5(uuid_echora, (struct view){text, (size_t)length});
}

struct uuid made_character_id(const struct thing *t, struct uuid anime)
{
    if (t->n_refs == 0)
        return made_id("character", anime, t->name.p, t->name.n);
    char text[640];
    int n = snprintf(text, sizeof(text), "character:%.*s", VIEW_ARG(t->refs[0]));
    return uuid_v5(uuid_echora, (struct view){text, (size_t)n});
}

static enum found find_character(struct work *w, struct op *op, struct thing *t,
                                 struct entity *anime)
{
    struct entity *e;
    enum found f = owner_of(w, op, t, &e);
    if (f != FOUND)
        return f;
    if (!e && !t->has_id && t->n_refs == 0)
        e = work_named(w, anime->id, t->name);
    if (!e) {
        struct uuid id = t->has_id ? t->id : made_character_id(t, anime->id);
        e = work_by_id(w, KIND_CHARACTER, id);
        if (!e)
            e = make(w, KIND_CHARACTER, id);
        if (!e)
            return FOUND_NO_MEMORY;
    }
    if (!work_named(w, anime->id, t->name) && !work_put_name(w, anime->id, t->name, e))
        return FOUND_NO_MEMORY;
    return settle(w, t, e);
}

static enum found find_episode(struct work *w, struct op *op, struct thing *t, struct entity *anime)
{
    struct entity *e = work_episode(w, anime->id, t->number);
    struct entity *named = t->has_id ? work_by_id(w, KIND_EPISODE, t->id) : NULL;
    if (named && named != e)
        return conflict(op, "episode", named->id, e ? e->id : anime->id);
    if (!e) {
        char number[16];
        int n = snprintf(number, sizeof(number), "%d", t->number);
        struct uuid id = t->has_id ? t->id : made_id("episode", anime->id, number, (size_t)n);
        e = make(w, KIND_EPISODE, id);
        if (!e || !work_put_episode(w, anime->id, t->number, e))
            return FOUND_NO_MEMORY;
        e->anime_id = anime->id;
        e->number = t->number;
        ((Episode *)e->f.message)->episode_number = t->number;
    }
    return settle(w, t, e);
}

/* What a person agreed to was a change of a living anime that bore this id. */
static enum found check_approvable(struct op *op, const struct entity *e)
{
    if (FAULT("approval-of-the-gone"))
        return FOUND;
    if (uuid_cmp(op->main.id, e->id) != 0) {
        char id[UUID_TEXT];
        uuid_format(e->id, id);
        err_set(&op->err, ERR_REJECT, "anime-merged", "approve",
                "the anime was merged into %s since: reject it, and update that one if need be",
                id);
        return FOUND_CONFLICT;
    }
    if (e->f.deleted) {
        err_set(&op->err, ERR_REJECT, "anime-deleted", "approve",
                "the anime was deleted since: restore it first, or reject the update");
        return FOUND_CONFLICT;
    }
    return FOUND;
}

/* What a request demands of the entity that it names, beside its owners. */
static enum found check_demands(struct work *w, struct op *op, const struct entity *e)
{
    if (op->expected_revision && e->revision != op->expected_revision) {
        err_set(&op->err, ERR_REJECT, "revision-conflict", "change existence",
                "the anime stands at another revision than expected");
        return FOUND_CONFLICT;
    }
    if (op->deleted && uuid_cmp(op->main.id, e->id) != 0) {
        char id[UUID_TEXT];
        uuid_format(e->id, id);
        err_set(&op->err, ERR_REJECT, "alias", "change existence",
                "the id is an alias; the anime's own id is %s", id);
        return FOUND_CONFLICT;
    }
    if (op->sets_existence && !op->consumer && e->f.deleted != op->deleted &&
        clock_cmp(op->clock, fields_existence_clock(&e->f)) <= 0) {
        err_set(&op->err, ERR_REJECT, "superseded", "change existence",
                "a newer event or request has settled whether the anime exists");
        return FOUND_CONFLICT;
    }
    if (op->decision && op->decision->approves)
        return check_approvable(op, e);
    if (uuid_is_nil(op->merge_into))
        return FOUND;
    const struct entity *survivor = work_by_id(w, KIND_ANIME, op->merge_into);
    if (!survivor || survivor == e || survivor->f.deleted) {
        err_set(&op->err, ERR_REJECT, "bad-survivor", "change existence",
                "merge_into names no other living anime");
        return FOUND_CONFLICT;
    }
    return FOUND;
}

static enum found find_owners(struct work *w, struct op *op)
{
    struct thing *main = &op->main;
    main->entity = NULL;
    struct entity *e;
    enum found f = check_kind(w, op, main);
    if (f == FOUND)
        f = owner_of(w, op, main, &e);
    if (f != FOUND)
        return f;
    if (!e && !op->creates)
        return FOUND;
    if (!e)
        e = make(w, main->kind, main->id);
    if (!e)
        return FOUND_NO_MEMORY;
    if (main->kind == KIND_EPISODE && main->number >= 0 && main->number != e->number)
        return conflict(op, "episode number", e->id, e->anime_id);
    f = settle(w, main, e);
    if (f == FOUND)
        f = check_demands(w, op, e);
    for (size_t i = 0; i < op->n_members && f == FOUND; i++) {
        struct thing *t = &op->members[i];
        f = check_kind(w, op, t);
        if (f == FOUND)
            f = t->kind == KIND_CHARACTER ? find_character(w, op, t, e) : find_episode(w, op, t, e);
    }
    return f;
}

static int follow(struct work *w, enum follow_kind kind, struct entity *anime, const struct op *op,
                  struct err *err)
{
    struct follow *f = arena_alloc(w->arena, sizeof(*f));
    if (!f)
        return no_memory(err);
    *f = (struct follow){kind, anime, op};
    return work_add(w, &w->follows, f) ? 0 : no_memory(err);
}

int work_exist(struct work *w, struct op *op, struct entity *anime, bool made, struct err *err)
{
    struct merged merged = {0};
    bool changed = merge_existence(&anime->f, op->deleted, op->clock, &merged);
    anime->dirty |= merged.moved;
    if (made) /* nobody has seen it before; a tombstone is still news to the index */
        return work_say(w, op, anime, anime->f.deleted ? SAY_DELETED : SAY_CREATED, 0, NULL, err);
    if (!changed)
        return 0;
    if (work_say(w, op, anime, op->deleted ? SAY_DELETED : SAY_CREATED, 0, NULL, err) < 0)
        return -1;
    return follow(w, op->deleted ? FOLLOW_DELETED : FOLLOW_REVIVED, anime, op, err);
}

/* Id and references go to the survivor: what comes for either finds it from here on, also an update
 * that has waited for the id. */
static int merge_away(struct work *w, struct op *op, struct entity *e, struct err *err)
{
    struct entity *survivor = work_by_id(w, KIND_ANIME, op->merge_into);
    e->merged_into = survivor->id;
    e->dirty = true;
    struct new_alias *a = arena_alloc(w->arena, sizeof(*a));
    if (!a)
        return no_memory(err);
    *a = (struct new_alias){e->id, survivor};
    return work_add(w, &w->aliases, a) && work_add(w, &w->merges, e) &&
                   work_put_id(w, KIND_ANIME, e->id, survivor)
               ? 0
               : no_memory(err);
}

/* The count that the search document carries. */
static int32_t shown_count(const struct entity *anime)
{
    int32_t published = ((const Anime *)anime->f.message)->episode_count;
    return published > anime->episode_rows ? published : anime->episode_rows;
}

static bool shown_nsfw(const struct entity *anime)
{
    const Anime *a = (const Anime *)anime->f.message;
    return a->_nsfw_case && a->nsfw;
}

static const char *const projected[] = {"related_anime", "related_source_material", "licensors",
                                        "producers", "studios"};

static int merge_main(struct work *w, struct op *op, uint64_t mask, bool made, struct err *err)
{
    struct entity *e = op->main.entity;
    struct merged merged = {0};
    bool nsfw = e->kind == KIND_ANIME && shown_nsfw(e);
    if (op->main.message)
        merge_fields(&e->f, op->main.message, mask, op->clock, &merged);
    e->dirty |= merged.moved;
    e->reviews_due |= merged.set;
    if (!merged.changed)
        return 0;
    if (e->kind == KIND_ANIME) {
        for (size_t i = 0; i < ARRAY_LEN(projected); i++)
            e->replaced |= merged.changed & kind_bit(KIND_ANIME, projected[i]);
        e->replaced_at = op->clock;
    }
    if (work_say(w, op, e, SAY_SYNCED, merged.changed, NULL, err) < 0)
        return -1;
    if (e->kind == KIND_ANIME && !made && nsfw != shown_nsfw(e))
        return follow(w, FOLLOW_NSFW, e, op, err);
    return 0;
}

static int add_cast(struct work *w, struct op *op, const struct thing *t, bool *ret_new,
                    struct err *err)
{
    struct uuid anime = op->main.entity->id, character = t->entity->id;
    *ret_new = !work_has_cast(w, anime, character);
    struct cast *c = arena_alloc(w->arena, sizeof(*c));
    if (!c)
        return no_memory(err);
    *c = (struct cast){op->main.entity, t->entity, t->role, t->billing, op->clock};
    if (!work_add(w, &w->casts, c) || !work_put_cast(w, anime, character))
        return no_memory(err);
    return 0;
}

/* A member of an anime that is announced as created needs no row of its own. */
static int merge_member(struct work *w, struct op *op, struct thing *t, struct err *err)
{
    struct entity *e = t->entity;
    bool made = !e->in_db && !e->said, joined = false;
    struct merged merged = {0};
    merge_fields(&e->f, t->message, t->mask, op->clock, &merged);
    e->dirty |= merged.moved;
    if (t->kind == KIND_CHARACTER && add_cast(w, op, t, &joined, err) < 0)
        return -1;
    if (t->kind == KIND_EPISODE && made) {
        op->main.entity->episode_rows++;
        op->main.entity->dirty = true;
    }
    if (!made && !merged.changed && !joined)
        return 0;
    const struct announcement *said = op->main.entity->said;
    bool covered = said && said->op == op && said->kind == SAY_CREATED;
    return work_say(w, op, e, covered ? SAY_COVERED : SAY_SYNCED, merged.changed,
                    joined && !made ? "anime_ids" : NULL, err);
}

/* A publisher's reasons are free text of any length; so much of them is kept. */
enum { FLAG_REASONS = 16, FLAG_REASON_BYTES = 200 };

static char *short_reason(struct arena *arena, const char *text)
{
    size_t n = strlen(text);
    if (n > FLAG_REASON_BYTES)
        for (n = FLAG_REASON_BYTES; n > 0 && (text[n] & 0xc0) == 0x80;)
            n--; /* not within a character */
    return arena_strdup(arena, (struct view){text, n});
}

/* What the writer found, then what the publisher says; false when memory is out. */
static bool put_reasons(struct arena *arena, const struct op *op, const struct risk *risk,
                        Echora__Events__V1__AnimeUpdatedEvent *copy)
{
    char *const *said = copy->risk_reasons;
    const char *flag = op->risk_flag ? op->risk_flag : "flagged";
    size_t n_said = copy->n_risk_reasons < FLAG_REASONS ? copy->n_risk_reasons : FLAG_REASONS;
    char **reasons = arena_array(arena, risk->n + n_said + 1, sizeof(*reasons));
    size_t n = 0;
    if (!reasons)
        return false;
    for (unsigned i = 0; i < risk->n; i++)
        reasons[n++] = arena_strdup(arena, view_of(risk->reasons[i]));
    for (size_t i = 0; i < n_said; i++)
        reasons[n++] = short_reason(arena, said[i]);
    if (n == 0)
        reasons[n++] = short_reason(arena, flag);
    copy->risk_reasons = reasons;
    copy->n_risk_reasons = n;
    return !arena_overflowed(arena);
}

static enum found too_large(struct op *op, size_t n)
{
    err_set(&op->err, ERR_REJECT, "too-large", "park",
            "the flagged copy of %zu bytes does not fit the stream (%d)", n, OUTBOX_PAYLOAD_MAX);
    return FOUND_CONFLICT;
}

/* The flagged copy: the same update, of the parked fields, with an id of its own. */
static enum found park(struct work *w, struct op *op, uint64_t fields, const struct risk *risk)
{
    const Echora__Events__V1__AnimeUpdatedEvent *original =
        (const Echora__Events__V1__AnimeUpdatedEvent *)op->event;
    struct parked *p = arena_zalloc(w->arena, sizeof(*p));
    Echora__Events__V1__AnimeUpdatedEvent *copy = arena_alloc(w->arena, sizeof(*copy));
    char *ids = arena_alloc(w->arena, 2 * UUID_TEXT);
    const struct kind *kind = &kinds[KIND_ANIME];
    char **names = arena_array(w->arena, kind->n_fields, sizeof(*names));
    if (!p || !copy || !ids || !names)
        return FOUND_NO_MEMORY;
    *p = (struct parked){.op = op, .anime = op->main.entity, .fields = fields, .copy = &copy->base};
    uuid_format(op->clock.event, ids);
    char name[UUID_TEXT + 8];
    int n = snprintf(name, sizeof(name), "%s:review", ids);
    p->review_id = uuid_v5(uuid_echora, (struct view){name, (size_t)n});
    *copy = *original;
    uuid_format(p->review_id, ids);
    uuid_format(p->anime->id, ids + UUID_TEXT);
    copy->event_id = ids;
    copy->anime_id = ids + UUID_TEXT;
    copy->changed_fields = names;
    copy->n_changed_fields = 0;
    for (unsigned i = 0; i < kind->n_fields; i++)
        if (fields & field_bit((int)i))
            names[copy->n_changed_fields++] = (char *)kind->fields[i].name;
    if (!put_reasons(w->arena, op, risk, copy))
        return FOUND_NO_MEMORY;
    p->reason_list = (const char **)copy->risk_reasons;
    p->n_reasons = copy->n_risk_reasons;
    size_t n_bytes = protobuf_c_message_get_packed_size(&copy->base);
    if (n_bytes > OUTBOX_PAYLOAD_MAX)
        return too_large(op, n_bytes);
    op->outcome = OUTCOME_PARKED;
    p->anime->reviews_due |= fields;
    return work_add(w, &w->parked, p) ? FOUND : FOUND_NO_MEMORY;
}

/* References of sources that wait for a person belong to nobody yet. An operation that is judged
 * has no members: what it added is main's. */
static enum found forget_refs(struct work *w, struct work_mark mark)
{
    for (size_t i = mark.refs; i < w->refs.n; i++) {
        const struct new_ref *r = w->refs.p[i];
        if (!work_put_ref(w, KIND_ANIME, r->ref, NULL))
            return FOUND_NO_MEMORY;
    }
    w->refs.n = mark.refs;
    return FOUND;
}

/* Which fields of main are applied now; the others are parked. */
static enum found judge(struct work *w, struct op *op, struct work_mark mark, uint64_t *mask)
{
    const Echora__Events__V1__AnimeUpdatedEvent *m =
        (const Echora__Events__V1__AnimeUpdatedEvent *)op->event;
    bool flagged = m->n_risk_reasons > 0 || (op->risk_flag && op->risk_flag[0]);
    struct entity *e = op->main.entity;
    uint64_t changes = merge_would_change(&e->f, op->main.message, op->main.mask, op->clock);
    struct risk risk;
    risk_judge(w->limits, (const Anime *)e->f.message, (const Anime *)op->main.message, changes,
               &risk);
    uint64_t parked = flagged ? op->main.mask : risk.fields;
    if (!flagged && !parked)
        return FOUND;
    *mask &= ~parked;
    if (parked & kind_bit(KIND_ANIME, "sources") && !FAULT("parked-sources-known") &&
        forget_refs(w, mark) < 0)
        return FOUND_NO_MEMORY;
    return park(w, op, parked, &risk);
}

static int merge_all(struct work *w, struct op *op, uint64_t mask, struct err *err)
{
    struct entity *e = op->main.entity;
    bool made = !e->in_db && !e->said;
    int32_t count = e->kind == KIND_ANIME ? shown_count(e) : 0;
    size_t announced = w->announcements.n;
    if (op->sets_existence && work_exist(w, op, e, made, err) < 0)
        return -1;
    if (!uuid_is_nil(op->merge_into) && merge_away(w, op, e, err) < 0)
        return -1;
    if (merge_main(w, op, mask, made, err) < 0)
        return -1;
    for (size_t i = 0; i < op->n_members; i++)
        if (merge_member(w, op, &op->members[i], err) < 0)
            return -1;
    if (e->kind == KIND_ANIME && shown_count(e) != count &&
        work_say(w, op, e, SAY_SYNCED, kind_bit(KIND_ANIME, "episode_count"), NULL, err) < 0)
        return -1;
    if (op->outcome == OUTCOME_NONE)
        op->outcome = w->announcements.n > announced ? OUTCOME_APPLIED : OUTCOME_UNCHANGED;
    return 0;
}

int work_apply(struct work *w, struct op *op, struct err *err)
{
    op->outcome = OUTCOME_NONE;
    op->revision = 0;
    struct work_mark mark = work_record(w);
    uint64_t mask = op->main.mask;
    enum found f = find_owners(w, op);
    if (f == FOUND && op->judged && op->main.entity)
        f = judge(w, op, mark, &mask);
    if (f == FOUND_NO_MEMORY)
        return no_memory(err);
    if (f == FOUND_CONFLICT) {
        work_undo(w, mark);
        op->outcome = OUTCOME_REJECTED;
        return 0;
    }
    work_keep(w);
    if (!work_add(w, &w->ops, op))
        return no_memory(err);
    if (!op->main.entity) {
        op->outcome = OUTCOME_PENDING;
        return 0;
    }
    return merge_all(w, op, mask, err);
}
