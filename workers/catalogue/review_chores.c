/* See review_chores.h.
 *
 * The reminder is a flagged copy with an event id of its own, by which a receiver that has seen the
 * first copy takes it for news (webhooks are told apart by event id); catalog.review.get and decide
 * know a review by that id, too. It lists what is still open, has `reminder` among its reasons and
 * the header Echora-Review like the first one, so the writer skips it. Sent once: id and row are
 * committed together. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "contracts/wire.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "events/metrics.h"
#include "workers/catalogue/announce.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/review_chores.h"
#include "workers/catalogue/sql.h"
#include "workers/catalogue/types.h"

typedef Echora__Events__V1__AnimeUpdatedEvent Updated;

enum { DECODE_MAX = 256 << 20 };

/* Their names as review_count has them. */
static const struct metric_def failures_def = {
    "echora_catalogue_review_failures_total", METRIC_COUNTER,
    "Times that waiting risky updates could not be reminded of, or ended with their audit record "
    "(expired); tried again.",
    "outcome", NULL};
static const struct metric_def expire_def = {
    "echora_catalogue_review_expire_seconds", METRIC_GAUGE,
    "After this time a risky update that nobody has decided is discarded (review-expire).", "",
    NULL};

static void count_failure(const char *outcome, double n)
{
    metric_add(metric_series(&failures_def, (const char *const[]){outcome}), n);
}

void review_chores_init(int64_t expire_ms)
{
    count_failure("reminded", 0);
    count_failure("expired", 0);
    metric_set(metric_series(&expire_def, (const char *const[]){NULL}), (double)expire_ms / 1000);
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "look after reviews", "out of memory");
}

static struct uuid id_of(struct uuid review, const char *what)
{
    char text[UUID_TEXT + 16], id[UUID_TEXT];
    uuid_format(review, id);
    int n = snprintf(text, sizeof(text), "%s:%s", id, what);
    return uuid_v5(uuid_echora, (struct view){text, (size_t)n});
}

static int copy_of(const PGresult *r, int row, struct arena *arena, struct uuid reminder,
                   struct outbox_row *ret, struct err *err)
{
    struct bytes stored = pg_get_bytea(r, row, 3);
    uint8_t *payload = arena_alloc(arena, stored.n);
    char *id = arena_alloc(arena, UUID_TEXT);
    ProtobufCMessage *message;
    if (!payload || !id)
        return no_memory(err);
    memcpy(payload, stored.p, stored.n);
    if (wire_decode(&echora__events__v1__anime_updated_event__descriptor,
                    (struct bytes){payload, stored.n}, DECODE_MAX, arena, &message, err) < 0)
        return -1;
    Updated *m = (Updated *)message;
    uint64_t open = merge_mask_listed(&kinds[KIND_ANIME], m->changed_fields, m->n_changed_fields) &
                    ~review_fields(pg_get_text(r, row, 2));
    char **reasons = arena_array(arena, m->n_risk_reasons + 1, sizeof(*reasons));
    if (!reasons || !(m->changed_fields = review_name_list(arena, open, &m->n_changed_fields)))
        return no_memory(err);
    if (m->n_risk_reasons)
        memcpy(reasons, m->risk_reasons, m->n_risk_reasons * sizeof(*reasons));
    reasons[m->n_risk_reasons] = (char *)(uintptr_t) "reminder";
    uuid_format(reminder, id);
    m->event_id = id;
    m->risk_reasons = reasons;
    m->n_risk_reasons++;
    if (protobuf_c_message_get_packed_size(&m->base) > OUTBOX_PAYLOAD_MAX)
        m->n_risk_reasons--; /* the first copy just fitted its stream */
    struct parked parked = {.review_id = pg_get_uuid(r, row, 0),
                            .copy = &m->base,
                            .reason_list = (const char **)m->risk_reasons,
                            .n_reasons = m->n_risk_reasons};
    if (announce_review(arena, &parked, pg_get_uuid(r, row, 1), reminder, ret, err) < 0)
        return -1;
    ret->trace.set = trace_parse(pg_get_text(r, row, 4), (struct view){0}, &ret->trace);
    return 0;
}

static int remind(struct writer *w, const PGresult *r, struct err *err)
{
    int n = PQntuples(r);
    size_t good = 0;
    struct outbox_row *rows = arena_array(w->arena, (size_t)n, sizeof(*rows));
    if (n && !rows)
        return no_memory(err);
    for (int row = 0; row < n; row++) {
        struct uuid review = pg_get_uuid(r, row, 0);
        struct uuid reminder = FAULT("reminder-unnamed") ? review : id_of(review, "reminder");
        struct pg_param params[] = {pg_uuid(review), pg_uuid(reminder)};
        if (copy_of(r, row, w->arena, reminder, &rows[good], err) == 0) {
            good++;
        } else if (err->class == ERR_REJECT) { /* not what we stored: the others go on */
            count_failure("reminded", 1);
            log_err(LOG_LEVEL_ERROR, "a stored review can't be announced again", err);
            *err = ERR_INIT;
        } else {
            return -1;
        }
        if (pg_query(w->pg, &sql_note_reminder, params, 2, NULL, err) < 0)
            return -1;
    }
    return good == 0 || outbox_append(w->outbox, w->pg, rows, good, err) == 0 ? n : -1;
}

static int expire(struct writer *w, const PGresult *r, struct err *err)
{
    int n = PQntuples(r);
    struct outbox_row *rows = arena_array(w->arena, (size_t)n, sizeof(*rows));
    if (n && !rows)
        return no_memory(err);
    for (int row = 0; row < n; row++) {
        struct uuid review = pg_get_uuid(r, row, 0);
        uint64_t superseded = review_fields(pg_get_text(r, row, 4));
        const struct audit_facts facts = {
            .action = "review-expired",
            .actor = "",
            .note = "",
            .event = id_of(review, "expired"),
            .anime = pg_get_uuid(r, row, 2),
            .review = review,
            .update = pg_get_uuid(r, row, 1),
            .fields = review_fields(pg_get_text(r, row, 3)) & ~superseded,
            .superseded = superseded,
            .revision = pg_get_i64(r, row, 5),
        };
        if (review_audit(w->arena, &facts, &rows[row], err) < 0)
            return -1;
    }
    return n == 0 || outbox_append(w->outbox, w->pg, rows, (size_t)n, err) == 0 ? n : -1;
}

static int chore(struct writer *w, const struct pg_statement *statement, int64_t ms,
                 int (*act)(struct writer *w, const PGresult *r, struct err *err), const char *what,
                 struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param param = pg_i64(ms);
    arena_reset(w->arena);
    int n = pg_begin(w->pg, err);
    if (n == 0)
        n = pg_query(w->pg, statement, &param, 1, &r, err) < 0 ? -1 : act(w, r, err);
    if (n < 0 || pg_commit(w->pg, err) < 0) {
        count_failure(what, 1);
        pg_rollback(w->pg);
        return -1;
    }
    review_count(what, n);
    if (n > 0 && w->bus)
        outbox_hint(w->bus);
    if (n > 0)
        log_info("risky updates that nobody decided", LF_STR("outcome", what),
                 LF_I64("reviews", n));
    return n;
}

int review_remind(struct writer *w, int64_t remind_ms, struct err *err)
{
    return chore(w, &sql_due_reminders, remind_ms, remind, "reminded", err);
}

int review_expire(struct writer *w, int64_t expire_ms, struct err *err)
{
    return chore(w, &sql_expire_reviews, expire_ms, expire, "expired", err);
}

static const struct metric_def waiting_def = {
    "echora_catalogue_reviews_pending", METRIC_GAUGE,
    "Risky updates that wait for a person, as the lane with the chores saw them last.", "", NULL};
static const struct metric_def oldest_def = {"echora_catalogue_review_oldest_seconds", METRIC_GAUGE,
                                             "How long the oldest of them has waited.", "", NULL};

int review_gauge(struct pg *pg, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    if (pg_query(pg, &sql_waiting_reviews, NULL, 0, &r, err) < 0)
        return -1;
    metric_set(metric_series(&waiting_def, (const char *const[]){NULL}),
               (double)pg_get_i64(r, 0, 0));
    metric_set(metric_series(&oldest_def, (const char *const[]){NULL}), pg_get_double(r, 0, 1));
    return 0;
}
