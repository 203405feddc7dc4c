/* From documents to points: read what is there, plan, embed, write, read back.
 *
 * A round that leaves something open is repeated with what was read back: a payload write that met
 * other vectors does nothing and becomes an upsert in the next round. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/fault.h"
#include "events/metrics.h"
#include "workers/qdrant/target.h"

enum { ROUNDS_MAX = 4 };

static const struct metric_def points_def = {
    "echora_qdrant_points_total", METRIC_COUNTER,
    "Points looked at, by what was written: upsert, payload, tombstone or nothing.", "action",
    NULL};
static const struct metric_def pending_def = {
    "echora_qdrant_pending_total", METRIC_COUNTER,
    "Points written without a dense vector because the embedding provider was out.", "", NULL};

static const struct metric_def owed_def = {
    "echora_qdrant_vectors_owed", METRIC_GAUGE,
    "1 from the first point written without its dense vector until a look finds none any more.", "",
    NULL};

void sync_tell_owed(bool owed)
{
    metric_set(metric_series(&owed_def, NULL), owed ? 1 : 0);
}

static void count_action(enum plan_action action, size_t n)
{
    static const char *const names[] = {[PLAN_NOTHING] = "nothing",
                                        [PLAN_TOMBSTONE] = "tombstone",
                                        [PLAN_PAYLOAD] = "payload",
                                        [PLAN_UPSERT] = "upsert"};
    if (n)
        metric_add(metric_series(&points_def, (const char *[]){names[action]}), (double)n);
}

/* Reads the marks of all that is open. */
static int read_marks(struct sync *s, struct target targets[], size_t n, struct err *err)
{
    struct uuid ids[SOURCE_IDS_MAX];
    struct stored marks[SOURCE_IDS_MAX];
    size_t at[SOURCE_IDS_MAX], open = 0;
    for (size_t i = 0; i < n && open < SOURCE_IDS_MAX; i++) {
        if (targets[i].open) {
            at[open] = i;
            ids[open++] = s->items.list[targets[i].item].id;
        }
    }
    if (open == 0)
        return 0;
    if (qdrant_read_marks(s->qdrant, ids, open, marks, err) < 0)
        return -1;
    for (size_t i = 0; i < open; i++)
        targets[at[i]].have = marks[i];
    return 0;
}

static void settle(struct sync *s, struct target *t)
{
    t->open = false;
    s->items.list[t->item].settled = true;
}

/* Closes what is as it should be, plans the rest; how many there are to write. */
static size_t plan_round(struct sync *s, struct target targets[], size_t n, bool first)
{
    size_t to_write = 0, counts[PLAN_UPSERT + 1] = {0};
    for (size_t i = 0; i < n; i++) {
        struct target *t = &targets[i];
        if (!t->open)
            continue;
        const struct item *item = &s->items.list[t->item];
        struct plan plan = plan_point(&t->want, &t->have, item->repair);
        bool good = plan_settled(&t->want, &t->have) || (!first && FAULT("read-back-omitted"));
        if (plan.action == PLAN_NOTHING || (good && !(first && item->repair))) {
            counts[PLAN_NOTHING] += first;
            settle(s, t);
            continue;
        }
        counts[plan.action]++;
        to_write++;
        t->write = (struct point_write){.action = plan.action,
                                        .or_equal = plan.or_equal,
                                        .absent = !t->have.present,
                                        .kind = item->kind,
                                        .id = item->id,
                                        .rev = t->want.rev,
                                        .doc = t->want.deleted ? NULL : &t->doc,
                                        .emb = t->want.deleted ? "" : t->want.emb,
                                        .trace = item->trace};
    }
    for (enum plan_action a = PLAN_NOTHING; a <= PLAN_UPSERT; a++)
        count_action(a, counts[a]);
    return to_write;
}

/* Dense vectors for the upserts; those that can't be had now are written as pending. */
static int embed_round(struct sync *s, struct target targets[], size_t n, struct err *err)
{
    const struct document *docs[SOURCE_IDS_MAX];
    struct point_write *writes[SOURCE_IDS_MAX];
    bool done[SOURCE_IDS_MAX];
    size_t n_docs = 0, dimension = embedder_dimension(s->embedder), pending = 0;
    for (size_t i = 0; i < n; i++) {
        if (targets[i].open && targets[i].write.action == PLAN_UPSERT) {
            docs[n_docs] = targets[i].write.doc;
            writes[n_docs++] = &targets[i].write;
        }
    }
    struct err why = ERR_INIT;
    if (n_docs && embed_documents(s->embedder, docs, n_docs, s->vectors, done, &why) < 0 &&
        why.class != ERR_UNAVAILABLE && why.class != ERR_REJECT) {
        *err = why;
        return -1;
    }
    for (size_t i = 0; i < n_docs; i++) {
        if (!done[i]) {
            writes[i]->emb = EMB_PENDING;
            pending++;
        } else if (dimension) {
            writes[i]->vector = s->vectors + i * dimension;
        }
    }
    if (pending && why.class == ERR_UNAVAILABLE && s->owed)
        atomic_store(s->owed, true);
    if (pending) {
        sync_tell_owed(true);
        metric_add(metric_series(&pending_def, NULL), (double)pending);
    }
    return 0;
}

typedef int send_fn(struct writer *w, struct point_write *const writes[], size_t n,
                    struct err *err);

/* Every point's write shows in its own trace; the request itself carries the first one. */
static int send_traced(struct sync *s, struct point_write *const writes[], size_t n, send_fn *send,
                       const char *name, struct err *err)
{
    struct span *spans = arena_array(s->arena, n, sizeof(*spans));
    for (size_t i = 0; spans && i < n; i++)
        span_start(&spans[i], writes[i]->trace, SPAN_CLIENT, name);
    const struct trace_context *before = trace_set_current(spans ? &spans[0].context : NULL);
    int rc = send(s->writer, writes, n, err);
    trace_set_current(before);
    for (size_t i = 0; spans && i < n; i++) {
        const struct err *own = writes[i]->err.class != ERR_NONE ? &writes[i]->err : NULL;
        span_end(&spans[i], rc < 0 ? err : own);
    }
    return rc;
}

static int write_round(struct sync *s, struct target targets[], size_t n, struct err *err)
{
    struct point_write *upserts[SOURCE_IDS_MAX], *payloads[SOURCE_IDS_MAX];
    size_t n_upserts = 0, n_payloads = 0;
    for (size_t i = 0; i < n; i++) {
        if (!targets[i].open)
            continue;
        if (targets[i].write.action == PLAN_PAYLOAD)
            payloads[n_payloads++] = &targets[i].write;
        else
            upserts[n_upserts++] = &targets[i].write;
    }
    if (n_upserts && send_traced(s, upserts, n_upserts, writer_upsert, "qdrant upsert", err) < 0)
        return -1;
    if (n_payloads &&
        send_traced(s, payloads, n_payloads, writer_payload, "qdrant payload", err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct target *t = &targets[i];
        if (t->open && t->write.err.class != ERR_NONE) {
            s->items.list[t->item].err = t->write.err;
            t->open = false;
        }
    }
    return 0;
}

int targets_apply(struct sync *s, struct target targets[], size_t n, struct err *err)
{
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        if (read_marks(s, targets, n, err) < 0)
            return -1;
        if (plan_round(s, targets, n, round == 0) == 0)
            return 0;
        if (embed_round(s, targets, n, err) < 0)
            return -1;
        KILL_POINT("after-embed");
        if (write_round(s, targets, n, err) < 0)
            return -1;
        KILL_POINT("after-upsert");
    }
    if (read_marks(s, targets, n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (!targets[i].open)
            continue;
        if (plan_settled(&targets[i].want, &targets[i].have))
            settle(s, &targets[i]);
        else
            err_set_dep(&s->items.list[targets[i].item].err, ERR_UNAVAILABLE, DEP_QDRANT,
                        "not-settled", "read back", "the point does not hold what was written");
    }
    return 0;
}
