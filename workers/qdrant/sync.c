// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/sync.h"

#include <stdlib.h>

#include "contracts/field.h"
#include "workers/qdrant/target.h"

enum { ARENA_MAX = 64 << 20 };

int sync_init(struct sync *s, struct err *err)
{
    size_t dimension = embedder_dimension(s->embedder);
    items_init(&s->items);
    s->arena = arena_new(ARENA_MAX);
    s->writer = writer_new(s->qdrant, dimension);
    s->vectors = calloc(s->step * (dimension ? dimension : 1), sizeof(*s->vectors));
    if (s->arena && s->writer && s->vectors)
        return 0;
    sync_deinit(s);
    return err_set(err, ERR_RETRY, "no-memory", "open sync", "no memory");
}

void sync_deinit(struct sync *s)
{
    items_deinit(&s->items);
    s->arena = arena_free(s->arena);
    s->writer = writer_free(s->writer);
    free(s->vectors);
    s->vectors = NULL;
}

static int64_t revision_of(const ProtobufCMessage *message)
{
    const ProtobufCFieldDescriptor *field =
        field_by_name(message->descriptor, VIEW_LIT("revision"));
    return field ? *(const int64_t *)((const char *)message + field->offset) : 0;
}

static int gather(struct sync *s, const struct batch *batch, size_t at, struct err *err)
{
    const struct event *event = &batch->events[at];
    struct view subject = view_of(event->def->subject);
    struct item item = {.kind = doc_kind_of(view_of(event->def->entity_kind)),
                        .least_rev = revision_of(event->message),
                        .repair = event_header(event, "Echora-Repair") != NULL,
                        .covers =
                            view_is(subject, "anime.created") || view_is(subject, "anime.deleted"),
                        .trace = &event->trace};
    if (item.kind == N_DOC_KINDS || !uuid_parse(event->entity_id, &item.id))
        return err_set(err, ERR_REJECT, "bad-uuid", "gather entities",
                       "the event names no entity of the index");
    /* In the middle of a batch it takes a row's place, and the relay, which asks for few
     * acknowledgements, can't see it (pipeline.h). */
    if (event_header(event, "Echora-Position") == NULL)
        return err_set(err, ERR_REJECT, "foreign-message", "gather entities",
                       "the message is not the relay's");
    size_t index;
    return items_add(&s->items, &item, at, &index, err);
}

/* What the catalogue did not get to in its reply stays for the next one. */
static size_t keep_unread(const CatalogReply *reply, struct uuid ids[])
{
    size_t n = 0;
    for (size_t i = 0; i < reply->n_unread; i++) {
        struct uuid id;
        if (uuid_parse(view_of(reply->unread[i]), &id))
            ids[n++] = id;
    }
    return n;
}

/* Nothing that was ever published is unknown to the catalogue, unless it went back in time. */
static void note_missing(struct sync *s, enum doc_kind kind, const CatalogReply *reply)
{
    for (size_t i = 0; i < reply->n_missing; i++) {
        struct uuid id;
        size_t at = uuid_parse(view_of(reply->missing[i]), &id) ? items_find(&s->items, kind, id)
                                                                : s->items.n;
        if (at < s->items.n)
            err_set_dep(&s->items.list[at].err, ERR_RETRY, DEP_CATALOGUE, "stale-read",
                        "read committed state", "the catalogue does not know the entity");
    }
}

/* Asks for the first *n entities. An answer that is refused (a document that fits no reply) says
 * not for whom: the first one is asked for alone, and when it is to blame the error is its own and
 * *ret NULL. */
static int read_committed(struct sync *s, enum doc_kind kind, const struct uuid ids[], size_t *n,
                          const CatalogReply **ret, struct err *err)
{
    for (;; *n = 1) {
        const struct source_query query = {.kind = kind, .ids = ids, .n = *n};
        *ret = NULL;
        arena_reset(s->arena);
        if (source_get(&s->source, &query, s->arena, ret, err) == 0)
            return 0;
        if (err->class != ERR_REJECT)
            return -1;
        if (*n == 1) {
            size_t at = items_find(&s->items, kind, ids[0]);
            if (at < s->items.n)
                s->items.list[at].err = *err;
            return 0;
        }
    }
}

/* What the reply answers for; *ret_unread of the ids, now the first ones, it does not. */
static int apply_reply(struct sync *s, enum doc_kind kind, const CatalogReply *reply,
                       struct target targets[], struct uuid ids[], size_t n, size_t *ret_unread,
                       struct err *err)
{
    size_t n_targets = 0;
    note_missing(s, kind, reply);
    if (targets_make(s, kind, reply, targets, &n_targets, err) < 0 ||
        targets_apply(s, targets, n_targets, err) < 0)
        return -1;
    if (reply->n_unread >= n)
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", "read committed state",
                           "the reply leaves more unread than was asked for");
    *ret_unread = keep_unread(reply, ids);
    return 0;
}

static int run_step(struct sync *s, enum doc_kind kind, struct uuid ids[], size_t n,
                    struct err *err)
{
    struct target *targets = calloc(n, sizeof(*targets));
    if (!targets)
        return err_set(err, ERR_RETRY, "no-memory", "sync", "no memory");
    int rc = 0;
    for (size_t left = n; rc == 0 && left > 0;) {
        size_t asked = left, unread = 0;
        const CatalogReply *reply;
        rc = read_committed(s, kind, ids, &asked, &reply, err);
        if (rc == 0 && reply)
            rc = apply_reply(s, kind, reply, targets, ids, asked, &unread, err);
        left -= asked;
        memmove(ids + unread, ids + asked, left * sizeof(*ids));
        left += unread;
    }
    free(targets);
    return rc;
}

/* Anime first: they bring their characters and episodes along. */
static int run_kind(struct sync *s, enum doc_kind kind, struct err *err)
{
    struct uuid ids[SOURCE_IDS_MAX];
    for (size_t at = 0; at < s->items.n;) {
        size_t n = 0;
        for (; at < s->items.n && n < s->step; at++) {
            if (s->items.list[at].kind == kind)
                ids[n++] = s->items.list[at].id;
        }
        if (n > 0 && run_step(s, kind, ids, n, err) < 0)
            return -1;
    }
    return 0;
}

void sync_batch(struct sync *s, struct batch *batch)
{
    struct err rest = ERR_INIT;
    items_reset(&s->items);
    for (size_t i = 0; i < batch->n; i++) {
        struct err err = ERR_INIT;
        if (gather(s, batch, i, &err) < 0)
            batch->verdicts[i] = verdict_of_err(&err);
    }
    int rc = 0;
    for (enum doc_kind kind = DOC_ANIME; rc == 0 && kind < N_DOC_KINDS; kind++)
        rc = run_kind(s, kind, &rest);
    if (rc == 0) /* for what a fault of ours left open */
        err_set(&rest, ERR_RETRY, "not-settled", "sync", "the point was not written");
    for (size_t i = 0; i < batch->n; i++) {
        struct err err = ERR_INIT;
        if (batch->verdicts[i].kind != VERDICT_UNSET)
            continue;
        if (items_worst(&s->items, i, &rest, &err))
            batch->verdicts[i] = verdict_of_err(&err);
        else
            batch->verdicts[i] = (struct verdict){.kind = VERDICT_DONE};
    }
    items_reset(&s->items); /* its traces live no longer than the batch */
}
