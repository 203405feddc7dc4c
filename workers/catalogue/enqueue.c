/* catalog.outbox.enqueue: fresh outbox rows for what stands in the catalogue (replay, drift
 * repair).
 *
 * The rows name the entity at its present revision and change nothing; sync reads the committed
 * state anyway. The entities' rows are locked first, so that the new rows come after those of any
 * change that is under way (the order of ids is each entity's order). The subject is the one that
 * the consumer in replay_for reads; without one it is <kind>.synced, for a deleted anime
 * anime.deleted. Unknown ids give no row: the reply counts what was written. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "contracts/field.h"
#include "contracts/gen/catalog_requests.pb-c.h"
#include "contracts/gen/events.pb-c.h"
#include "contracts/gen/timestamp.pb-c.h"
#include "events/base/clock.h"
#include "workers/catalogue/context.h"
#include "workers/catalogue/requests.h"
#include "workers/catalogue/sql.h"

typedef Echora__Catalog__V1__CatalogEnqueueRequest EnqueueRequest;
typedef Echora__Catalog__V1__CatalogEnqueueReply EnqueueReply;

enum { MOST_IDS = 1000 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_RETRY, "no-memory", "enqueue", "arena is full");
}

/* "qdrant-anime-created" reads "anime.created": every consumer of ANIME_SYNC is named so. */
static const struct subject_def *subject_of_consumer(const char *durable)
{
    const char *dash = strchr(durable, '-');
    char subject[64];
    if (!dash || strlen(dash) > sizeof(subject))
        return NULL;
    snprintf(subject, sizeof(subject), "%s", dash + 1);
    for (char *p = subject; *p; p++) {
        if (*p == '-')
            *p = '.';
    }
    const struct subject_def *def = registry_subject(view_of(subject));
    return def && def->stream && def->stream->sole_writer ? def : NULL;
}

static const struct subject_def *subject_of(const struct kind *kind, bool deleted)
{
    if (kind->kind == KIND_ANIME)
        return registry_must(deleted ? "anime.deleted" : "anime.synced");
    return registry_must(kind->kind == KIND_CHARACTER ? "character.synced" : "episode.synced");
}

/* Event id and time, the entity's id and its revision, by the names that every such message has. */
static ProtobufCMessage *new_message(const struct subject_def *def, struct uuid event_id,
                                     struct uuid entity_id, int64_t revision, struct arena *arena)
{
    ProtobufCMessage *message = message_new(def->message, arena);
    Google__Protobuf__Timestamp *time =
        (Google__Protobuf__Timestamp *)message_new(&google__protobuf__timestamp__descriptor, arena);
    char *event_text = arena_alloc(arena, UUID_TEXT), *entity_text = arena_alloc(arena, UUID_TEXT);
    if (!message || !time || !event_text || !entity_text)
        return NULL;
    int64_t now = wall_us();
    time->seconds = now / 1000000;
    time->nanos = (int32_t)(now % 1000000) * 1000;
    uuid_format(event_id, event_text);
    uuid_format(entity_id, entity_text);
    const struct {
        const char *name;
        const void *value;
        size_t size;
    } members[] = {{"event_id", &event_text, sizeof(event_text)},
                   {"timestamp", &time, sizeof(time)},
                   {def->entity_id_field, &entity_text, sizeof(entity_text)},
                   {"revision", &revision, sizeof(revision)}};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        const ProtobufCFieldDescriptor *field =
            field_by_name(def->message, view_of(members[i].name));
        if (!field)
            return NULL;
        memcpy((char *)message + field->offset, members[i].value, members[i].size);
    }
    return message;
}

static int make_headers(const EnqueueRequest *asked, struct arena *arena, struct bus_header out[4],
                        size_t *ret_n, struct err *err)
{
    size_t n = 0;
    if (asked->replay_for[0])
        out[n++] = (struct bus_header){"Echora-Replay-For", asked->replay_for};
    if (asked->replay_id[0])
        out[n++] = (struct bus_header){"Echora-Replay-Id", asked->replay_id};
    if (asked->hop > 0) {
        char *hop = arena_printf(arena, "%d", asked->hop);
        if (!hop)
            return no_memory(err);
        out[n++] = (struct bus_header){"Echora-Replay-Hop", hop};
    }
    if (asked->repair)
        out[n++] = (struct bus_header){"Echora-Repair", "1"};
    *ret_n = n;
    return 0;
}

static int lock_entities(struct catalogue *catalogue, const struct kind *kind,
                         const struct uuid_list *ids, PGresult **ret, struct err *err)
{
    static const struct pg_statement *const statements[N_KINDS] = {
        [KIND_ANIME] = &sql_lock_anime,
        [KIND_CHARACTER] = &sql_lock_character,
        [KIND_EPISODE] = &sql_lock_episode,
    };
    struct pg_array array;
    pg_array_init(&array, PG_UUIDS, (MOST_IDS + 1) * 32);
    for (size_t i = 0; i < ids->n; i++)
        pg_array_uuid(&array, ids->ids[i]);
    struct pg_param param = pg_array_param(&array);
    int rc = pg_query(catalogue->pg, statements[kind->kind], &param, 1, ret, err);
    pg_array_deinit(&array);
    return rc;
}

/* Inside the transaction. */
static int enqueue(struct catalogue *catalogue, const struct request *request,
                   const struct kind *kind, const struct uuid_list *ids, int32_t *ret_rows,
                   struct err *err)
{
    const EnqueueRequest *asked = (const EnqueueRequest *)request->message;
    const struct subject_def *wanted = NULL;
    if (asked->replay_for[0] && !(wanted = subject_of_consumer(asked->replay_for)))
        return err_set(err, ERR_REJECT, "unknown-consumer", "enqueue",
                       "replay_for names no consumer of what the relay publishes");
    if (wanted && strcmp(wanted->entity_kind, kind->name) != 0)
        return err_set(err, ERR_REJECT, "bad-kind", "enqueue",
                       "replay_for reads events of another kind");
    struct bus_header headers[4];
    size_t n_headers = 0;
    if (make_headers(asked, request->arena, headers, &n_headers, err) < 0)
        return -1;

    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (lock_entities(catalogue, kind, ids, &rows, err) < 0)
        return -1;
    size_t n = (size_t)PQntuples(rows);
    struct outbox_row *out = arena_array(request->arena, n ? n : 1, sizeof(*out));
    if (!out)
        return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        int row = (int)i;
        const struct subject_def *def =
            wanted ? wanted : subject_of(kind, pg_get_bool(rows, row, 2));
        struct uuid event_id = uuid_v7(), entity_id = pg_get_uuid(rows, row, 0);
        out[i] =
            (struct outbox_row){.def = def,
                                .event_id = event_id,
                                .entity_id = entity_id,
                                .message = new_message(def, event_id, entity_id,
                                                       pg_get_i64(rows, row, 1), request->arena),
                                .trace = request->trace,
                                .extra = headers,
                                .n_extra = n_headers};
        if (!out[i].message)
            return no_memory(err);
    }
    if (n && outbox_append(catalogue->outbox, catalogue->pg, out, n, err) < 0)
        return -1;
    *ret_rows = (int32_t)n;
    return 0;
}

int answer_outbox_enqueue(void *context, const struct request *request,
                          ProtobufCMessage **ret_reply, struct err *err)
{
    struct catalogue *catalogue = context;
    const EnqueueRequest *asked = (const EnqueueRequest *)request->message;
    const struct kind *kind;
    struct uuid_list ids;
    EnqueueReply *reply = (EnqueueReply *)message_new(
        &echora__catalog__v1__catalog_enqueue_reply__descriptor, request->arena);
    if (!reply)
        return no_memory(err);
    if (request_kind(asked->kind, &kind, err) < 0 ||
        request_ids(asked->ids, asked->n_ids, MOST_IDS, request->arena, &ids, err) < 0 ||
        pg_begin(catalogue->pg, err) < 0)
        return -1;
    if (enqueue(catalogue, request, kind, &ids, &reply->rows, err) < 0) {
        pg_rollback(catalogue->pg);
        return -1;
    }
    if (pg_commit(catalogue->pg, err) < 0)
        return -1;
    outbox_hint(catalogue->bus);
    *ret_reply = &reply->base;
    return 0;
}
