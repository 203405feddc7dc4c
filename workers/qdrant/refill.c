// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/refill.h"

#include "events/base/fault.h"
#include "workers/qdrant/reconcile.h"

struct row {
    struct uuid id;
    int64_t rev;
    bool deleted;
};

static int read_rows(struct sync *s, struct arena *arena, enum doc_kind kind,
                     const struct uuid *after, struct row rows[static SOURCE_IDS_MAX],
                     size_t *ret_n, bool *ret_more, struct err *err)
{
    const RevisionsReply *reply;
    size_t n = 0;
    arena_reset(arena);
    if (source_revisions(&s->source, kind, after, SOURCE_IDS_MAX, arena, &reply, err) < 0)
        return -1;
    for (size_t i = 0; i < reply->n_revisions && n < SOURCE_IDS_MAX; i++) {
        struct row *row = &rows[n];
        row->rev = reply->revisions[i]->revision;
        row->deleted = reply->revisions[i]->deleted;
        n += uuid_parse(view_of(reply->revisions[i]->id), &row->id);
    }
    *ret_more = reply->n_revisions >= SOURCE_IDS_MAX;
    *ret_n = n;
    if (*ret_more && (n == 0 || (after && uuid_cmp(rows[n - 1].id, *after) <= 0)))
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", "fill collection",
                           "a page of revisions does not lie behind the one before");
    return 0;
}

int refill_page(struct sync *s, struct arena *arena, enum doc_kind kind, const struct uuid *after,
                struct refill_page *ret, struct err *err)
{
    struct row rows[SOURCE_IDS_MAX];
    struct uuid ids[SOURCE_IDS_MAX], wanted[SOURCE_IDS_MAX];
    struct stored have[SOURCE_IDS_MAX];
    size_t n = 0, n_wanted = 0;
    *ret = (struct refill_page){0};
    if (read_rows(s, arena, kind, after, rows, &n, &ret->more, err) < 0)
        return -1;
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        ids[i] = rows[i].id;
    if (qdrant_read_marks(s->qdrant, ids, n, have, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (drift_of(true, rows[i].rev, rows[i].deleted, &have[i]) != DRIFT_NONE)
            wanted[n_wanted++] = ids[i];
    }
    ret->seen = n;
    ret->last = ids[n - 1];
    ret->written = n_wanted;
    if (sync_entities(s, kind, wanted, n_wanted, &ret->refused, err) < 0)
        return -1;
    KILL_POINT("refill-page");
    return 0;
}
