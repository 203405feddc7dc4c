/* dlq.show: the letter as the stream holds it. PostgreSQL is asked only for what the stream doesn't
 * know: where an id stands, and what people did with it. */
// SPDX-License-Identifier: Apache-2.0

#include "contracts/field.h"
#include "contracts/json.h"
#include "contracts/wire.h"
#include "workers/dead_letters/letter.h"
#include "workers/dead_letters/requests.h"
#include "workers/dead_letters/sql.h"

typedef Echora__Ops__V1__DlqShowRequest ShowRequest;
typedef Echora__Ops__V1__DlqShowReply ShowReply;
typedef Echora__Ops__V1__DlqHeader Header;

/* An answer is at most max_payload (8 MiB), and JSON is longer than what it says. */
enum { PAYLOAD_MAX = 2 << 20, JSON_MAX = 6 << 20 };

static int no_letter(struct err *err)
{
    return err_set(err, ERR_REJECT, "no-letter", "show", "there is no such dead letter");
}

static int find(struct dead_letters *dl, const char *id, uint64_t *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_text(view_of(id));
    if (pg_query(dl->pg, &sql_letter_by_id, &param, 1, &rows, err) < 0)
        return -1;
    if (PQntuples(rows) == 0)
        return no_letter(err);
    *ret = (uint64_t)pg_get_i64(rows, 0, 0);
    return 0;
}

static int read_fate(struct dead_letters *dl, struct letter *letter, ShowReply *reply,
                     struct arena *arena, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_text(view_of(letter->id));
    struct err trouble = ERR_INIT;
    reply->source = (char *)(uintptr_t) "stream";
    if (pg_query(dl->pg, &sql_letter_fate, &param, 1, &rows, &trouble) < 0) {
        if (trouble.class == ERR_UNAVAILABLE)
            return 0;
        *err = trouble;
        return -1;
    }
    reply->source = (char *)(uintptr_t) "index";
    letter->state = "open";
    if (PQntuples(rows) > 0) {
        letter->state = arena_strdup(arena, pg_get_text(rows, 0, 0));
        letter->attempts = (int32_t)pg_get_i64(rows, 0, 1);
    }
    return letter->state != NULL ? 0 : dlq_no_memory(err);
}

static int put_headers(const struct stored_message *message, struct arena *arena, ShowReply *reply,
                       struct err *err)
{
    reply->headers = arena_array(arena, message->n_headers, sizeof(Header *));
    if (reply->headers == NULL && message->n_headers > 0)
        return dlq_no_memory(err);
    for (size_t i = 0; i < message->n_headers; i++) {
        Header *h = (Header *)message_new(&echora__ops__v1__dlq_header__descriptor, arena);
        if (h == NULL)
            return dlq_no_memory(err);
        h->name = (char *)(uintptr_t)message->headers[i].name;
        h->value = (char *)(uintptr_t)message->headers[i].value;
        if (!utf8_is_valid(bytes_of(view_of(h->name))) ||
            !utf8_is_valid(bytes_of(view_of(h->value))))
            continue; /* what is no text can't be shown as one */
        reply->headers[reply->n_headers++] = h;
    }
    return 0;
}

/* The payload as JSON; false when it can't be. */
static bool decoded(const struct subject_def *def, struct bytes payload, struct arena *arena,
                    Google__Protobuf__Value **ret)
{
    CLEANUP(buf_deinit) struct buf json;
    ProtobufCMessage *message = NULL, *value = NULL;
    struct err ignored = ERR_INIT;
    buf_init(&json, JSON_MAX);
    const bool good = wire_decode(def->message, payload, (size_t)PAYLOAD_MAX * 8, arena, &message,
                                  &ignored) == 0 &&
                      json_encode(message, &json, &ignored) == 0 &&
                      json_decode(&google__protobuf__value__descriptor, buf_view(&json), arena,
                                  &value, &ignored) == 0;
    *ret = (Google__Protobuf__Value *)value;
    return good;
}

static void put_payload(const struct letter *letter, struct bytes payload, struct arena *arena,
                        ShowReply *reply)
{
    const struct subject_def *def = registry_subject(view_of(letter->subject));
    if (def != NULL && def->kind == SUBJECT_EVENT)
        reply->schema = (char *)(uintptr_t)def->schema;
    reply->omitted = payload.n > PAYLOAD_MAX;
    if (reply->omitted ||
        (reply->schema[0] != '\0' && decoded(def, payload, arena, &reply->payload)))
        return;
    reply->raw = (ProtobufCBinaryData){payload.n, (uint8_t *)(uintptr_t)payload.p};
}

int answer_show(void *context, const struct request *request, ProtobufCMessage **ret_reply,
                struct err *err)
{
    struct dead_letters *dl = context;
    const ShowRequest *asked = (const ShowRequest *)request->message;
    uint64_t sequence = asked->sequence;
    struct stored_message message;
    struct letter letter;
    bool found;
    ShowReply *reply =
        (ShowReply *)message_new(&echora__ops__v1__dlq_show_reply__descriptor, request->arena);
    if (reply == NULL)
        return dlq_no_memory(err);
    if (sequence == 0 && asked->id[0] == '\0')
        return err_set(err, ERR_REJECT, "bad-request", "show", "give a sequence or an id");
    if ((sequence == 0 && find(dl, asked->id, &sequence, err) < 0) ||
        stream_message(dl->bus, "ANIME_DLQ", sequence, request->arena, &message, &found, err) < 0)
        return -1;
    if (!found)
        return no_letter(err);
    if (letter_read(&message, request->arena, &letter, err) < 0 ||
        read_fate(dl, &letter, reply, request->arena, err) < 0 ||
        put_headers(&message, request->arena, reply, err) < 0)
        return -1;
    reply->letter = letter_message(&letter, request->arena);
    if (reply->letter == NULL)
        return dlq_no_memory(err);
    put_payload(&letter, message.payload, request->arena, reply);
    *ret_reply = &reply->base;
    return 0;
}
