/* dlq.status: counts of the index, how far it lies behind the stream, and plans. */
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "contracts/field.h"
#include "workers/dead_letters/letter.h"
#include "workers/dead_letters/plan.h"
#include "workers/dead_letters/progress.h"
#include "workers/dead_letters/requests.h"
#include "workers/dead_letters/sql.h"

typedef Echora__Ops__V1__DlqStatusRequest StatusRequest;
typedef Echora__Ops__V1__DlqStatusReply StatusReply;

static int from_index(struct dead_letters *dl, StatusReply *reply, struct arena *arena,
                      struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(dl->pg, &sql_status, NULL, 0, &rows, err) < 0)
        return -1;
    reply->open = pg_get_i64(rows, 0, 0);
    reply->parked = pg_get_i64(rows, 0, 1);
    reply->replayed = pg_get_i64(rows, 0, 2);
    reply->discarded = pg_get_i64(rows, 0, 3);
    if (!pg_is_null(rows, 0, 4)) {
        reply->oldest_open = timestamp_message(pg_get_timestamp_us(rows, 0, 4), arena);
        if (reply->oldest_open == NULL)
            return dlq_no_memory(err);
    }
    return 0;
}

int answer_status(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                  struct err *err)
{
    struct dead_letters *dl = context;
    const StatusRequest *asked = (const StatusRequest *)request->message;
    const bool named = asked->plan_id[0] != '\0';
    struct stream_state stream;
    struct consumer_progress index;
    struct err trouble = ERR_INIT;
    struct uuid id = {0};
    StatusReply *reply =
        (StatusReply *)message_new(&echora__ops__v1__dlq_status_reply__descriptor, request->arena);
    if (reply == NULL)
        return dlq_no_memory(err);
    if (named && !uuid_parse(view_of(asked->plan_id), &id))
        return err_set(err, ERR_REJECT, "bad-uuid", "status", "plan_id is no UUID");
    if (stream_state(dl->bus, "ANIME_DLQ", &stream, err) < 0 ||
        progress_of_index(dl->bus, &index, err) < 0)
        return -1;
    reply->letters = (int64_t)stream.messages;
    reply->behind = index.pending + index.in_hand;
    reply->source = (char *)(uintptr_t) "index";
    if (from_index(dl, reply, request->arena, &trouble) < 0 ||
        plan_load(dl, named ? &id : NULL, request->arena, &reply->plans, &reply->n_plans,
                  &trouble) < 0) {
        if (trouble.class != ERR_UNAVAILABLE) {
            *err = trouble;
            return -1;
        }
        reply->source = (char *)(uintptr_t) "stream";
    }
    *ret_reply = &reply->base;
    return 0;
}
