// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/letter.h"

#include "contracts/field.h"
#include "events/base/clock.h"
#include "events/deadletter.h"

enum { TEXT_MAX = 512 };

static const char *clean(const char *value, struct arena *arena)
{
    return dead_letter_text(view_of(value != NULL ? value : ""), TEXT_MAX, arena);
}

static int64_t number(const char *value, int64_t max)
{
    int64_t n = 0;
    (void)!view_to_i64(view_of(value), 0, max, &n);
    return n;
}

static int64_t time_or(const char *value, int64_t otherwise_us)
{
    int64_t seconds;
    int32_t nanos;
    if (value == NULL || !rfc3339_parse(view_of(value), &seconds, &nanos))
        return otherwise_us;
    return seconds * 1000000 + nanos / 1000;
}

int letter_read(const struct stored_message *message, struct arena *arena, struct letter *ret,
                struct err *err)
{
    const struct bus_header *headers = message->headers;
    const size_t n = message->n_headers;
#define HEADER(name) stored_header(headers, n, (name))
    const char *id = HEADER("Nats-Msg-Id");
    *ret = (struct letter){
        .sequence = message->sequence,
        .stream = clean(HEADER("Echora-Dlq-Stream"), arena),
        .consumer = clean(HEADER("Echora-Dlq-Consumer"), arena),
        .subject = clean(HEADER("Echora-Dlq-Subject"), arena),
        .class = clean(HEADER("Echora-Dlq-Class"), arena),
        .code = clean(HEADER("Echora-Dlq-Code"), arena),
        .reason = clean(HEADER("Echora-Dlq-Reason"), arena),
        .fingerprint = clean(HEADER("Echora-Dlq-Fingerprint"), arena),
        .entity = clean(HEADER("Echora-Dlq-Entity"), arena),
        .worker = clean(HEADER("Echora-Dlq-Worker"), arena),
        .replay_id = clean(HEADER("Echora-Replay-Id"), arena),
        .stream_sequence = number(HEADER("Echora-Dlq-Seq"), INT64_MAX),
        .hop = (int32_t)number(HEADER("Echora-Dlq-Hop"), INT32_MAX),
        .deliveries = (int32_t)number(HEADER("Echora-Dlq-Deliveries"), INT32_MAX),
        .size = (int32_t)message->payload.n,
        .parked = view_starts_with(view_of(message->subject), "anime.dlq.parked."),
        .first_seen_us = time_or(HEADER("Echora-Dlq-First-Seen"), message->stored_us),
        .failed_at_us = time_or(HEADER("Echora-Dlq-Failed-At"), message->stored_us),
        .state = "",
    };
#undef HEADER
    ret->id = id != NULL && *id != '\0'
                  ? clean(id, arena)
                  : arena_printf(arena, "ANIME_DLQ:%llu", (unsigned long long)message->sequence);
    return arena_overflowed(arena) ? dlq_no_memory(err) : 0;
}

static const char *text_of(const PGresult *rows, int row, int column, struct arena *arena)
{
    return arena_strdup(arena, pg_get_text(rows, row, column));
}

int letter_of_row(const PGresult *rows, int row, struct arena *arena, struct letter *ret,
                  struct err *err)
{
    *ret = (struct letter){
        .id = text_of(rows, row, 0, arena),
        .sequence = (uint64_t)pg_get_i64(rows, row, 1),
        .stream = text_of(rows, row, 2, arena),
        .consumer = text_of(rows, row, 3, arena),
        .subject = text_of(rows, row, 4, arena),
        .stream_sequence = pg_get_i64(rows, row, 5),
        .class = text_of(rows, row, 6, arena),
        .code = text_of(rows, row, 7, arena),
        .reason = text_of(rows, row, 8, arena),
        .fingerprint = text_of(rows, row, 9, arena),
        .entity = text_of(rows, row, 10, arena),
        .worker = text_of(rows, row, 11, arena),
        .hop = (int32_t)pg_get_i64(rows, row, 12),
        .deliveries = (int32_t)pg_get_i64(rows, row, 13),
        .size = (int32_t)pg_get_i64(rows, row, 14),
        .parked = pg_get_bool(rows, row, 15),
        .replay_id = text_of(rows, row, 16, arena),
        .first_seen_us = pg_get_timestamp_us(rows, row, 17),
        .failed_at_us = pg_get_timestamp_us(rows, row, 18),
        .state = text_of(rows, row, 19, arena),
        .attempts = (int32_t)pg_get_i64(rows, row, 20),
    };
    return arena_overflowed(arena) ? dlq_no_memory(err) : 0;
}

Google__Protobuf__Timestamp *timestamp_message(int64_t wall_us, struct arena *arena)
{
    Google__Protobuf__Timestamp *t =
        (Google__Protobuf__Timestamp *)message_new(&google__protobuf__timestamp__descriptor, arena);
    if (t == NULL)
        return NULL;
    int64_t seconds = wall_us / 1000000, rest = wall_us % 1000000;
    if (rest < 0) {
        seconds--;
        rest += 1000000;
    }
    t->seconds = seconds;
    t->nanos = (int32_t)rest * 1000;
    return t;
}

DlqLetter *letter_message(const struct letter *letter, struct arena *arena)
{
    DlqLetter *m = (DlqLetter *)message_new(&echora__ops__v1__dlq_letter__descriptor, arena);
    if (m == NULL)
        return NULL;
#define TEXT(member) (char *)(uintptr_t)letter->member
    m->id = TEXT(id);
    m->sequence = letter->sequence;
    m->stream = TEXT(stream);
    m->stream_sequence = (uint64_t)letter->stream_sequence;
    m->consumer = TEXT(consumer);
    m->subject = TEXT(subject);
    m->class_ = TEXT(class);
    m->code = TEXT(code);
    m->reason = TEXT(reason);
    m->fingerprint = TEXT(fingerprint);
    m->entity = TEXT(entity);
    m->deliveries = letter->deliveries;
    m->hop = letter->hop;
    m->parked = letter->parked;
    m->size = letter->size;
    m->state = TEXT(state);
    m->attempts = letter->attempts;
    m->worker = TEXT(worker);
    m->replay_id = TEXT(replay_id);
#undef TEXT
    m->first_seen = timestamp_message(letter->first_seen_us, arena);
    m->failed_at = timestamp_message(letter->failed_at_us, arena);
    return m->first_seen != NULL && m->failed_at != NULL ? m : NULL;
}

bool letter_is_lean(const struct letter *letter)
{
    return view_starts_with(view_of(letter->reason), "[without ");
}
