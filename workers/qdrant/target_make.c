/* From the catalogue's reply to documents.
 *
 * Children inherit nsfw. It is read after the children themselves: a later flip raises their
 * revisions, so what is written under a revision is never older than it. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "events/base/fault.h"
#include "workers/qdrant/target.h"

enum { MEMBER_PAGES_MAX = 4096 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "make documents", "arena is full");
}

/* --- members of an anime --- */

/* Those events that wait for the anime wait for the child, too. */
static int add_child(struct sync *s, size_t item, enum doc_kind kind, struct uuid id,
                     int64_t least_rev, struct err *err)
{
    const struct item child = {.kind = kind,
                               .id = id,
                               .least_rev = least_rev,
                               .repair = s->items.list[item].repair,
                               .trace = s->items.list[item].trace};
    size_t n_links = s->items.n_links;
    for (size_t i = 0; i < n_links; i++) {
        size_t index;
        if (s->items.links[i].item == item &&
            items_add(&s->items, &child, s->items.links[i].event, &index, err) < 0)
            return -1;
    }
    return 0;
}

static int add_member(struct sync *s, size_t item, const CatalogEntry *member, struct err *err)
{
    struct uuid id;
    if (!uuid_parse(view_of(member->canonical_id), &id))
        return 0;
    return add_child(s, item, member->episode ? DOC_EPISODE : DOC_CHARACTER, id, member->revision,
                     err);
}

struct orphaning {
    struct sync *s;
    size_t item;
};

static int add_orphan(void *ctx, enum doc_kind kind, struct uuid id, struct err *err)
{
    const struct orphaning *o = ctx;
    return kind == DOC_ANIME ? 0 : add_child(o->s, o->item, kind, id, 0, err);
}

static int read_members(struct sync *s, size_t item, const CatalogEntry *entry,
                        int64_t *ret_episodes, struct err *err)
{
    *ret_episodes = 0;
    for (unsigned pages = 0; pages < MEMBER_PAGES_MAX; pages++) {
        for (size_t i = 0; i < entry->n_members; i++) {
            const CatalogEntry *member = entry->members[i];
            *ret_episodes += member->episode && !member->deleted;
            if (s->items.list[item].covers && add_member(s, item, member, err) < 0)
                return -1;
        }
        if (!entry->next_members || !entry->next_members[0])
            return 0;
        const struct source_query query = {.kind = DOC_ANIME,
                                           .ids = &s->items.list[item].id,
                                           .n = 1,
                                           .revisions_only = true,
                                           .cursor = entry->next_members};
        const CatalogReply *reply;
        if (source_get(&s->source, &query, s->arena, &reply, err) < 0)
            return -1;
        if (reply->n_entries == 0) /* deleted between two pages: its event is on the way */
            return 0;
        entry = reply->entries[0];
    }
    return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", "read members",
                       "the pages of members come to no end");
}

/* --- inherited nsfw --- */

struct id_set {
    struct uuid *ids;
    size_t n;
};

static int compare_ids(const void *a, const void *b)
{
    return uuid_cmp(*(const struct uuid *)a, *(const struct uuid *)b);
}

static void sort_unique(struct id_set *set)
{
    size_t n = 0;
    if (set->n)
        qsort(set->ids, set->n, sizeof(*set->ids), compare_ids);
    for (size_t i = 0; i < set->n; i++) {
        if (n == 0 || uuid_cmp(set->ids[n - 1], set->ids[i]) != 0)
            set->ids[n++] = set->ids[i];
    }
    set->n = n;
}

static int gather_anime(const CatalogReply *reply, struct arena *arena, struct id_set *set,
                        struct err *err)
{
    size_t most = 0;
    for (size_t i = 0; i < reply->n_entries; i++)
        most += reply->entries[i]->n_anime_ids;
    set->ids = arena_array(arena, most ? most : 1, sizeof(*set->ids));
    set->n = 0;
    if (!set->ids)
        return no_memory(err);
    for (size_t i = 0; i < reply->n_entries; i++) {
        for (size_t k = 0; k < reply->entries[i]->n_anime_ids; k++)
            set->n += uuid_parse(view_of(reply->entries[i]->anime_ids[k]), &set->ids[set->n]);
    }
    sort_unique(set);
    return 0;
}

static bool is_nsfw(const CatalogEntry *entry)
{
    return entry->anime && entry->anime->_nsfw_case && entry->anime->nsfw;
}

/* Leaves in the set those that are alive and not safe for work. */
static int keep_nsfw(struct sync *s, struct id_set *set, struct err *err)
{
    struct id_set kept = {.ids = arena_array(s->arena, set->n ? set->n : 1, sizeof(struct uuid))};
    if (!kept.ids)
        return no_memory(err);
    for (size_t at = 0; at < set->n;) {
        size_t n = set->n - at < SOURCE_IDS_MAX ? set->n - at : SOURCE_IDS_MAX;
        const struct source_query query = {
            .kind = DOC_ANIME, .ids = set->ids + at, .n = n, .field = "nsfw"};
        const CatalogReply *reply;
        if (source_get(&s->source, &query, s->arena, &reply, err) < 0)
            return -1;
        for (size_t i = 0; i < reply->n_entries && kept.n < set->n; i++) {
            if (is_nsfw(reply->entries[i]))
                kept.n += uuid_parse(view_of(reply->entries[i]->id), &kept.ids[kept.n]);
        }
        if (reply->n_unread >= n)
            return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", "read nsfw",
                               "the reply leaves everything unread");
        /* Unread ones take the place of those that were read, in front of the rest. */
        at += n - reply->n_unread;
        for (size_t i = 0; i < reply->n_unread; i++)
            (void)!uuid_parse(view_of(reply->unread[i]), &set->ids[at + i]);
    }
    sort_unique(&kept);
    *set = kept;
    return 0;
}

static bool inherits_nsfw(const CatalogEntry *entry, const struct id_set *nsfw)
{
    for (size_t i = 0; i < entry->n_anime_ids; i++) {
        struct uuid id;
        if (uuid_parse(view_of(entry->anime_ids[i]), &id) && nsfw->n &&
            bsearch(&id, nsfw->ids, nsfw->n, sizeof(id), compare_ids))
            return true;
    }
    return false;
}

/* --- targets --- */

/* The id that was asked for belongs to another entity now: its own point goes. */
static bool is_alias(const CatalogEntry *entry)
{
    return entry->canonical_id && entry->canonical_id[0] &&
           strcasecmp(entry->canonical_id, entry->id) != 0;
}

static int make_document(struct sync *s, const CatalogEntry *entry, const struct id_set *nsfw,
                         int64_t episodes, struct target *t, struct err *err)
{
    const struct item *item = &s->items.list[t->item];
    const struct doc_source source = {.kind = item->kind,
                                      .id = item->id,
                                      .revision = entry->revision,
                                      .content = source_content(item->kind, entry),
                                      .anime_ids = entry->anime_ids,
                                      .n_anime_ids = entry->n_anime_ids,
                                      .inherited_nsfw = inherits_nsfw(entry, nsfw),
                                      .episode_rows = episodes};
    if (!source.content)
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", "make documents",
                           "an entry without content");
    if (document_make(&source, s->arena, &t->doc, err) < 0)
        return -1;
    return document_emb(&t->doc, embedder_model(s->embedder), t->want.emb, err);
}

/* 1 = a target, 0 = none (the item has its error), -1 = the step fails. */
static int make_target(struct sync *s, enum doc_kind kind, const CatalogEntry *entry,
                       const struct id_set *nsfw, struct target *t, struct err *err)
{
    struct uuid id;
    *t = (struct target){.item = s->items.n, .open = true};
    if (uuid_parse(view_of(entry->id), &id))
        t->item = items_find(&s->items, kind, id);
    if (t->item >= s->items.n)
        return 0;
    int64_t episodes = 0;
    if (kind == DOC_ANIME && !is_alias(entry) &&
        read_members(s, t->item, entry, &episodes, err) < 0)
        return -1;
    if (is_alias(entry) && s->items.list[t->item].covers) {
        /* The catalogue answers for the survivor: the children are those that the index knows. */
        struct orphaning orphaning = {s, t->item};
        if (qdrant_children(s->qdrant, id, add_orphan, &orphaning, err) < 0)
            return -1;
    }
    struct item *item = &s->items.list[t->item];
    if (is_alias(entry)) {
        t->want = (struct committed){.rev = item->least_rev, .deleted = true};
        return 1;
    }
    if (entry->revision < item->least_rev && !FAULT("stale-reply-accepted")) {
        err_set_dep(&item->err, ERR_RETRY, DEP_CATALOGUE, "stale-read", "read committed state",
                    "the catalogue answered an older revision than the event's");
        return 0;
    }
    t->want = (struct committed){.rev = entry->revision, .deleted = entry->deleted};
    if (entry->deleted)
        return 1;
    if (make_document(s, entry, nsfw, episodes, t, err) == 0)
        return 1;
    if (err->class != ERR_REJECT)
        return -1;
    item->err = *err; /* this one only: its neighbours go on */
    return 0;
}

int targets_make(struct sync *s, enum doc_kind kind, const CatalogReply *reply,
                 struct target targets[], size_t *ret_n, struct err *err)
{
    struct id_set nsfw = {0};
    *ret_n = 0;
    if (kind != DOC_ANIME &&
        (gather_anime(reply, s->arena, &nsfw, err) < 0 || (nsfw.n && keep_nsfw(s, &nsfw, err) < 0)))
        return -1;
    for (size_t i = 0; i < reply->n_entries && *ret_n < s->step; i++) {
        int made = make_target(s, kind, reply->entries[i], &nsfw, &targets[*ret_n], err);
        if (made < 0)
            return -1;
        *ret_n += made > 0;
    }
    return 0;
}
