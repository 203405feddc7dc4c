// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/source.h"

typedef Echora__Catalog__V1__CatalogGetRequest GetRequest;
typedef Echora__Catalog__V1__CatalogRevisionsRequest RevisionsRequest;
typedef Echora__Catalog__V1__CatalogEnqueueRequest EnqueueRequest;
typedef Echora__Catalog__V1__CatalogEnqueueReply EnqueueReply;

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "ask the catalogue", "arena is full");
}

static char **texts_of(const struct uuid ids[], size_t n, struct arena *arena)
{
    char **texts = arena_array(arena, n ? n : 1, sizeof(*texts));
    for (size_t i = 0; texts && i < n; i++) {
        texts[i] = arena_alloc(arena, UUID_TEXT);
        if (!texts[i])
            return NULL;
        uuid_format(ids[i], texts[i]);
    }
    return texts;
}

int source_get(const struct source *s, const struct source_query *query, struct arena *arena,
               const CatalogReply **ret, struct err *err)
{
    static const char *const subjects[N_DOC_KINDS] = {"catalog.anime.get", "catalog.character.get",
                                                      "catalog.episode.get"};
    GetRequest request = ECHORA__CATALOG__V1__CATALOG_GET_REQUEST__INIT;
    request.ids = texts_of(query->ids, query->n, arena);
    if (!request.ids)
        return no_memory(err);
    request.n_ids = query->n;
    request.include_deleted = query->field == NULL;
    request.revisions_only = query->revisions_only;
    char *fields[1] = {(char *)query->field};
    if (query->field) {
        request.fields = fields;
        request.n_fields = 1;
    }
    if (query->cursor)
        request.members_cursor = (char *)query->cursor;
    ProtobufCMessage *reply;
    if (bus_call(s->bus, subjects[query->kind], &request.base,
                 &echora__catalog__v1__catalog_get_reply__descriptor, s->timeout_ms, arena, &reply,
                 err) < 0)
        return -1;
    const CatalogReply *got = (const CatalogReply *)reply;
    if (got->n_entries + got->n_missing == 0)
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", subjects[query->kind],
                           "the reply answers for none of the ids");
    if (got->n_entries > query->n || got->n_unread > query->n)
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", subjects[query->kind],
                           "the reply answers for more ids than were asked for");
    *ret = got;
    return 0;
}

int source_revisions(const struct source *s, enum doc_kind kind, const struct uuid *after,
                     int32_t limit, struct arena *arena, const RevisionsReply **ret,
                     struct err *err)
{
    RevisionsRequest request = ECHORA__CATALOG__V1__CATALOG_REVISIONS_REQUEST__INIT;
    char after_text[UUID_TEXT] = "";
    if (after)
        uuid_format(*after, after_text);
    request.kind = (char *)doc_kind_name(kind);
    request.after_id = after_text;
    request.limit = limit;
    ProtobufCMessage *reply;
    if (bus_call(s->bus, "catalog.revisions.list", &request.base,
                 &echora__catalog__v1__catalog_revisions_reply__descriptor, s->timeout_ms, arena,
                 &reply, err) < 0)
        return -1;
    *ret = (const RevisionsReply *)reply;
    return 0;
}

int source_enqueue(const struct source *s, enum doc_kind kind, const struct uuid ids[], size_t n,
                   struct arena *arena, int64_t *ret_rows, struct err *err)
{
    EnqueueRequest request = ECHORA__CATALOG__V1__CATALOG_ENQUEUE_REQUEST__INIT;
    request.kind = (char *)doc_kind_name(kind);
    request.ids = texts_of(ids, n, arena);
    if (!request.ids)
        return no_memory(err);
    request.n_ids = n;
    request.repair = true;
    ProtobufCMessage *reply;
    if (bus_call(s->bus, "catalog.outbox.enqueue", &request.base,
                 &echora__catalog__v1__catalog_enqueue_reply__descriptor, s->timeout_ms, arena,
                 &reply, err) < 0)
        return -1;
    *ret_rows = ((const EnqueueReply *)reply)->rows;
    return 0;
}

const ProtobufCMessage *source_content(enum doc_kind kind, const CatalogEntry *entry)
{
    switch (kind) {
    case DOC_ANIME:
        return entry->anime ? &entry->anime->base : NULL;
    case DOC_CHARACTER:
        return entry->character ? &entry->character->base : NULL;
    case DOC_EPISODE:
        return entry->episode ? &entry->episode->base : NULL;
    case N_DOC_KINDS:
        break;
    }
    return NULL;
}
