/* catalog.review.decide: a person's yes or no to a parked update.
 *
 * A decision is an event with an id of its own, so that asking again (the reply was lost, the
 * process died behind its commit) answers the same: what is answered is read from the committed
 * row, or kept with it where the request has a key (events/once.h). The same decision by another id
 * is answered, too, and told that it came second; the contrary one is refused with who decided what
 * and when. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "events/once.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/review.h"
#include "workers/catalogue/review_read.h"

typedef Echora__Catalog__V1__CatalogReviewDecideRequest DecideRequest;
typedef Echora__Catalog__V1__CatalogReviewDecideReply DecideReply;

enum { REVIEWER_MAX = 120, REASON_MAX = 500 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "decide", "arena is full");
}

static bool is_plain(const char *text, size_t most)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return false;
    return strlen(text) <= most;
}

/* Equal questions have equal ids: by the caller's own id, by the key under which the Command API
 * remembers its answer, else by what is asked. */
static int decision_id(const struct request *request, struct uuid review, struct uuid *ret,
                       struct err *err)
{
    const DecideRequest *asked = (const DecideRequest *)request->message;
    const char *key = request_header(request, "Echora-Idem");
    if (asked->decision_id[0]) {
        if (uuid_parse(view_of(asked->decision_id), ret))
            return 0;
        return err_set(err, ERR_REJECT, "bad-uuid", "read request", "decision_id is no UUID");
    }
    char id[UUID_TEXT];
    uuid_format(review, id);
    struct view rest = view_of(key ? key : ""), hash = {0};
    (void)view_split(&rest, ':', &hash); /* what follows counts the tries */
    const char *name =
        hash.n ? arena_printf(request->arena, "%s:idem:%.*s", id, VIEW_ARG(hash))
               : arena_printf(request->arena, "%s:%s:%s", id, asked->decision, asked->reviewed_by);
    if (!name)
        return no_memory(err);
    *ret = uuid_v5(uuid_echora, view_of(name));
    return 0;
}

static int check(const DecideRequest *asked, struct uuid *ret_id, struct err *err)
{
    if (!uuid_parse(view_of(asked->review_id), ret_id))
        return err_set(err, ERR_REJECT, "bad-uuid", "read request", "review_id is no UUID");
    if (strcmp(asked->decision, "approve") != 0 && strcmp(asked->decision, "reject") != 0)
        return err_set(err, ERR_REJECT, "bad-request", "read request",
                       "decision is approve or reject");
    if (!asked->reviewed_by[0] || !is_plain(asked->reviewed_by, REVIEWER_MAX))
        return err_set(err, ERR_REJECT, "bad-request", "read request",
                       "reviewed_by says who decides: 1 to %d bytes without control characters",
                       REVIEWER_MAX);
    if (strlen(asked->reason) > REASON_MAX)
        return err_set(err, ERR_REJECT, "bad-request", "read request", "reason: at most %d bytes",
                       REASON_MAX);
    return 0;
}

static int find(struct catalogue *c, struct uuid id, struct uuid decision, struct arena *arena,
                struct review *ret, struct err *err)
{
    int found = review_find(c, id, decision, arena, ret, err);
    return found == 0
               ? err_set(err, ERR_REJECT, "not-found", "decide", "no parked update has this id")
               : found;
}

/* An approval is the update once more, as its publisher sent it but for what was parked. */
static int make_op(const struct request *request, const struct review *review, struct decision *d,
                   struct op *op, struct err *err)
{
    *op = (struct op){.clock = {review->event_us, review->update},
                      .main = {.kind = KIND_ANIME, .has_id = true}};
    if (d->approves) {
        Echora__Events__V1__AnimeUpdatedEvent *update;
        if (review_update(review, request->arena, &update, err) < 0 ||
            op_init(op, registry_must("anime.updated"), &update->base, request->arena, err) < 0)
            return -1;
        op->judged = false;
        op->clock = (struct clock){review->event_us, review->update};
    }
    op->main.id = review->anime;
    /* A decision that brings no trace of its own goes on with its update's. */
    op->trace = request->traced || !review->trace.set ? &request->trace : &review->trace;
    op->decision = d;
    return 0;
}

/* The decision came too late: is it the one that was taken? */
static int compare(const struct review *review, const DecideRequest *asked, struct err *err)
{
    char when[RFC3339_MAX];
    const char *wanted = strcmp(asked->decision, "approve") == 0 ? "approved" : "rejected";
    rfc3339_format(review->decided_us / 1000000, (int32_t)(review->decided_us % 1000000) * 1000,
                   when);
    if (strcmp(review->state, wanted) == 0 || strcmp(review->state, "superseded") == 0)
        return 0;
    if (strcmp(review->state, "expired") == 0)
        return err_set(err, ERR_REJECT, "review-expired", "decide",
                       "nobody decided until %s: if the update still holds, have it published "
                       "again as a new event",
                       when);
    return err_set(err, ERR_REJECT, "already-decided", "decide", "%s by %s at %s", review->state,
                   review->reviewed_by, when);
}

static int reply_of(const struct review *review, struct uuid asked_id, struct arena *arena,
                    ProtobufCMessage **ret, struct err *err)
{
    DecideReply *m = (DecideReply *)message_new(
        &echora__catalog__v1__catalog_review_decide_reply__descriptor, arena);
    if (!m)
        return no_memory(err);
    bool approved = strcmp(review->state, "approved") == 0;
    m->state = (char *)(uintptr_t)review->state;
    m->revision = review->revision ? review->revision : review->stands_at;
    m->review_id = request_uuid_text(arena, review->id);
    m->anime_id = request_uuid_text(arena, review->anime);
    m->reviewed_by = (char *)(uintptr_t)review->reviewed_by;
    m->decided_at = review_time(arena, review->decided_us);
    m->applied_fields = review_name_list(arena, approved ? review->fields & ~review->superseded : 0,
                                         &m->n_applied_fields);
    m->superseded_fields = review_name_list(arena, review->superseded, &m->n_superseded_fields);
    m->already_decided = uuid_cmp(review->decision, asked_id) != 0;
    if (!m->review_id || !m->anime_id || !m->decided_at || !m->applied_fields ||
        !m->superseded_fields)
        return no_memory(err);
    if (!uuid_is_nil(review->decision) &&
        !(m->decision_id = request_uuid_text(arena, review->decision)))
        return no_memory(err);
    if (!uuid_is_nil(review->superseded_by) &&
        !(m->superseded_by = request_uuid_text(arena, review->superseded_by)))
        return no_memory(err);
    *ret = &m->base;
    return 0;
}

/* What the transaction of a decision makes its reply from. */
struct replying {
    struct catalogue *c;
    struct arena *arena;
    struct uuid review, decision;
};

static int reply_inside(void *ctx, ProtobufCMessage **ret, struct err *err)
{
    const struct replying *r = ctx;
    struct review review;
    if (find(r->c, r->review, r->decision, r->arena, &review, err) < 0)
        return -1;
    return reply_of(&review, r->decision, r->arena, ret, err);
}

static int run(struct catalogue *c, const struct once *once, const struct review *review,
               struct uuid id, struct decision *ret, struct err *err)
{
    const struct request *request = once->request;
    const DecideRequest *asked = (const DecideRequest *)request->message;
    struct replying replying = {c, request->arena, review->id, id};
    *ret = (struct decision){.review = review->id,
                             .id = id,
                             .update = review->update,
                             .approves = strcmp(asked->decision, "approve") == 0,
                             .reviewed_by = asked->reviewed_by,
                             .note = asked->reason,
                             .fields = review->fields,
                             .once = once,
                             .reply = reply_inside,
                             .reply_ctx = &replying};
    struct op op;
    if (make_op(request, review, ret, &op, err) < 0)
        return -1;
    struct written written = {.op = &op};
    writer_run(&c->writer, &written, 1);
    if (written.err.class == ERR_NONE)
        return 0;
    *err = written.err;
    return -1;
}

static void note(const struct review *review)
{
    char id[UUID_TEXT], anime[UUID_TEXT];
    uuid_format(review->id, id);
    uuid_format(review->anime, anime);
    review_count(review->state, 1);
    log_info("risky update decided", LF_STR("review_id", id), LF_STR("anime_id", anime),
             LF_STR("state", review->state), LF_I64("revision", review->revision));
}

int answer_review_decide(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                         struct err *err)
{
    struct catalogue *c = context;
    const DecideRequest *asked = (const DecideRequest *)request->message;
    struct uuid id, decision;
    struct review review;
    struct decision made = {0};
    struct once once;
    if (check(asked, &id, err) < 0 || once_read(request, &once, err) < 0 ||
        once_find(c->pg, &once, ret_reply, err) < 0)
        return -1;
    if (*ret_reply)
        return 0;
    if (find(c, id, (struct uuid){0}, request->arena, &review, err) < 0 ||
        decision_id(request, review.id, &decision, err) < 0 ||
        find(c, review.id, decision, request->arena, &review, err) < 0)
        return -1;
    if (review.decision_reused)
        return err_set(err, ERR_REJECT, "decision-reused", "decide",
                       "another update was decided with this decision_id");
    if (strcmp(review.state, "pending") == 0 || FAULT("decision-twice")) {
        if (run(c, &once, &review, decision, &made, err) < 0 ||
            find(c, review.id, decision, request->arena, &review, err) < 0)
            return -1;
    }
    if (made.taken)
        note(&review);
    if (made.answer) {
        *ret_reply = made.answer;
        return 0;
    }
    if (compare(&review, asked, err) < 0)
        return -1;
    return reply_of(&review, decision, request->arena, ret_reply, err);
}
