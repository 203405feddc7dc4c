// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/reconcile.h"

#include <stdlib.h>

#include "events/base/fault.h"

enum { PAGE = 1000, BODY_MAX = 8 << 10, CONFIRM_MAX = SOURCE_IDS_MAX };

struct mark {
    struct uuid id;
    struct stored have;
};

/* One side of the merge: the ids of the index, a page at a time. */
struct index_side {
    struct mark marks[PAGE];
    size_t n, at;
    bool last;
    struct uuid next;
};

struct catalogue_side {
    struct {
        struct uuid id;
        int64_t rev;
        bool deleted;
    } rows[PAGE];
    size_t n, at;
    bool last, started;
    struct uuid after;
};

struct merging {
    const struct reconcile *r;
    enum doc_kind kind;
    const struct id_range *range;
    bool repair;
    struct drift *drift;
    struct index_side index;
    struct catalogue_side catalogue;
    struct uuid suspects[CONFIRM_MAX];
    size_t n_suspects;
};

enum drift_kind drift_of(bool known, int64_t rev, bool deleted, const struct stored *have)
{
    bool living = have->present && !have->deleted;
    if (!known || deleted)
        return living ? DRIFT_SURPLUS : DRIFT_NONE;
    if (!living)
        return DRIFT_MISSING;
    if (!have->has_rev || have->rev < rev)
        return DRIFT_STALE;
    if (have->rev > rev)
        return DRIFT_SURPLUS;
    return strcmp(have->emb, EMB_PENDING) == 0 && !FAULT("pending-forgotten") ? DRIFT_PENDING
                                                                              : DRIFT_NONE;
}

static void put_scroll(struct buf *b, enum doc_kind kind, const struct uuid *from)
{
    buf_printf(b,
               "{\"limit\":%d,\"with_payload\":[\"rev\",\"emb\",\"deleted\"],\"with_vector\":"
               "false,\"filter\":{\"must\":[{\"key\":\"entity_type\",\"match\":{\"value\":\"%s\"}"
               "}]}",
               PAGE, doc_kind_name(kind));
    if (from) {
        char text[UUID_TEXT];
        uuid_format(*from, text);
        buf_printf(b, ",\"offset\":\"%s\"", text);
    }
    buf_putc(b, '}');
}

static bool past_end(const struct merging *m, struct uuid id)
{
    return m->range->has_to && uuid_cmp(id, m->range->to) > 0;
}

static int go_on(const struct merging *m, int64_t pause_ms, struct err *err)
{
    if (!m->r->pause || m->r->pause(m->r->pause_ctx, pause_ms))
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "stopping", "reconcile", "the worker is stopping");
}

static int take_points(struct merging *m, const json_t *result, const struct uuid *from,
                       struct err *err)
{
    struct index_side *side = &m->index;
    const json_t *points = json_object_get(result, "points");
    int more = qdrant_next_page(result, from, &side->next, err);
    if (more < 0)
        return -1;
    side->n = side->at = 0;
    side->last = more == 0;
    for (size_t i = 0; i < json_array_size(points) && side->n < PAGE; i++) {
        const json_t *point = json_array_get(points, i);
        const char *text = json_string_value(json_object_get(point, "id"));
        struct mark *mark = &side->marks[side->n];
        if (!text || !uuid_parse(view_of(text), &mark->id))
            continue;
        if (past_end(m, mark->id)) {
            side->last = true;
            break;
        }
        stored_of_payload(json_object_get(point, "payload"), &mark->have);
        side->n++;
    }
    return 0;
}

static int load_index(struct merging *m, bool first, struct err *err)
{
    const struct uuid *from =
        first ? (m->range->has_from ? &m->range->from : NULL) : &m->index.next;
    struct buf body;
    json_t *result = NULL;
    if (go_on(m, 0, err) < 0)
        return -1;
    buf_init(&body, BODY_MAX);
    put_scroll(&body, m->kind, from);
    int rc = buf_failed(&body) ? buf_error(&body, "reconcile", "the request", err)
                               : qdrant_scroll(m->r->qdrant, buf_view(&body), &result, err);
    buf_deinit(&body);
    if (rc < 0)
        return -1;
    rc = take_points(m, result, from, err);
    json_decref(result);
    return rc;
}

/* The id before: revisions.list takes an exclusive start. false for the nil id. */
static bool id_before(struct uuid *id)
{
    for (int i = (int)sizeof(id->b) - 1; i >= 0; i--) {
        if (id->b[i]-- > 0)
            return true;
    }
    return false;
}

static int load_catalogue(struct merging *m, struct err *err)
{
    struct catalogue_side *side = &m->catalogue;
    const RevisionsReply *reply;
    struct uuid start = m->range->from;
    const struct uuid *after = side->started ? &side->after : NULL;
    if (!side->started && m->range->has_from && id_before(&start))
        after = &start;
    if (go_on(m, 0, err) < 0)
        return -1;
    arena_reset(m->r->arena);
    if (source_revisions(&m->r->source, m->kind, after, PAGE, m->r->arena, &reply, err) < 0)
        return -1;
    const bool first = !side->started;
    const struct uuid before = side->after;
    side->started = true;
    side->n = side->at = 0;
    side->last = reply->n_revisions < PAGE;
    for (size_t i = 0; i < reply->n_revisions && side->n < PAGE; i++) {
        struct uuid id;
        if (!uuid_parse(view_of(reply->revisions[i]->id), &id))
            continue;
        side->after = id;
        if (past_end(m, id)) {
            side->last = true;
            break;
        }
        side->rows[side->n].id = id;
        side->rows[side->n].rev = reply->revisions[i]->revision;
        side->rows[side->n++].deleted = reply->revisions[i]->deleted;
    }
    if (!side->last && (side->n == 0 || (!first && uuid_cmp(side->after, before) <= 0)))
        return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", "reconcile",
                           "a page of revisions does not lie behind the one before");
    return 0;
}

/* --- the second look --- */

static void count(struct merging *m, enum drift_kind drift)
{
    switch (drift) {
    case DRIFT_MISSING:
        m->drift->missing++;
        break;
    case DRIFT_STALE:
        m->drift->stale++;
        break;
    case DRIFT_SURPLUS:
        m->drift->surplus++;
        break;
    case DRIFT_PENDING:
        m->drift->pending++;
        break;
    case DRIFT_NONE:
        break;
    }
}

static const CatalogEntry *entry_of(const CatalogReply *reply, struct uuid id)
{
    for (size_t i = 0; i < reply->n_entries; i++) {
        struct uuid got;
        if (uuid_parse(view_of(reply->entries[i]->id), &got) && uuid_cmp(got, id) == 0)
            return reply->entries[i];
    }
    return NULL;
}

static bool is_unread(const CatalogReply *reply, struct uuid id)
{
    for (size_t i = 0; i < reply->n_unread; i++) {
        struct uuid got;
        if (uuid_parse(view_of(reply->unread[i]), &got) && uuid_cmp(got, id) == 0)
            return true;
    }
    return false;
}

/* An alias is no entity of its own. */
static bool is_own(const CatalogEntry *entry)
{
    return !entry->canonical_id || !entry->canonical_id[0] ||
           strcasecmp(entry->canonical_id, entry->id) == 0;
}

/* What the rate allows for a second at once, then the pause. */
static int enqueue(struct merging *m, const struct uuid ids[], size_t n, struct err *err)
{
    size_t most = m->r->rate > 0 && (uint64_t)m->r->rate < n ? (size_t)m->r->rate : n;
    for (size_t at = 0; m->repair && at < n; at += most) {
        size_t size = n - at < most ? n - at : most;
        int64_t rows = 0;
        if (source_enqueue(&m->r->source, m->kind, ids + at, size, m->r->arena, &rows, err) < 0)
            return -1;
        m->drift->enqueued += rows;
        if (m->r->rate > 0 && go_on(m, (int64_t)size * 1000 / m->r->rate, err) < 0)
            return -1;
    }
    return 0;
}

static int confirm(struct merging *m, struct err *err)
{
    struct stored have[CONFIRM_MAX];
    struct uuid bad[CONFIRM_MAX];
    while (m->n_suspects > 0) {
        const CatalogReply *reply;
        const struct source_query query = {
            .kind = m->kind, .ids = m->suspects, .n = m->n_suspects, .revisions_only = true};
        size_t n_bad = 0, left = 0;
        arena_reset(m->r->arena);
        if (source_get(&m->r->source, &query, m->r->arena, &reply, err) < 0 ||
            qdrant_read_marks(m->r->qdrant, m->suspects, m->n_suspects, have, err) < 0)
            return -1;
        for (size_t i = 0; i < m->n_suspects; i++) {
            struct uuid id = m->suspects[i];
            const CatalogEntry *entry = entry_of(reply, id);
            if (!entry && is_unread(reply, id)) {
                m->suspects[left++] = id;
                continue;
            }
            bool known = entry && is_own(entry);
            enum drift_kind drift =
                drift_of(known, known ? entry->revision : 0, known && entry->deleted, &have[i]);
            count(m, drift);
            if (drift != DRIFT_NONE)
                bad[n_bad++] = id;
        }
        if (left >= m->n_suspects)
            return err_set_dep(err, ERR_RETRY, DEP_CATALOGUE, "bad-reply", "reconcile",
                               "the reply leaves everything unread");
        m->n_suspects = left;
        if (enqueue(m, bad, n_bad, err) < 0)
            return -1;
    }
    return 0;
}

static int suspect(struct merging *m, struct uuid id, struct err *err)
{
    m->suspects[m->n_suspects++] = id;
    return m->n_suspects == CONFIRM_MAX ? confirm(m, err) : 0;
}

/* --- the merge --- */

static int merge_step(struct merging *m, struct err *err)
{
    static const struct stored absent = {0};
    struct index_side *index = &m->index;
    struct catalogue_side *catalogue = &m->catalogue;
    bool has_row = catalogue->at < catalogue->n, has_mark = index->at < index->n;
    int order = !has_row ? 1
                : !has_mark
                    ? -1
                    : uuid_cmp(catalogue->rows[catalogue->at].id, index->marks[index->at].id);
    struct uuid id = order <= 0 ? catalogue->rows[catalogue->at].id : index->marks[index->at].id;
    const struct stored *have = order >= 0 ? &index->marks[index->at].have : &absent;
    bool known = order <= 0;
    int64_t rev = known ? catalogue->rows[catalogue->at].rev : 0;
    bool deleted = known && catalogue->rows[catalogue->at].deleted;
    m->drift->compared += known && !deleted;
    bool differs = drift_of(known, rev, deleted, have) != DRIFT_NONE;
    catalogue->at += order <= 0;
    index->at += order >= 0;
    return differs ? suspect(m, id, err) : 0;
}

static int merge(struct merging *m, struct err *err)
{
    if (load_index(m, true, err) < 0 || load_catalogue(m, err) < 0)
        return -1;
    for (;;) {
        if (m->index.at == m->index.n && !m->index.last) {
            if (load_index(m, false, err) < 0)
                return -1;
            continue;
        }
        if (m->catalogue.at == m->catalogue.n && !m->catalogue.last) {
            if (load_catalogue(m, err) < 0)
                return -1;
            continue;
        }
        if (m->index.at == m->index.n && m->catalogue.at == m->catalogue.n)
            return confirm(m, err);
        if (merge_step(m, err) < 0)
            return -1;
    }
}

int reconcile_kind(const struct reconcile *r, enum doc_kind kind, const struct id_range *range,
                   bool repair, struct drift *drift, struct err *err)
{
    struct merging *m = calloc(1, sizeof(*m));
    if (!m)
        return err_set(err, ERR_RETRY, "no-memory", "reconcile", "no memory");
    m->r = r;
    m->kind = kind;
    m->range = range;
    m->repair = repair;
    m->drift = drift;
    int rc = merge(m, err);
    free(m);
    return rc;
}
