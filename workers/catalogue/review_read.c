/* See review_read.h. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/review_read.h"
#include "contracts/field.h"
#include "contracts/wire.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/sql.h"

typedef Echora__Catalog__V1__CatalogReview Message;

enum { DECODE_MAX = 256 << 20 }; /* it was decoded once, under decode-max */

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "read review", "arena is full");
}

int review_row(const PGresult *r, int row, struct arena *arena, struct review *ret, struct err *err)
{
    *ret = (struct review){
        .id = pg_get_uuid(r, row, 0),
        .update = pg_get_uuid(r, row, 1),
        .anime = pg_get_uuid(r, row, 2),
        .event_us = pg_get_timestamp_us(r, row, 3),
        .fields = review_fields(pg_get_text(r, row, 4)),
        .superseded = review_fields(pg_get_text(r, row, 5)),
        .reasons = arena_strdup(arena, pg_get_text(r, row, 6)),
        .superseded_by = pg_get_uuid(r, row, 7),
        .state = arena_strdup(arena, pg_get_text(r, row, 8)),
        .created_us = pg_get_timestamp_us(r, row, 9),
        .decided_us = pg_get_timestamp_us(r, row, 10),
        .reviewed_by = arena_strdup(arena, pg_get_text(r, row, 11)),
        .note = arena_strdup(arena, pg_get_text(r, row, 12)),
        .decision = pg_get_uuid(r, row, 13),
        .revision = pg_get_i64(r, row, 14),
        .title = arena_strdup(arena, pg_get_text(r, row, 15)),
    };
    return ret->reasons && ret->state && ret->reviewed_by && ret->note && ret->title
               ? 0
               : no_memory(err);
}

int review_find(struct catalogue *c, struct uuid id, struct uuid decision, struct arena *arena,
                struct review *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param params[] = {pg_uuid(id), pg_uuid(decision)};
    if (pg_query(c->pg, &sql_find_review, params, 2, &r, err) < 0)
        return -1;
    if (PQntuples(r) == 0)
        return 0;
    if (review_row(r, 0, arena, ret, err) < 0)
        return -1;
    struct bytes payload = pg_get_bytea(r, 0, 16);
    uint8_t *copy = arena_alloc(arena, payload.n);
    if (!copy)
        return no_memory(err);
    memcpy(copy, payload.p, payload.n);
    ret->payload = (struct bytes){copy, payload.n};
    ret->decision_reused = pg_get_bool(r, 0, 17);
    ret->stands_at = pg_get_i64(r, 0, 18);
    ret->trace.set = trace_parse(pg_get_text(r, 0, 19), (struct view){0}, &ret->trace);
    return 1;
}

int review_update(const struct review *review, struct arena *arena,
                  Echora__Events__V1__AnimeUpdatedEvent **ret, struct err *err)
{
    ProtobufCMessage *message;
    if (wire_decode(&echora__events__v1__anime_updated_event__descriptor, review->payload,
                    DECODE_MAX, arena, &message, err) < 0)
        return err_wrap(err, "stored review");
    *ret = (Echora__Events__V1__AnimeUpdatedEvent *)message;
    return 0;
}

Google__Protobuf__Timestamp *review_time(struct arena *arena, int64_t us)
{
    Google__Protobuf__Timestamp *t =
        (Google__Protobuf__Timestamp *)message_new(&google__protobuf__timestamp__descriptor, arena);
    if (!t)
        return NULL;
    int64_t micros = us % 1000000 < 0 ? us % 1000000 + 1000000 : us % 1000000;
    t->seconds = (us - micros) / 1000000;
    t->nanos = (int32_t)micros * 1000;
    return t;
}

static bool put_reasons(Message *m, const char *joined, struct arena *arena)
{
    struct view rest = view_of(joined), reason;
    size_t most = 1;
    for (const char *c = joined; *c; c++)
        most += *c == '\x1e';
    m->risk_reasons = arena_array(arena, most, sizeof(char *));
    while (m->risk_reasons && m->n_risk_reasons < most && view_split(&rest, '\x1e', &reason)) {
        char *copy = arena_strdup(arena, reason);
        if (!copy)
            return false;
        m->risk_reasons[m->n_risk_reasons++] = copy;
    }
    return m->risk_reasons != NULL;
}

static bool put_id(char **to, struct uuid id, struct arena *arena)
{
    return uuid_is_nil(id) || (*to = request_uuid_text(arena, id)) != NULL;
}

static bool put_time(Google__Protobuf__Timestamp **to, int64_t us, struct arena *arena)
{
    return us == 0 || (*to = review_time(arena, us)) != NULL;
}

Message *review_message(const struct review *review, int64_t expire_ms, struct arena *arena)
{
    Message *m = (Message *)message_new(&echora__catalog__v1__catalog_review__descriptor, arena);
    if (!m)
        return NULL;
    bool pending = strcmp(review->state, "pending") == 0;
    int64_t ends_us = pending ? review->created_us + expire_ms * 1000 : 0;
    m->title = (char *)(uintptr_t)review->title;
    m->state = (char *)(uintptr_t)review->state;
    m->reviewed_by = (char *)(uintptr_t)review->reviewed_by;
    m->note = (char *)(uintptr_t)review->note;
    m->changed_fields = review_name_list(arena, review->fields, &m->n_changed_fields);
    m->superseded_fields = review_name_list(arena, review->superseded, &m->n_superseded_fields);
    bool ok = m->changed_fields && m->superseded_fields && put_reasons(m, review->reasons, arena) &&
              put_id(&m->review_id, review->id, arena) &&
              put_id(&m->event_id, review->update, arena) &&
              put_id(&m->anime_id, review->anime, arena) &&
              put_id(&m->superseded_by, review->superseded_by, arena) &&
              put_id(&m->decision_id, review->decision, arena) &&
              put_time(&m->event_time, review->event_us, arena) &&
              put_time(&m->created_at, review->created_us, arena) &&
              put_time(&m->decided_at, review->decided_us, arena) &&
              put_time(&m->expires_at, ends_us, arena);
    return ok ? m : NULL;
}
