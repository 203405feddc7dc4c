/* catalog.review.list and catalog.review.get. */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <jansson.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "events/base/clock.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/review_read.h"
#include "workers/catalogue/sql.h"

typedef Echora__Catalog__V1__CatalogReviewListRequest ListRequest;
typedef Echora__Catalog__V1__CatalogReviewListReply ListReply;
typedef Echora__Catalog__V1__CatalogReviewGetRequest GetRequest;
typedef Echora__Catalog__V1__CatalogReviewGetReply GetReply;
typedef Echora__Catalog__V1__CatalogReview Review;
typedef Echora__Catalog__V1__CatalogReviewStep Step;

enum { MOST_REVIEWS = 500, DEFAULT_REVIEWS = 50 };
#define LAST_US (RFC3339_MAX_SECONDS * 1000000)

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "read review", "arena is full");
}

struct page {
    struct uuid anime, before_id;
    int64_t before_us;
    int32_t limit;
    bool has_anime;
};

static bool is_state(const char *state)
{
    static const char *const states[] = {"",           "pending", "approved", "rejected",
                                         "superseded", "expired", "all"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (strcmp(state, states[i]) == 0)
            return true;
    return false;
}

static int check(const ListRequest *asked, struct page *ret, struct err *err)
{
    /* Behind every time that there is. */
    *ret =
        (struct page){.before_us = LAST_US, .limit = asked->limit ? asked->limit : DEFAULT_REVIEWS};
    if (!is_state(asked->state))
        return err_set(err, ERR_REJECT, "bad-request", "read request",
                       "state: pending, approved, rejected, superseded, expired or all");
    if (asked->limit < 0 || asked->limit > MOST_REVIEWS)
        return err_set(err, ERR_REJECT, "out-of-range", "read request", "limit: 1 to %d",
                       MOST_REVIEWS);
    ret->has_anime = asked->anime_id[0];
    if (ret->has_anime && !uuid_parse(view_of(asked->anime_id), &ret->anime))
        return err_set(err, ERR_REJECT, "bad-uuid", "read request", "anime_id is no UUID");
    if (asked->since && (asked->since->seconds < RFC3339_MIN_SECONDS ||
                         asked->since->seconds > RFC3339_MAX_SECONDS))
        return err_set(err, ERR_REJECT, "out-of-range", "read request", "since is no time");
    struct view rest = view_of(asked->cursor), time;
    if (rest.n &&
        !(view_split(&rest, ':', &time) && view_to_i64(time, 0, LAST_US, &ret->before_us) &&
          uuid_parse(rest, &ret->before_id)))
        return err_set(err, ERR_REJECT, "bad-cursor", "read request",
                       "cursor is none that a reply gave");
    return 0;
}

int answer_review_list(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                       struct err *err)
{
    struct catalogue *c = context;
    const ListRequest *asked = (const ListRequest *)request->message;
    struct page page;
    if (check(asked, &page, err) < 0)
        return -1;
    bool waiting = !asked->state[0] || strcmp(asked->state, "pending") == 0;
    const struct pg_param params[] = {
        page.has_anime ? pg_uuid(page.anime) : pg_null(),
        asked->since ? pg_timestamptz(asked->since->seconds * 1000000 + asked->since->nanos / 1000)
                     : pg_null(),
        asked->reason[0] ? pg_text(view_of(asked->reason)) : pg_null(),
        pg_timestamptz(page.before_us),
        pg_uuid(page.before_id),
        pg_i32(page.limit + 1),
        strcmp(asked->state, "all") == 0 ? pg_null() : pg_text(view_of(asked->state)),
    };
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(c->pg, waiting ? &sql_list_waiting_reviews : &sql_list_reviews, params,
                 waiting ? 6 : 7, &rows, err) < 0)
        return -1;
    int n = PQntuples(rows) < page.limit ? PQntuples(rows) : page.limit;
    ListReply *reply = (ListReply *)message_new(
        &echora__catalog__v1__catalog_review_list_reply__descriptor, request->arena);
    if (!reply || !(reply->reviews = arena_array(request->arena, (size_t)n, sizeof(Review *))))
        return no_memory(err);
    struct review review = {.title = ""};
    for (int row = 0; row < n; row++) {
        if (review_row(rows, row, request->arena, &review, err) < 0)
            return -1;
        Review *m = review_message(&review, c->config->review_expire_ms, request->arena);
        if (!m)
            return no_memory(err);
        reply->reviews[reply->n_reviews++] = m;
    }
    if (PQntuples(rows) > n) {
        char id[UUID_TEXT];
        uuid_format(review.id, id);
        reply->next_cursor = arena_printf(request->arena, "%" PRId64 ":%s", review.created_us, id);
        if (!reply->next_cursor)
            return no_memory(err);
    }
    *ret_reply = &reply->base;
    return 0;
}

/* The fields as they stand in the catalogue. */
static int put_current(struct catalogue *c, const struct review *review, Review *m,
                       struct arena *arena, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param id = pg_uuid(review->anime);
    m->current = (Anime *)message_new(kinds[KIND_ANIME].message, arena);
    if (!m->current)
        return no_memory(err);
    if (pg_query(c->pg, &sql_review_document, &id, 1, &r, err) < 0)
        return -1;
    if (PQntuples(r) == 0)
        return 0;
    json_t *document = NULL;
    if (json_parse(pg_get_text(r, 0, 0), &document, err) < 0)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m->n_changed_fields; i++) {
        char camel[64];
        const char *name = m->changed_fields[i];
        const json_t *value =
            json_name(name, camel, sizeof(camel)) ? json_object_get(document, camel) : NULL;
        if (value)
            rc = json_decode_field(&m->current->base,
                                   field_by_name(kinds[KIND_ANIME].message, view_of(name)), value,
                                   arena, err);
    }
    json_decref(document);
    return rc;
}

static int put_proposed(const struct review *review, Review *m, struct arena *arena,
                        struct err *err)
{
    Echora__Events__V1__AnimeUpdatedEvent *update;
    m->proposed = (Anime *)message_new(kinds[KIND_ANIME].message, arena);
    if (!m->proposed)
        return no_memory(err);
    if (review_update(review, arena, &update, err) < 0)
        return -1;
    m->source = update->source;
    for (size_t i = 0; update->anime && i < m->n_changed_fields; i++)
        field_share(&m->proposed->base, &update->anime->base,
                    field_by_name(kinds[KIND_ANIME].message, view_of(m->changed_fields[i])));
    return 0;
}

static Step *step_message(const PGresult *r, int row, struct arena *arena)
{
    Step *s = (Step *)message_new(&echora__catalog__v1__catalog_review_step__descriptor, arena);
    if (!s)
        return NULL;
    s->at = review_time(arena, pg_get_timestamp_us(r, row, 0));
    s->step = arena_strdup(arena, pg_get_text(r, row, 1));
    s->actor = arena_strdup(arena, pg_get_text(r, row, 2));
    if (!pg_is_null(r, row, 3))
        s->event_id = request_uuid_text(arena, pg_get_uuid(r, row, 3));
    s->fields = review_name_list(arena, review_fields(pg_get_text(r, row, 4)), &s->n_fields);
    s->note = arena_strdup(arena, pg_get_text(r, row, 5));
    return s->at && s->step && s->actor && s->event_id && s->fields && s->note ? s : NULL;
}

static int put_history(struct catalogue *c, const struct review *review, Review *m,
                       struct arena *arena, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param id = pg_uuid(review->id);
    if (pg_query(c->pg, &sql_review_steps, &id, 1, &r, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(r);
    Step *parked =
        (Step *)message_new(&echora__catalog__v1__catalog_review_step__descriptor, arena);
    m->history = arena_array(arena, n + 1, sizeof(Step *));
    if (!parked || !m->history)
        return no_memory(err);
    parked->at = m->created_at;
    parked->step = (char *)(uintptr_t) "parked";
    parked->event_id = m->event_id;
    parked->fields = m->changed_fields;
    parked->n_fields = m->n_changed_fields;
    m->history[m->n_history++] = parked;
    for (size_t i = 0; i < n; i++) {
        Step *s = step_message(r, (int)i, arena);
        if (!s)
            return no_memory(err);
        m->history[m->n_history++] = s;
    }
    return 0;
}

static int get(struct catalogue *c, const struct request *request, struct uuid id, GetReply *reply,
               struct err *err)
{
    struct review review;
    int found = review_find(c, id, (struct uuid){0}, request->arena, &review, err);
    if (found == 0)
        return err_set(err, ERR_REJECT, "not-found", "read review", "no parked update has this id");
    if (found < 0)
        return -1;
    reply->review = review_message(&review, c->config->review_expire_ms, request->arena);
    if (!reply->review)
        return no_memory(err);
    if (put_current(c, &review, reply->review, request->arena, err) < 0 ||
        put_proposed(&review, reply->review, request->arena, err) < 0)
        return -1;
    return put_history(c, &review, reply->review, request->arena, err);
}

int answer_review_get(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                      struct err *err)
{
    struct catalogue *c = context;
    const GetRequest *asked = (const GetRequest *)request->message;
    struct uuid id;
    if (!uuid_parse(view_of(asked->review_id), &id))
        return err_set(err, ERR_REJECT, "bad-uuid", "read request", "review_id is no UUID");
    GetReply *reply = (GetReply *)message_new(
        &echora__catalog__v1__catalog_review_get_reply__descriptor, request->arena);
    if (!reply)
        return no_memory(err);
    /* One state: values, review and history belong together. */
    if (pg_ensure(c->pg, err) < 0 ||
        pg_run(c->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err) < 0)
        return -1;
    int rc = get(c, request, id, reply, err);
    pg_rollback(c->pg);
    if (rc == 0)
        *ret_reply = &reply->base;
    return rc;
}
