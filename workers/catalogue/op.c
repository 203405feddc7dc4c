/* See op.h. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "contracts/field.h"
#include "contracts/refs.h"
#include "events/base/clock.h"
#include "workers/catalogue/op.h"
#include "workers/catalogue/types.h"

typedef Echora__Events__V1__AnimeEnrichedEvent Enriched;
typedef Echora__Events__V1__AnimeUpdatedEvent Updated;
typedef Echora__Events__V1__EpisodeAiredEvent Aired;
typedef Echora__Events__V1__CharacterUpdatedEvent CharacterUpdated;
typedef Echora__Events__V1__EpisodeUpdatedEvent EpisodeUpdated;

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "read event", "the batch's memory is spent");
}

static int missing(struct err *err, const char *what)
{
    return err_set(err, ERR_REJECT, "missing-required", "read event", "%s is missing", what);
}

static int by_text(const void *a, const void *b)
{
    const struct view *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : (x->n > y->n) - (x->n < y->n);
}

/* A source that makes no reference, or one that several works share, identifies nothing; it stays
 * in the field as published. */
static int refs_of(struct thing *t, char *const sources[], size_t n, struct arena *arena,
                   struct err *err)
{
    struct view *refs = arena_array(arena, n, sizeof(*refs));
    if (n && !refs)
        return no_memory(err);
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        struct err bad = ERR_INIT;
        if (ref_from_source(view_of(sources[i]), arena, &refs[count], &bad) == 0)
            count += ref_names_one(refs[count]);
        else if (arena_overflowed(arena))
            return no_memory(err);
    }
    if (count)
        qsort(refs, count, sizeof(*refs), by_text);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !view_eq(refs[kept - 1], refs[i]))
            refs[kept++] = refs[i];
    t->refs = refs;
    t->n_refs = kept;
    return 0;
}

static int id_of(struct thing *t, const char *text, struct err *err)
{
    if (!text || !uuid_parse(view_of(text), &t->id))
        return err_set(err, ERR_REJECT, "bad-uuid", "read event", "the %s id is no UUID",
                       kinds[t->kind].name);
    t->has_id = true;
    return 0;
}

static const char *role_of(const Character *c, struct uuid anime)
{
    static const size_t prefix = sizeof("CHARACTER_ROLE_") - 1;
    if (c->n_roles == 0)
        return "UNSPECIFIED";
    size_t at = 0;
    for (size_t i = 0; i < c->n_anime_ids && i < c->n_roles; i++) {
        struct uuid id;
        if (uuid_parse(view_of(c->anime_ids[i]), &id) && uuid_cmp(id, anime) == 0)
            at = i;
    }
    const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
        &echora__catalog__v1__character_role__descriptor, (int)c->roles[at]);
    return v ? v->name + prefix : "UNKNOWN";
}

static int character_of(struct thing *t, const Character *c, struct arena *arena, struct err *err)
{
    *t = (struct thing){.kind = KIND_CHARACTER, .message = &c->base, .name = view_of(c->name)};
    if (c->_id_case && c->id[0])
        t->has_id = uuid_parse(view_of(c->id), &t->id);
    return refs_of(t, c->sources, c->n_sources, arena, err);
}

static int episode_of(struct thing *t, const Episode *e, struct arena *arena, struct err *err)
{
    *t = (struct thing){.kind = KIND_EPISODE, .message = &e->base, .number = e->episode_number};
    if (e->_id_case && e->id[0])
        t->has_id = uuid_parse(view_of(e->id), &t->id);
    return refs_of(t, e->sources, e->n_sources, arena, err);
}

static int enriched(struct op *op, const Enriched *m, struct arena *arena, struct err *err)
{
    op->main = (struct thing){.kind = KIND_ANIME};
    op->creates = op->sets_existence = true;
    if (id_of(&op->main, m->anime_id, err) < 0)
        return -1;
    if (!m->anime)
        return missing(err, "anime");
    op->main.message = &m->anime->base;
    op->main.mask = merge_mask_present(&kinds[KIND_ANIME], &m->anime->base);
    if (refs_of(&op->main, m->anime->sources, m->anime->n_sources, arena, err) < 0)
        return -1;
    op->members = arena_array(arena, m->n_characters + m->n_episodes, sizeof(*op->members));
    if (!op->members && m->n_characters + m->n_episodes)
        return no_memory(err);
    for (size_t i = 0; i < m->n_characters; i++) {
        struct thing *t = &op->members[op->n_members++];
        if (character_of(t, m->characters[i], arena, err) < 0)
            return -1;
        t->mask = merge_mask_present(&kinds[KIND_CHARACTER], t->message);
        t->role = role_of(m->characters[i], op->main.id);
        t->billing = (int32_t)i;
    }
    for (size_t i = 0; i < m->n_episodes; i++) {
        struct thing *t = &op->members[op->n_members++];
        if (episode_of(t, m->episodes[i], arena, err) < 0)
            return -1;
        t->mask = merge_mask_present(&kinds[KIND_EPISODE], t->message);
    }
    return 0;
}

/* A sparse event without its entity carries an empty one: what it lists is cleared. */
static const void *or_empty(const void *entity, enum entity_kind kind, struct arena *arena,
                            struct err *err)
{
    if (!entity)
        entity = message_new(kinds[kind].message, arena);
    if (!entity)
        (void)no_memory(err);
    return entity;
}

/* Of a sparse event only the references that it lists count. */
static int sparse(struct op *op, enum entity_kind kind, const char *id, const ProtobufCMessage *m,
                  char *const *fields, size_t n_fields, char *const *sources, size_t n_sources,
                  struct arena *arena, struct err *err)
{
    op->main = (struct thing){.kind = kind, .message = m};
    if (id_of(&op->main, id, err) < 0)
        return -1;
    op->main.mask = merge_mask_listed(&kinds[kind], fields, n_fields);
    if (!(op->main.mask & kind_bit(kind, "sources")))
        return 0;
    return refs_of(&op->main, sources, n_sources, arena, err);
}

static int updated(struct op *op, const Updated *m, struct arena *arena, struct err *err)
{
    op->judged = true;
    const Anime *a = or_empty(m->anime, KIND_ANIME, arena, err);
    if (!a)
        return -1;
    return sparse(op, KIND_ANIME, m->anime_id, &a->base, m->changed_fields, m->n_changed_fields,
                  a->sources, a->n_sources, arena, err);
}

static int character_updated(struct op *op, const CharacterUpdated *m, struct arena *arena,
                             struct err *err)
{
    const Character *c = or_empty(m->character, KIND_CHARACTER, arena, err);
    if (!c)
        return -1;
    return sparse(op, KIND_CHARACTER, m->character_id, &c->base, m->changed_fields,
                  m->n_changed_fields, c->sources, c->n_sources, arena, err);
}

static int episode_updated(struct op *op, const EpisodeUpdated *m, struct arena *arena,
                           struct err *err)
{
    const Episode *e = or_empty(m->episode, KIND_EPISODE, arena, err);
    if (!e)
        return -1;
    if (sparse(op, KIND_EPISODE, m->episode_id, &e->base, m->changed_fields, m->n_changed_fields,
               e->sources, e->n_sources, arena, err) < 0)
        return -1;
    /* The number is the episode's key: naming it is fine, changing it is not. */
    op->main.number = -1;
    for (size_t i = 0; i < m->n_changed_fields; i++)
        if (strcmp(m->changed_fields[i], "episode_number") == 0)
            op->main.number = e->episode_number;
    return 0;
}

static int aired(struct op *op, const Aired *m, struct arena *arena, struct err *err)
{
    op->main = (struct thing){.kind = KIND_ANIME};
    if (id_of(&op->main, m->anime_id, err) < 0)
        return -1;
    if (!m->episode)
        return missing(err, "episode");
    if (m->_status_case) {
        Anime *anime = (Anime *)message_new(kinds[KIND_ANIME].message, arena);
        if (!anime)
            return no_memory(err);
        anime->status = m->status;
        op->main.message = &anime->base;
        op->main.mask = kind_bit(KIND_ANIME, "status");
    }
    const Episode *e = m->episode;
    int64_t seconds;
    int32_t nanos;
    if (!e->_aired_case && m->aired_at && rfc3339_parse(view_of(m->aired_at), &seconds, &nanos)) {
        Episode *copy = arena_alloc(arena, sizeof(*copy));
        Google__Protobuf__Timestamp *at = arena_alloc(arena, sizeof(*at));
        if (!copy || !at)
            return no_memory(err);
        google__protobuf__timestamp__init(at);
        at->seconds = seconds;
        at->nanos = nanos;
        *copy = *e;
        copy->_aired_case = ECHORA__CATALOG__V1__EPISODE___AIRED_AIRED;
        copy->aired = at;
        e = copy;
    }
    op->members = arena_array(arena, 1, sizeof(*op->members));
    if (!op->members)
        return no_memory(err);
    op->n_members = 1;
    if (episode_of(op->members, e, arena, err) < 0)
        return -1;
    op->members->mask = merge_mask_present(&kinds[KIND_EPISODE], op->members->message);
    return 0;
}

int op_init(struct op *op, const struct subject_def *def, const ProtobufCMessage *event,
            struct arena *arena, struct err *err)
{
    *op = (struct op){.def = def, .event = event};
    struct envelope envelope;
    envelope_read(def, event, &envelope);
    op->clock.time_us = envelope.time_us;
    if (!uuid_parse(envelope.event_id, &op->clock.event))
        return err_set(err, ERR_REJECT, "bad-uuid", "read event", "event_id is no UUID");
    if (!envelope.has_time)
        return missing(err, "timestamp");
    const char *type = def->message->name;
    if (def->message == &echora__events__v1__anime_enriched_event__descriptor)
        return enriched(op, (const Enriched *)event, arena, err);
    if (def->message == &echora__events__v1__anime_updated_event__descriptor)
        return updated(op, (const Updated *)event, arena, err);
    if (def->message == &echora__events__v1__episode_aired_event__descriptor)
        return aired(op, (const Aired *)event, arena, err);
    if (def->message == &echora__events__v1__character_updated_event__descriptor)
        return character_updated(op, (const CharacterUpdated *)event, arena, err);
    if (def->message == &echora__events__v1__episode_updated_event__descriptor)
        return episode_updated(op, (const EpisodeUpdated *)event, arena, err);
    return err_set(err, ERR_FATAL, "internal", "read event", "%s is not for this worker", type);
}

const char *outcome_name(enum op_outcome outcome)
{
    static const char *const names[] = {
        [OUTCOME_NONE] = "none",           [OUTCOME_APPLIED] = "applied",
        [OUTCOME_UNCHANGED] = "unchanged", [OUTCOME_PARKED] = "parked",
        [OUTCOME_PENDING] = "pending",     [OUTCOME_REJECTED] = "rejected",
    };
    return names[outcome];
}
