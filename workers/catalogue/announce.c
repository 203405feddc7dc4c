/* See announce.h. Event ids are version 5 of the operation's event and the entity, so that an
 * attempt that is redone says the same again. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "workers/catalogue/announce.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/types.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "announce", "the batch's memory is spent");
}

int work_say(struct work *w, const struct op *op, struct entity *e, enum announcement_kind kind,
             uint64_t changed, const char *inherited, struct err *err)
{
    struct announcement *a = e->said;
    e->dirty = true;
    while (a && a->op != op) /* what follows for members comes after later operations */
        a = a->before;
    if (!a) {
        a = arena_zalloc(w->arena, sizeof(*a));
        if (!a)
            return no_memory(err);
        *a = (struct announcement){.entity = e, .op = op, .kind = kind, .before = e->said};
        if (!work_add(w, &w->announcements, a))
            return no_memory(err);
        e->said = a;
    }
    if (kind > a->kind)
        a->kind = kind;
    a->changed |= changed;
    if (inherited)
        a->inherited = inherited;
    return 0;
}

static size_t field_names(enum entity_kind kind, uint64_t changed, const char *inherited,
                          char **names)
{
    size_t n = 0;
    for (unsigned i = 0; i < kinds[kind].n_fields; i++)
        if (changed & field_bit((int)i))
            names[n++] = (char *)kinds[kind].fields[i].name;
    if (inherited)
        names[n++] = (char *)inherited;
    return n;
}

/* The five messages have their common fields under the same names. */
#define FILL(type, lower, id_field)                                                                \
    {                                                                                              \
        Echora__Events__V1__##type *m = arena_alloc(arena, sizeof(*m));                            \
        if (!m)                                                                                    \
            return no_memory(err);                                                                 \
        echora__events__v1__##lower##__init(m);                                                    \
        m->event_id = ids;                                                                         \
        m->timestamp = at;                                                                         \
        m->id_field = ids + UUID_TEXT;                                                             \
        m->revision = revision;                                                                    \
        ret->message = &m->base;                                                                   \
    }
#define FILL_SYNCED(type, lower, id_field)                                                         \
    FILL(type, lower, id_field)                                                                    \
    ((Echora__Events__V1__##type *)ret->message)->changed_fields = names;                          \
    ((Echora__Events__V1__##type *)ret->message)->n_changed_fields = n_names;

int announce_row(struct arena *arena, enum announcement_kind say, enum entity_kind kind,
                 struct uuid entity, int64_t revision, uint64_t changed, const char *inherited,
                 struct uuid event_id, struct outbox_row *ret, struct err *err)
{
    *ret = (struct outbox_row){.event_id = event_id, .entity_id = entity};
    char *ids = arena_alloc(arena, 2 * UUID_TEXT);
    Google__Protobuf__Timestamp *at = arena_alloc(arena, sizeof(*at));
    char **names = arena_array(arena, kinds[kind].n_fields + 1, sizeof(*names));
    if (!ids || !at || !names)
        return no_memory(err);
    uuid_format(event_id, ids);
    uuid_format(entity, ids + UUID_TEXT);
    int64_t now = wall_us();
    google__protobuf__timestamp__init(at);
    at->seconds = now / 1000000;
    at->nanos = (int32_t)(now % 1000000) * 1000;
    size_t n_names = field_names(kind, changed, inherited, names);
    if (kind == KIND_CHARACTER) {
        ret->def = registry_must("character.synced");
        FILL_SYNCED(CharacterSyncedEvent, character_synced_event, character_id);
    } else if (kind == KIND_EPISODE) {
        ret->def = registry_must("episode.synced");
        FILL_SYNCED(EpisodeSyncedEvent, episode_synced_event, episode_id);
    } else if (say == SAY_CREATED) {
        ret->def = registry_must("anime.created");
        FILL(AnimeCreatedEvent, anime_created_event, anime_id);
    } else if (say == SAY_DELETED) {
        ret->def = registry_must("anime.deleted");
        FILL(AnimeDeletedEvent, anime_deleted_event, anime_id);
    } else {
        ret->def = registry_must("anime.synced");
        FILL_SYNCED(AnimeSyncedEvent, anime_synced_event, anime_id);
    }
    return 0;
}

/* The event ids of what is said; the kind of entity keeps two entities of one UUID apart. What an
 * approval says is of the decision: the update itself may have said something of its safe fields.
 */
static struct uuid event_id_of(const struct announcement *a)
{
    uint8_t name[2 * sizeof(struct uuid) + 2];
    const struct op *op = a->op;
    memcpy(name, op->decision ? op->decision->id.b : op->clock.event.b, 16);
    memcpy(name + 16, a->entity->id.b, 16);
    name[32] = (uint8_t)a->entity->kind;
    name[33] = 'd'; /* whatever id a person's program has chosen for the decision */
    return uuid_v5(uuid_echora,
                   (struct view){(const char *)name, sizeof(name) - (op->decision ? 0 : 1)});
}

int announce_review(struct arena *arena, const struct parked *p, struct uuid anime,
                    struct uuid event_id, struct outbox_row *ret, struct err *err)
{
    struct bus_header *headers = arena_array(arena, 2, sizeof(*headers));
    char *id = arena_alloc(arena, UUID_TEXT);
    struct buf reasons;
    buf_init(&reasons, 4096);
    for (size_t i = 0; i < p->n_reasons; i++) {
        if (i)
            buf_putc(&reasons, ',');
        /* A publisher's reason is free text; a header is one line of plain characters. */
        for (const char *c = p->reason_list[i]; *c; c++)
            buf_putc(&reasons, (*c >= ' ' && *c != ',' && *c < 0x7f) ? *c : '-');
    }
    if (reasons.n == 0) /* an empty value makes older clients misread the header behind it */
        buf_puts(&reasons, "flagged");
    char *joined = reasons.n > 0 ? arena_strdup(arena, buf_view(&reasons)) : NULL;
    buf_deinit(&reasons);
    if (!headers || !id || !joined)
        return no_memory(err);
    uuid_format(p->review_id, id);
    headers[0] = (struct bus_header){"Echora-Review", id};
    headers[1] = (struct bus_header){"Echora-Risk", joined};
    *ret = (struct outbox_row){.def = registry_must("anime.updated"),
                               .event_id = event_id,
                               .entity_id = anime,
                               .message = p->copy,
                               .extra = headers,
                               .n_extra = 2};
    return 0;
}

static int parked_row(struct work *w, const struct parked *p, struct outbox_row *ret,
                      struct err *err)
{
    if (announce_review(w->arena, p, p->anime->id, p->review_id, ret, err) < 0)
        return -1;
    if (p->op->trace)
        ret->trace = *p->op->trace;
    return 0;
}

int announce_all(struct work *w, struct outbox *outbox, size_t *ret_rows, struct err *err)
{
    size_t n = 0;
    struct outbox_row *rows =
        arena_array(w->arena, w->announcements.n + w->parked.n + w->rows.n, sizeof(*rows));
    if (!rows && w->announcements.n + w->parked.n + w->rows.n)
        return no_memory(err);
    for (size_t i = 0; i < w->announcements.n; i++) {
        const struct announcement *a = w->announcements.p[i];
        if (a->kind == SAY_COVERED)
            continue;
        struct outbox_row *row = &rows[n++];
        if (announce_row(w->arena, a->kind, a->entity->kind, a->entity->id, a->revision, a->changed,
                         a->inherited, event_id_of(a), row, err) < 0)
            return -1;
        if (a->op->trace)
            row->trace = *a->op->trace;
    }
    for (size_t i = 0; i < w->parked.n; i++)
        if (parked_row(w, w->parked.p[i], &rows[n++], err) < 0)
            return -1;
    for (size_t i = 0; i < w->rows.n; i++)
        rows[n++] = *(const struct outbox_row *)w->rows.p[i];
    *ret_rows = n;
    return n && !FAULT("outbox-omitted") ? outbox_append(outbox, w->pg, rows, n, err) : 0;
}
