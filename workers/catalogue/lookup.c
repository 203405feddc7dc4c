/* catalog.revisions.list and catalog.xref.resolve: what others compare and connect by. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/sql.h"

typedef Echora__Catalog__V1__CatalogRevisionsRequest RevisionsRequest;
typedef Echora__Catalog__V1__CatalogRevisionsReply RevisionsReply;
typedef Echora__Catalog__V1__CatalogRevision Revision;
typedef Echora__Catalog__V1__CatalogXrefRequest XrefRequest;
typedef Echora__Catalog__V1__CatalogXrefReply XrefReply;
typedef Echora__Catalog__V1__CatalogXrefReply__IdsEntry XrefEntry;

enum { MOST_REVISIONS = 10000, DEFAULT_REVISIONS = 1000, MOST_REFS = 1000 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "read catalogue",
                   "the answer does not fit the arena");
}

int answer_revisions_list(void *context, const struct request *request,
                          ProtobufCMessage **ret_reply, struct err *err)
{
    struct catalogue *catalogue = context;
    const RevisionsRequest *asked = (const RevisionsRequest *)request->message;
    static const struct pg_statement *const statements[N_KINDS] = {
        [KIND_ANIME] = &sql_revisions_anime,
        [KIND_CHARACTER] = &sql_revisions_character,
        [KIND_EPISODE] = &sql_revisions_episode,
    };
    const struct kind *kind;
    if (request_kind(asked->kind, &kind, err) < 0)
        return -1;
    if (asked->limit < 0 || asked->limit > MOST_REVISIONS)
        return err_set(err, ERR_REJECT, "out-of-range", "read request", "limit: 1 to %d",
                       MOST_REVISIONS);
    struct uuid after = {{0}};
    if (asked->after_id[0] && !uuid_parse(view_of(asked->after_id), &after))
        return err_set(err, ERR_REJECT, "bad-uuid", "read request", "after_id is no UUID");

    const struct pg_param params[] = {pg_uuid(after),
                                      pg_i32(asked->limit ? asked->limit : DEFAULT_REVISIONS)};
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(catalogue->pg, statements[kind->kind], params, ARRAY_LEN(params), &rows, err) < 0)
        return -1;
    int n = PQntuples(rows);
    RevisionsReply *reply = (RevisionsReply *)message_new(
        &echora__catalog__v1__catalog_revisions_reply__descriptor, request->arena);
    Revision **list = arena_array(request->arena, (size_t)n, sizeof(*list));
    if (!reply || (n && !list))
        return no_memory(err);
    for (int row = 0; row < n; row++) {
        Revision *r = (Revision *)message_new(&echora__catalog__v1__catalog_revision__descriptor,
                                              request->arena);
        if (!r || !(r->id = request_uuid_text(request->arena, pg_get_uuid(rows, row, 0))))
            return no_memory(err);
        r->revision = pg_get_i64(rows, row, 1);
        r->deleted = pg_get_bool(rows, row, 2);
        list[row] = r;
    }
    reply->revisions = list;
    reply->n_revisions = (size_t)n;
    *ret_reply = &reply->base;
    return 0;
}

int answer_xref_resolve(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                        struct err *err)
{
    struct catalogue *catalogue = context;
    const XrefRequest *asked = (const XrefRequest *)request->message;
    if (asked->n_refs == 0 || asked->n_refs > MOST_REFS)
        return err_set(err, ERR_REJECT, "out-of-range", "read request", "refs: 1 to %d", MOST_REFS);
    struct pg_array refs;
    pg_array_init(&refs, PG_TEXTS, 1 << 20);
    for (size_t i = 0; i < asked->n_refs; i++)
        pg_array_text(&refs, view_of(asked->refs[i]));
    struct pg_param param = pg_array_param(&refs);
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    int rc = pg_query(catalogue->pg, &sql_resolve_refs, &param, 1, &rows, err);
    pg_array_deinit(&refs);
    if (rc < 0)
        return -1;
    int n = PQntuples(rows);
    XrefReply *reply = (XrefReply *)message_new(
        &echora__catalog__v1__catalog_xref_reply__descriptor, request->arena);
    XrefEntry **list = arena_array(request->arena, (size_t)n, sizeof(*list));
    if (!reply || (n && !list))
        return no_memory(err);
    for (int row = 0; row < n; row++) {
        XrefEntry *entry = (XrefEntry *)message_new(
            &echora__catalog__v1__catalog_xref_reply__ids_entry__descriptor, request->arena);
        if (!entry || !(entry->key = arena_strdup(request->arena, pg_get_text(rows, row, 0))) ||
            !(entry->value = request_uuid_text(request->arena, pg_get_uuid(rows, row, 1))))
            return no_memory(err);
        list[row] = entry;
    }
    reply->ids = list;
    reply->n_ids = (size_t)n;
    *ret_reply = &reply->base;
    return 0;
}
