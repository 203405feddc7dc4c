// SPDX-License-Identifier: Apache-2.0
#include "events/settle.h"

#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/deadletter.h"
#include "events/event_internal.h"
#include "events/log.h"

static void send(struct bus *bus, const char *ack_subject, const char *word)
{
    /* Lost with the connection: the event comes again, effects are idempotent. */
    if (natsConnection_PublishString(bus_native(bus), ack_subject, word) != NATS_OK)
        log_debug("acknowledgement not sent", LF_STR("word", word));
}

void settle_ack(struct bus *bus, const char *ack_subject)
{
    send(bus, ack_subject, "+ACK");
}

void settle_nak(struct bus *bus, const char *ack_subject, int64_t delay_ms)
{
    char word[64] = "-NAK";

    if (delay_ms > 0)
        snprintf(word, sizeof(word), "-NAK {\"delay\":%lld}", (long long)delay_ms * 1000000);
    send(bus, ack_subject, word);
}

void settle_wpi(struct bus *bus, const char *ack_subject)
{
    send(bus, ack_subject, "+WPI");
}

static enum outcome outcome_of(const struct settled *item)
{
    switch (item->verdict->kind) {
    case VERDICT_DONE:
        return OUTCOME_DONE;
    case VERDICT_SKIP:
        return item->not_for_us ? OUTCOME_NOT_FOR_US : OUTCOME_SKIP;
    case VERDICT_REJECT:
        return OUTCOME_REJECT;
    case VERDICT_FATAL:
        return OUTCOME_FATAL;
    case VERDICT_CRASH:
        return OUTCOME_CRASH;
    case VERDICT_LATER:
        return OUTCOME_LATER;
    case VERDICT_UNCERTAIN:
    case VERDICT_RETRY:
    case VERDICT_UNSET:
        break;
    }
    if (item->settlement.action == SETTLE_HOLD)
        return OUTCOME_HELD;
    if (item->settlement.action == SETTLE_DEAD_LETTER)
        return OUTCOME_EXHAUSTED;
    return item->verdict->kind == VERDICT_UNCERTAIN ? OUTCOME_UNCERTAIN : OUTCOME_RETRY;
}

static unsigned hop_of(const struct event *e)
{
    int64_t hop = 0;
    const char *text = event_header(e, "Echora-Replay-Hop");

    if (text == NULL || !view_to_i64(view_of(text), 0, 1000000, &hop))
        return 0;
    return (unsigned)hop;
}

/* What a dead letter leaves out of its original, so that at least the failure is on record. */
enum left_out { NOTHING, HEADERS, HEADERS_AND_PAYLOAD };

static int build_dead_letter(const struct runtime *rt, const struct binding *b,
                             const struct settled *item, enum left_out left_out,
                             struct arena *arena, struct bus_message *ret, struct err *err)
{
    const struct err *cause = &item->verdict->err;
    struct dead_letter facts = {
        .stream = b->stream,
        .stream_created_s = atomic_load(&b->stream_created_s),
        .consumer = b->spec->durable,
        .parks = b->spec->parks,
        .subject = natsMsg_GetSubject(item->held->msg),
        .sequence = item->held->delivery.stream_sequence,
        .deliveries = item->held->delivery.deliveries,
        .class = item->settlement.dead_letter_class,
        .code = cause->code[0] != '\0' ? cause->code : "internal",
        .reason = cause->text[0] != '\0' ? cause->text : verdict_name(item->verdict->kind),
        .entity = item->event->entity_id,
        .first_seen_us = item->held->delivery.stored_us,
        .failed_at_us = wall_us(),
        .worker = rt->instance,
        .hop = hop_of(item->event),
        .payload = item->event->payload,
    };

    if (left_out == NOTHING &&
        event_headers(item->event, arena, &facts.original, &facts.n_original) < 0)
        return err_set(err, ERR_RETRY, "no-memory", "write dead letter", "the arena is full");
    if (left_out != NOTHING)
        facts.reason = arena_printf(arena, "[without %s: the whole dead letter is refused] %s",
                                    left_out == HEADERS ? "the original headers"
                                                        : "original headers and payload",
                                    facts.reason);
    if (left_out == HEADERS_AND_PAYLOAD)
        facts.payload = (struct bytes){0};
    if (facts.reason == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "write dead letter", "the arena is full");
    return dead_letter_build(&facts, arena, ret, err);
}

static const struct metric_def dlq_def = {"echora_dlq_records_total", METRIC_COUNTER,
                                          "Dead letters stored.", "stream,consumer,class", NULL};

/* The dead letter is not stored: the event stays in hand until it is. Better late than never. */
static void hold_for_letter(struct lane *lane, const struct binding *b, struct settled *item,
                            const struct err *cause)
{
    struct err err = *cause;

    log_warn("dead letter not stored, event held", LF_STR("consumer", b->spec->durable),
             LF_I64("seq", (int64_t)item->held->delivery.stream_sequence), LF_STR("code", err.code),
             LF_STR("reason", err.text));
    metric_add(b->metrics.dead_letter_failures, 1);
    item->settlement = (struct settlement){.action = SETTLE_HOLD};
    item->outcome = OUTCOME_HELD;
    item->held->letter_waits = true;
    err.class = ERR_UNAVAILABLE;
    err.dependency = DEP_DEAD_LETTERS;
    (void)!err_wrap(&err, "ANIME_DLQ");
    watch_trip(lane->rt->watch, &err);
}

struct letters {
    struct bus_message *messages;
    struct bus_ack *acks;
    struct err *errs;
    struct settled **items;
    size_t n;
};

/* The broker had a dead letter of this identity. Usually ours, its acknowledgement was lost; but a
 * stream that was deleted and made anew counts its sequences from 1 again, and until we know its
 * new creation time our identities are those of the old one. 1: ours, 0: made anew, -1: not known.
 */
static int is_same_stream(struct lane *lane, struct binding *b, struct err *err)
{
    const int64_t created_s = atomic_load(&b->stream_created_s);

    if (binding_check(lane->rt, b, err) < 0) {
        if (err->class == ERR_FATAL)
            runtime_stop(lane->rt, err);
        return -1;
    }
    return atomic_load(&b->stream_created_s) == created_s;
}

static void note_answer(struct lane *lane, struct binding *b, struct settled *item,
                        const struct bus_ack *ack, struct err *err)
{
    if (err->class == ERR_NONE && ack->duplicate && is_same_stream(lane, b, err) == 0)
        err_set(err, ERR_RETRY, "nats-duplicate", "write dead letter",
                "the stream %s was made anew", b->stream);
    if (err->class != ERR_NONE && !FAULT("dead-letter-unconfirmed")) {
        hold_for_letter(lane, b, item, err);
        return;
    }
    /* Plain +TERM: with a reason behind it a server before 2.10.4 takes it for no ack at all. */
    send(lane->acks, item->held->lease.ack_subject, "+TERM");
    metric_add(metric_series(&dlq_def, (const char *[]){b->stream, b->spec->durable,
                                                        item->settlement.dead_letter_class}),
               1);
}

/* The stream refuses this one dead letter, and would for ever (too large): leaner ones. */
static void publish_lean(struct lane *lane, const struct binding *b, const struct settled *item,
                         struct arena *arena, struct bus_ack *ack, struct err *err)
{
    for (enum left_out left_out = HEADERS;
         left_out <= HEADERS_AND_PAYLOAD && err->class == ERR_REJECT; left_out++) {
        struct bus_message message;

        log_warn("dead letter refused, a leaner one follows", LF_STR("consumer", b->spec->durable),
                 LF_I64("seq", (int64_t)item->held->delivery.stream_sequence),
                 LF_STR("code", err->code), LF_STR("reason", err->text));
        *err = ERR_INIT;
        if (build_dead_letter(lane->rt, b, item, left_out, arena, &message, err) == 0)
            (void)!bus_publish(lane->bus, &message, ack, err);
    }
}

static void publish_letters(struct lane *lane, struct binding *b, struct letters *l,
                            struct arena *arena)
{
    struct err err = ERR_INIT;

    if (bus_publish_many(lane->bus, l->messages, l->n, l->acks, l->errs, &err) < 0)
        watch_poke(lane->rt->watch);
    KILL_POINT("before-term");
    for (size_t i = 0; i < l->n; i++) {
        publish_lean(lane, b, l->items[i], arena, &l->acks[i], &l->errs[i]);
        note_answer(lane, b, l->items[i], &l->acks[i], &l->errs[i]);
    }
}

static void settle_dead_letters(struct lane *lane, struct binding *b, struct settled items[],
                                size_t n, size_t n_letters, struct arena *arena)
{
    struct letters l = {
        .messages = arena_array(arena, n_letters, sizeof(*l.messages)),
        .acks = arena_array(arena, n_letters, sizeof(*l.acks)),
        .errs = arena_array(arena, n_letters, sizeof(*l.errs)),
        .items = arena_array(arena, n_letters, sizeof(*l.items)),
    };
    const bool room = l.messages != NULL && l.acks != NULL && l.errs != NULL && l.items != NULL;

    for (size_t i = 0; i < n; i++) {
        struct err err = ERR_INIT;

        if (items[i].settlement.action != SETTLE_DEAD_LETTER)
            continue;
        if (!room)
            err_set(&err, ERR_RETRY, "no-memory", "write dead letter", "the arena is full");
        if (!room ||
            build_dead_letter(lane->rt, b, &items[i], NOTHING, arena, &l.messages[l.n], &err) < 0) {
            hold_for_letter(lane, b, &items[i], &err);
            continue;
        }
        l.items[l.n++] = &items[i];
    }
    if (l.n > 0)
        publish_letters(lane, b, &l, arena);
}

void settle_batch(struct lane *lane, struct binding *b, struct settled items[], size_t n,
                  struct arena *arena)
{
    size_t letters = 0;

    for (size_t i = 0; i < n; i++) {
        struct settled *item = &items[i];

        item->outcome = outcome_of(item);
        switch (item->settlement.action) {
        case SETTLE_ACK:
            settle_ack(lane->acks, item->held->lease.ack_subject);
            break;
        case SETTLE_NAK:
        case SETTLE_EXIT:
            settle_nak(lane->acks, item->held->lease.ack_subject, item->settlement.delay_ms);
            break;
        case SETTLE_DEAD_LETTER:
            letters++;
            break;
        case SETTLE_HOLD:
        case SETTLE_LATER:
            break;
        }
    }
    if (letters > 0)
        settle_dead_letters(lane, b, items, n, letters, arena);
}
