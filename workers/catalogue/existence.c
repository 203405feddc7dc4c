/* catalog.anime.delete and catalog.anime.restore: existence as one more clocked value, through the
 * same path as every event.
 *
 * Deleting hides and erases nothing; an id that nobody knows gets a tombstone, so that older events
 * find it deleted. merge_into hands id and references to the survivor in the same transaction; from
 * then on the id is its alias. A request whose as_of is older than what set the existence changes
 * nothing and is told so (code superseded). */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/base/clock.h"
#include "events/log.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/sql.h"

typedef Echora__Catalog__V1__CatalogDeleteRequest DeleteRequest;
typedef Echora__Catalog__V1__CatalogDeleteReply DeleteReply;
typedef Echora__Catalog__V1__CatalogRestoreRequest RestoreRequest;
typedef Echora__Catalog__V1__CatalogRestoreReply RestoreReply;

enum { MOST_AHEAD_US = 600 * 1000000 };

static int read_op(struct op *op, const struct request *request, const char *anime_id,
                   const Google__Protobuf__Timestamp *as_of, int64_t expected_revision,
                   struct err *err)
{
    int64_t now = wall_us();
    *op = (struct op){
        .main = {.kind = KIND_ANIME, .has_id = true},
        .clock = {now, uuid_v7()},
        .trace = &request->trace,
        .sets_existence = true,
        .expected_revision = expected_revision,
    };
    if (!uuid_parse(view_of(anime_id), &op->main.id))
        return err_set(err, ERR_REJECT, "bad-uuid", "read request", "anime_id is no UUID");
    if (!as_of)
        return 0;
    if (as_of->seconds < -62135596800 || as_of->seconds > 253402300799 || as_of->nanos < 0 ||
        as_of->nanos > 999999999)
        return err_set(err, ERR_REJECT, "out-of-range", "read request", "as_of is no time");
    op->clock.time_us = as_of->seconds * 1000000 + as_of->nanos / 1000;
    if (op->clock.time_us > now + MOST_AHEAD_US)
        return err_set(err, ERR_REJECT, "future-timestamp", "read request",
                       "as_of lies more than 10 minutes ahead");
    return 0;
}

static int run(struct catalogue *c, struct op *op, struct err *err)
{
    struct written written = {.op = op};
    writer_run(&c->writer, &written, 1);
    if (written.err.class != ERR_NONE) {
        *err = written.err;
        return -1;
    }
    if (op->outcome == OUTCOME_PENDING)
        return err_set(err, ERR_REJECT, "not-found", "change existence", "no anime has this id");
    return 0;
}

/* 1: it was merged into another, and stands at this revision. */
static int merged_into(struct catalogue *c, struct uuid anime, struct uuid *ret_other,
                       int64_t *ret_revision, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    struct pg_param id = pg_uuid(anime);
    if (pg_query(c->pg, &sql_merged_into, &id, 1, &r, err) < 0)
        return -1;
    if (PQntuples(r) == 0)
        return 0;
    *ret_revision = pg_get_i64(r, 0, 0);
    *ret_other = pg_get_uuid(r, 0, 1);
    return 1;
}

/* A deletion with merge_into that is asked for again (its reply was lost): answers as the first
 * time. 1 = answered. */
static int answer_merged(struct catalogue *c, const struct op *op, DeleteReply *reply,
                         struct err *err)
{
    struct uuid other;
    int64_t revision;
    int merged = merged_into(c, op->main.id, &other, &revision, err);
    if (merged > 0) {
        if (!uuid_is_nil(op->merge_into) && uuid_cmp(op->merge_into, other) != 0)
            return err_set(err, ERR_REJECT, "bad-survivor", "change existence",
                           "the anime was merged into another one before");
        reply->revision = revision;
        reply->already_deleted = true;
    }
    if (merged != 0 || uuid_is_nil(op->merge_into))
        return merged;
    merged = merged_into(c, op->merge_into, &other, &revision, err);
    return merged > 0 ? err_set(err, ERR_REJECT, "bad-survivor", "change existence",
                                "merge_into names an anime that was merged into another itself")
                      : merged;
}

static void note(const char *what, const struct op *op, const char *actor, const char *reason)
{
    char id[UUID_TEXT];
    uuid_format(op->main.id, id);
    log_info(what, LF_STR("anime_id", id), LF_I64("revision", op->revision),
             LF_STR("outcome", outcome_name(op->outcome)), LF_STR("actor", actor),
             LF_STR("reason", reason));
}

int answer_anime_delete(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                        struct err *err)
{
    struct catalogue *c = context;
    const DeleteRequest *asked = (const DeleteRequest *)request->message;
    struct op op;
    if (read_op(&op, request, asked->anime_id, asked->as_of, asked->expected_revision, err) < 0)
        return -1;
    op.creates = op.deleted = true;
    if (asked->merge_into[0] && !uuid_parse(view_of(asked->merge_into), &op.merge_into))
        return err_set(err, ERR_REJECT, "bad-uuid", "read request", "merge_into is no UUID");
    DeleteReply *reply = (DeleteReply *)message_new(
        &echora__catalog__v1__catalog_delete_reply__descriptor, request->arena);
    if (!reply)
        return err_set(err, ERR_RETRY, "no-memory", "answer", "arena is full");
    *ret_reply = &reply->base;
    int merged = answer_merged(c, &op, reply, err);
    if (merged != 0)
        return merged < 0 ? -1 : 0;
    if (run(c, &op, err) < 0)
        return -1;
    note("anime deleted", &op, asked->actor, asked->reason);
    reply->revision = op.stands_at;
    reply->already_deleted = op.outcome == OUTCOME_UNCHANGED;
    return 0;
}

int answer_anime_restore(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                         struct err *err)
{
    struct catalogue *c = context;
    const RestoreRequest *asked = (const RestoreRequest *)request->message;
    struct op op;
    if (read_op(&op, request, asked->anime_id, asked->as_of, asked->expected_revision, err) < 0)
        return -1;
    RestoreReply *reply = (RestoreReply *)message_new(
        &echora__catalog__v1__catalog_restore_reply__descriptor, request->arena);
    if (!reply)
        return err_set(err, ERR_RETRY, "no-memory", "answer", "arena is full");
    if (run(c, &op, err) < 0)
        return -1;
    note("anime restored", &op, asked->actor, asked->reason);
    reply->revision = op.stands_at;
    *ret_reply = &reply->base;
    return 0;
}
