// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/republish.h"

#include <stdlib.h>

#include "contracts/gen/catalog_requests.pb-c.h"
#include "events/base/fault.h"
#include "events/deadletter.h"
#include "workers/dead_letters/letter.h"

typedef Echora__Catalog__V1__CatalogEnqueueRequest EnqueueRequest;
typedef Echora__Catalog__V1__CatalogEnqueueReply EnqueueReply;

enum { OWN_HEADERS = 4 };

struct sending {
    struct bus_message *messages;
    struct bus_ack *acks;
    struct err *errs;
    DlqAuditItem **items;
    const char **consumers;
    size_t n;
    uint64_t relay_at; /* first sequence that events of this page can have in the relay's stream */
};

static void settle(DlqAuditItem *item, const char *outcome, const char *code, const char *state)
{
    item->outcome = (char *)(uintptr_t)outcome;
    item->code = (char *)(uintptr_t)code;
    item->state = (char *)(uintptr_t)state;
}

static void settle_enqueued(DlqAuditItem *item, uint64_t from)
{
    settle(item, "enqueued", "", "replayed");
    item->sent_sequence = from;
}

static void fail(DlqAuditItem *item, const char *code)
{
    settle(item, "failed", code, "open");
}

static int build(const struct replay_page *page, const struct letter *letter,
                 const struct stored_message *stored, const DlqAuditItem *item,
                 struct bus_message *ret, struct err *err)
{
    struct arena *arena = page->arena;
    struct bus_header *headers =
        arena_array(arena, stored->n_headers + OWN_HEADERS, sizeof(*headers));
    const char *msg_id = arena_printf(arena, "%s:r%d", letter->id, item->attempt);
    const char *hop = arena_printf(arena, "%d", letter->hop + 1);
    size_t n = 0;
    if (FAULT("replay-id-not-fixed")) {
        char text[UUID_TEXT];
        uuid_format(uuid_v7(), text);
        msg_id = arena_strdup(arena, view_of(text));
    }
    if (headers == NULL || msg_id == NULL || hop == NULL)
        return dlq_no_memory(err);
    headers[n++] = (struct bus_header){"Nats-Msg-Id", msg_id};
    if (!FAULT("replay-for-everybody"))
        headers[n++] = (struct bus_header){"Echora-Replay-For", letter->consumer};
    headers[n++] = (struct bus_header){"Echora-Replay-Id", page->plan_id};
    headers[n++] = (struct bus_header){"Echora-Replay-Hop", hop};
    for (size_t i = 0; i < stored->n_headers; i++) {
        if (!dead_letter_strips(stored->headers[i].name) &&
            !view_starts_with(view_of(stored->headers[i].name), "Echora-Replay-"))
            headers[n++] = stored->headers[i];
    }
    *ret = (struct bus_message){
        .subject = letter->subject, .payload = stored->payload, .headers = headers, .n_headers = n};
    return 0;
}

/* A letter of what only the relay may publish. */
static int enqueue(struct dead_letters *dl, const struct replay_page *page, struct sending *s,
                   const struct subject_def *def, const struct letter *letter, DlqAuditItem *item,
                   struct err *err)
{
    EnqueueRequest request = ECHORA__CATALOG__V1__CATALOG_ENQUEUE_REQUEST__INIT;
    ProtobufCMessage *message;
    struct err e = ERR_INIT;
    char *id = (char *)(uintptr_t)letter->entity;
    request.kind = (char *)(uintptr_t)def->entity_kind;
    request.ids = &id;
    request.n_ids = 1;
    request.replay_for = (char *)(uintptr_t)letter->consumer;
    request.replay_id = (char *)(uintptr_t)page->plan_id;
    request.hop = letter->hop + 1;
    /* Where the search for the event begins. */
    if (s->relay_at == 0) {
        struct stream_state state;
        if (stream_state(dl->bus, def->stream->name, &state, err) < 0)
            return -1;
        s->relay_at = state.last_sequence + 1;
    }
    if (bus_call(dl->bus, "catalog.outbox.enqueue", &request.base,
                 &echora__catalog__v1__catalog_enqueue_reply__descriptor, 0, page->arena, &message,
                 &e) == 0) {
        if (((const EnqueueReply *)message)->rows > 0)
            settle_enqueued(item, s->relay_at);
        else
            fail(item, "not-in-catalogue");
        return 0;
    }
    if (e.class != ERR_REJECT) {
        *err = e;
        return -1;
    }
    const char *code = arena_strdup(page->arena, view_of(e.code));
    fail(item, code != NULL ? code : "internal");
    return 0;
}

/* Settles the item, or adds its event to what is sent. stored NULL: it is no longer there. */
static int prepare(struct dead_letters *dl, const struct replay_page *page, DlqAuditItem *item,
                   const struct stored_message *stored, struct sending *s, struct err *err)
{
    struct letter letter;
    if (stored != NULL && letter_read(stored, page->arena, &letter, err) < 0)
        return -1;
    if (stored == NULL || strcmp(letter.id, item->id) != 0) {
        settle(item, "gone", "", "");
        return 0;
    }
    const struct subject_def *def = registry_subject(view_of(letter.subject));
    if (def == NULL || def->kind != SUBJECT_EVENT) {
        fail(item, "unknown-subject");
        return 0;
    }
    if (def->stream->sole_writer)
        return enqueue(dl, page, s, def, &letter, item, err);
    if (letter_is_lean(&letter)) {
        fail(item, "incomplete");
        return 0;
    }
    s->items[s->n] = item;
    s->consumers[s->n] = letter.consumer;
    return build(page, &letter, stored, item, &s->messages[s->n++], err);
}

/* Reads the letters of the page that nobody has dealt with, all at once. */
static int prepare_all(struct dead_letters *dl, const struct replay_page *page, struct sending *s,
                       struct err *err)
{
    struct arena *arena = page->arena;
    struct stored_message *stored = arena_array(arena, page->n, sizeof(*stored));
    DlqAuditItem **items = arena_array(arena, page->n, sizeof(DlqAuditItem *));
    uint64_t *sequences = arena_array(arena, page->n, sizeof(*sequences));
    bool *found = arena_array(arena, page->n, sizeof(*found));
    size_t n = 0;
    if (arena_overflowed(arena))
        return dlq_no_memory(err);
    for (size_t i = 0; i < page->n; i++) {
        if (page->overtaken[i]) {
            settle(page->items[i], "skipped", "", "");
            continue;
        }
        items[n] = page->items[i];
        sequences[n++] = page->items[i]->sequence;
    }
    if (n > 0 && stream_messages(dl->bus, "ANIME_DLQ", sequences, n, arena, stored, found, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (prepare(dl, page, items[i], found[i] ? &stored[i] : NULL, s, err) < 0)
            return -1;
    }
    return 0;
}

/* The broker had a message of this id. Ours, published before a crash? */
static int is_ours(struct dead_letters *dl, const struct replay_page *page,
                   const struct bus_ack *ack, const char *consumer, bool *ret, struct err *err)
{
    CLEANUP(buf_deinit) struct buf headers;
    bool found;
    buf_init(&headers, 64 << 10);
    if (stream_headers(dl->bus, ack->stream, ack->sequence, &headers, &found, err) < 0)
        return -1;
    *ret = found && view_is(stream_header(buf_view(&headers), "Echora-Replay-Id"), page->plan_id) &&
           view_is(stream_header(buf_view(&headers), "Echora-Replay-For"), consumer);
    return 0;
}

static int take_answer(struct dead_letters *dl, const struct replay_page *page, struct sending *s,
                       size_t i, struct err *err)
{
    bool ours = true;
    if (s->errs[i].class == ERR_REJECT) {
        const char *code = arena_strdup(page->arena, view_of(s->errs[i].code));
        fail(s->items[i], code != NULL ? code : "internal");
        return 0;
    }
    if (s->errs[i].class != ERR_NONE) {
        *err = s->errs[i];
        return -1;
    }
    if (s->acks[i].duplicate && !FAULT("replay-duplicate-unseen") &&
        is_ours(dl, page, &s->acks[i], s->consumers[i], &ours, err) < 0)
        return -1;
    if (!ours) {
        fail(s->items[i], "duplicate");
        return 0;
    }
    settle(s->items[i], "sent", "", "replayed");
    s->items[i]->sent_sequence = s->acks[i].sequence;
    return 0;
}

static int send_all(struct dead_letters *dl, const struct replay_page *page, struct sending *s,
                    struct err *err)
{
    if (s->n > 0 && bus_publish_many(dl->bus, s->messages, s->n, s->acks, s->errs, err) < 0)
        return -1;
    KILL_POINT("replay-published");
    for (size_t i = 0; i < s->n; i++) {
        if (take_answer(dl, page, s, i, err) < 0)
            return -1;
    }
    return 0;
}

int republish_page(struct dead_letters *dl, struct replay_page *page, struct err *err)
{
    struct sending s = {
        .messages = arena_array(page->arena, page->n, sizeof(*s.messages)),
        .acks = arena_array(page->arena, page->n, sizeof(*s.acks)),
        .errs = arena_array(page->arena, page->n, sizeof(*s.errs)),
        .items = arena_array(page->arena, page->n, sizeof(DlqAuditItem *)),
        .consumers = arena_array(page->arena, page->n, sizeof(*s.consumers)),
    };
    if (arena_overflowed(page->arena))
        return dlq_no_memory(err);
    if (prepare_all(dl, page, &s, err) < 0)
        return -1;
    return send_all(dl, page, &s, err);
}
