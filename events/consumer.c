/* The consumer loop of one lane: pull, decode, hand to the handler, settle.
 *
 * Knows tables and verdicts, no worker. Events of one consumer make a batch of whatever has come
 * (no waiting for more), those delivered before are handled one by one when the lane holds nothing
 * else. What a dependency's trouble holds back (hold.h) goes to the front of its queue and is
 * handled again when the breaker closes; when its patience is over it is given back for two minutes
 * (verdict.h counts the deliveries). */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"
#include "events/event_internal.h"
#include "events/hold.h"
#include "events/intake.h"
#include "events/log.h"
#include "events/settle.h"
#include "events/suspect.h"

#define TICK_MS 1000
#define WAIT_MAX_MS 1000
#define HELD_TOO_LONG_NAK_MS 120000
/* What waited longer before its handler starts gets a whole hold-limit for that. */
#define WAITED_LONG_MS 1000
/* A batch is cut when its decoded events pass this; one event may be as large as decode-max. */
#define BATCH_DECODED_SOFT (8u << 20)
#define HANDLER_ROOM (64u << 20)

struct loop {
    struct lane *lane;
    struct intake *in;
    struct arena *arena;
    struct prng prng;
    size_t turn;        /* the source that is looked at first */
    size_t letter_turn; /* the same, for a dead letter that waits */
    int64_t next_tick_ms;
    size_t capacity;
    /* Of the batch in hand; the first k belong to what the handler sees. */
    struct held **held;
    struct event *events;
    struct verdict *verdicts;
    struct span *spans;
    struct settled *settled;
};

static void loop_free(struct loop *l)
{
    arena_free(l->arena);
    free(l->held);
    free(l->events);
    free(l->verdicts);
    free(l->spans);
    free(l->settled);
}

static int loop_init(struct loop *l, struct lane *lane, struct intake *in, struct err *err)
{
    const struct runtime *rt = lane->rt;
    uint64_t seed;

    *l = (struct loop){.lane = lane, .in = in, .turn = in->first};
    for (size_t i = 0; i < in->n; i++) {
        if (in->sources[i].binding->batch_max > l->capacity)
            l->capacity = in->sources[i].binding->batch_max;
    }
    random_bytes(&seed, sizeof(seed));
    prng_seed(&l->prng, seed);
    l->arena = arena_new((size_t)rt->config->decode_max * 2 + HANDLER_ROOM);
    l->held = calloc(l->capacity, sizeof(*l->held));
    l->events = calloc(l->capacity, sizeof(*l->events));
    l->verdicts = calloc(l->capacity, sizeof(*l->verdicts));
    l->spans = calloc(l->capacity, sizeof(*l->spans));
    l->settled = calloc(l->capacity, sizeof(*l->settled));
    if (l->arena == NULL || l->held == NULL || l->events == NULL || l->verdicts == NULL ||
        l->spans == NULL || l->settled == NULL) {
        loop_free(l);
        return err_set(err, ERR_RETRY, "no-memory", "start lane", "out of memory");
    }
    return 0;
}

static void start_span(struct loop *l, size_t i, const struct binding *b)
{
    struct event *e = &l->events[i];
    struct span *span = &l->spans[i];
    struct trace_context parent;
    char number[24];

    span_start(span, event_parent(e, &parent) ? &parent : NULL, SPAN_CONSUMER, "process");
    e->trace = span->context;
    if (!span_is_recorded(span))
        return;
    snprintf(span->name, sizeof(span->name), "process %s", natsMsg_GetSubject(l->held[i]->msg));
    span_attribute(span, "messaging.system", "nats");
    span_attribute(span, "messaging.operation.type", "process");
    span_attribute(span, "messaging.consumer.group.name", b->spec->durable);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)e->stream_sequence);
    span_attribute(span, "messaging.nats.stream_sequence", number);
    if (e->deliveries > 1) {
        snprintf(number, sizeof(number), "%u", e->deliveries);
        span_attribute(span, "messaging.nats.delivery_count", number);
    }
}

/* Decodes one event; a verdict when the handler must not see it. */
static void prepare(struct loop *l, size_t i, const struct binding *b)
{
    struct err err = ERR_INIT;
    struct event *e = &l->events[i];

    event_take(e, b->def, l->held[i]->msg, &l->held[i]->delivery);
    l->verdicts[i] = (struct verdict){.kind = VERDICT_UNSET};
    l->settled[i] = (struct settled){0};
    start_span(l, i, b);
    switch (suspect_begin(l->lane, b, l->held[i], &err)) {
    case SUSPECT_HANDLE:
        break;
    case SUSPECT_CRASHER:
        l->verdicts[i] = (struct verdict){.kind = VERDICT_CRASH, .err = err};
        return;
    case SUSPECT_LATER:
        l->verdicts[i] = verdict_of_err(&err);
        return;
    }
    if (b->spec->needs_header != NULL && event_header(e, b->spec->needs_header) == NULL) {
        l->verdicts[i].kind = VERDICT_SKIP;
        l->settled[i].not_for_us = true;
        return;
    }
    /* A reader of dead letters must also see those of failed replays, which name their consumer. */
    if (!b->spec->raw && event_check_headers(e, l->held[i]->parsed, &err) < 0) {
        l->verdicts[i] = verdict_of_err(&err);
        return;
    }
    if (!b->spec->raw && !event_is_for(e, b->spec->durable)) {
        l->verdicts[i].kind = VERDICT_SKIP;
        l->settled[i].not_for_us = true;
        return;
    }
    if (b->spec->raw)
        return;
    /* The broker stored it at stored_us, so it is later than that whatever our clock says. */
    const int64_t clock = wall_us(), now = clock > e->stored_us ? clock : e->stored_us;
    if (event_decode(e, (size_t)l->lane->rt->config->decode_max, now, l->arena, &err) < 0) {
        l->verdicts[i] = verdict_of_err(&err);
    } else if (span_is_recorded(&l->spans[i])) {
        char id[UUID_TEXT];

        uuid_format(e->event_id, id);
        span_attribute(&l->spans[i], "messaging.message.id", id);
    }
}

#define SWAP(a, b)                                                                                 \
    do {                                                                                           \
        __typeof__(a) swap_ = (a);                                                                 \
        (a) = (b);                                                                                 \
        (b) = swap_;                                                                               \
    } while (0)

/* Prepares events until the arena has had enough; what is left is put back. Those for the handler
 * come first. Returns how many stay, *ret_k how many the handler gets. */
static size_t prepare_all(struct loop *l, struct source *s, size_t n, size_t *ret_k)
{
    size_t i, k = 0;

    for (i = 0; i < n; i++) {
        if (i > 0 && arena_used(l->arena) > BATCH_DECODED_SOFT) {
            intake_put_back(l->in, s, l->held + i, n - i);
            break;
        }
        prepare(l, i, s->binding);
        if (l->verdicts[i].kind != VERDICT_UNSET)
            continue;
        if (k != i) {
            SWAP(l->held[k], l->held[i]);
            SWAP(l->events[k], l->events[i]);
            SWAP(l->verdicts[k], l->verdicts[i]);
            SWAP(l->spans[k], l->spans[i]);
            SWAP(l->settled[k], l->settled[i]);
        }
        k++;
    }
    *ret_k = k;
    return i;
}

static void call_handler(struct loop *l, const struct binding *b, size_t k)
{
    struct batch batch = {.consumer = b->spec,
                          .events = l->events,
                          .verdicts = l->verdicts,
                          .n = k,
                          .arena = l->arena};
    const int64_t began = mono_us(), now = wall_us();

    for (size_t i = 0; i < k && FAULT("ack-before-handle"); i++)
        settle_ack(l->lane->acks, l->held[i]->lease.ack_subject);
    for (size_t i = 0; i < k; i++)
        metric_observe(b->metrics.age_seconds, (double)(now - l->events[i].stored_us) / 1e6);
    /* A single event's trace is the thread's; several have none in common. */
    trace_set_current(k == 1 ? &l->spans[0].context : NULL);
    b->spec->handle(l->lane->context, &batch);
    trace_set_current(NULL);
    metric_observe(b->metrics.batch_seconds, (double)(mono_us() - began) / 1e6);
    metric_add(b->metrics.batch_events, (double)k);
    for (size_t i = 0; i < k; i++) {
        if (l->verdicts[i].kind == VERDICT_UNSET)
            err_set(&l->verdicts[i].err, ERR_RETRY, "no-verdict", b->spec->durable,
                    "the handler left an event without a verdict");
    }
}

static void log_outcome(const struct binding *b, const struct settled *item,
                        const struct span *span)
{
    const struct err *err = &item->verdict->err;
    const bool quiet = item->settlement.action == SETTLE_ACK || item->outcome == OUTCOME_HELD ||
                       item->outcome == OUTCOME_LATER;
    const enum log_level level = quiet                                   ? LOG_LEVEL_DEBUG
                                 : item->settlement.action == SETTLE_NAK ? LOG_LEVEL_INFO
                                                                         : LOG_LEVEL_WARN;
    char id[UUID_TEXT] = "";

    if (!log_enabled(level))
        return;
    if (!uuid_is_nil(item->event->event_id))
        uuid_format(item->event->event_id, id);
    trace_set_current(&span->context);
    LOG_AT_(level, "event settled", LF_STR("consumer", b->spec->durable),
            LF_STR("outcome", item->not_for_us ? "not-for-us" : verdict_name(item->verdict->kind)),
            LF_STR("class", item->settlement.action == SETTLE_DEAD_LETTER
                                ? item->settlement.dead_letter_class
                                : err_class_name(err->class)),
            LF_I64("seq", (int64_t)item->held->delivery.stream_sequence),
            LF_I64("deliveries", item->held->delivery.deliveries), LF_STR("event_id", id),
            LF_VIEW("entity", item->event->entity_id), LF_STR("code", err->code),
            LF_STR("op", err->op), LF_STR("reason", err->text),
            LF_I64("delay_ms", item->settlement.delay_ms));
    trace_set_current(NULL);
}

static struct settlement decide(struct loop *l, const struct binding *b, struct settled *item)
{
    const struct worker_config *config = l->lane->rt->config;
    const struct retry_pace *pace = b->spec->pace != NULL ? b->spec->pace : &retry_pace_usual;
    const unsigned deliveries = item->held->delivery.deliveries;
    const unsigned give_up_at = (unsigned)config->give_up_at;
    const unsigned tries = item->verdict->kind == VERDICT_FATAL
                               ? deliveries
                               : deliveries - suspect_no_tries(item->held);
    const struct settlement s =
        verdict_decide(item->verdict, tries, give_up_at, pace, config->retry_longest_ms, &l->prng);

    if (s.action != SETTLE_HOLD || !hold_is_own_trouble(b, item->held, &item->verdict->err))
        return s;
    struct verdict own = *item->verdict;
    own.err.class = ERR_RETRY;
    return verdict_decide(&own, tries, give_up_at, pace, config->retry_longest_ms, &l->prng);
}

/* The handler works on it beside others: no longer what nothing may be fetched for. */
static void keep_going(struct loop *l, struct settled *item)
{
    intake_clear_suspect(l->in, item->held);
    item->held->going_on = true;
    item->held->not_before_ms = mono_ms() + item->settlement.delay_ms;
}

/* Ends every event of the batch but those that wait for a dependency. */
static void settle_all(struct loop *l, struct source *s, size_t n)
{
    struct binding *b = s->binding;
    struct runtime *rt = l->lane->rt;
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        struct settled *item = &l->settled[i];

        item->held = l->held[i];
        item->event = &l->events[i];
        item->verdict = &l->verdicts[i];
        item->held->letter_waits = item->held->going_on = false;
        item->settlement = decide(l, b, item);
    }
    /* What has a mark is alone in its batch. */
    suspect_end(l->lane, b, l->held[0], l->settled[0].settlement.action);
    KILL_POINT("before-settle");
    settle_batch(l->lane, b, l->settled, n, l->arena);
    for (size_t i = 0; i < n; i++) {
        struct settled *item = &l->settled[i];
        const bool good = item->settlement.action == SETTLE_ACK;

        log_outcome(b, item, &l->spans[i]);
        span_end(&l->spans[i], good ? NULL : &item->verdict->err);
        metric_add(b->metrics.outcome[item->outcome], 1);
        if (item->outcome == OUTCOME_DONE) {
            atomic_fetch_add(&b->done, 1);
            metric_set(b->metrics.last_success, (double)wall_us() / 1e6);
        }
        if (item->settlement.action == SETTLE_HOLD) {
            hold_event(l->in, s, item);
            l->held[kept++] = item->held;
            continue;
        }
        if (item->settlement.action == SETTLE_LATER) {
            keep_going(l, item);
            l->held[kept++] = item->held;
            continue;
        }
        if (item->settlement.action == SETTLE_EXIT)
            runtime_stop(rt, &item->verdict->err);
        intake_release(l->in, item->held);
    }
    if (kept > 0)
        intake_put_back(l->in, s, l->held, kept);
}

/* A handler that hangs must lose its event, one that is slow must not: each handling has hold-limit
 * for itself, however long the event had waited. */
static void limit_handling(struct loop *l, size_t n)
{
    const struct runtime *rt = l->lane->rt;
    const int64_t now = mono_ms();

    for (size_t i = 0; i < n; i++) {
        if (now - l->held[i]->received_ms > WAITED_LONG_MS)
            progress_set_end(rt->progress, &l->held[i]->lease, now + rt->config->hold_limit_ms);
    }
}

/* Whether the handler has come to an end with any of the first k. */
static bool any_decided(const struct loop *l, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        if (l->verdicts[i].kind != VERDICT_LATER)
            return true;
    }
    return false;
}

static void handle(struct loop *l, struct source *s, size_t n)
{
    struct isolation *isolation = l->lane->isolation;
    const bool suspect = l->held[0]->suspect;
    size_t k;

    if (FAULT("crash-mark-early"))
        (void)suspect_begin(l->lane, s->binding, l->held[0], &(struct err){0});
    if (l->held[0]->alone)
        pthread_rwlock_wrlock(&isolation->alone);
    else
        pthread_rwlock_rdlock(&isolation->alone);
    arena_reset(l->arena);
    n = prepare_all(l, s, n, &k);
    limit_handling(l, n);
    if (k > 0)
        call_handler(l, s->binding, k);
    const bool decided = any_decided(l, k);
    settle_all(l, s, n);
    if (decided)
        shut_handled(l->lane);
    pthread_rwlock_unlock(&isolation->alone);
    pthread_mutex_lock(&l->lane->mutex);
    ramp_settled(&s->ramp, !suspect);
    pthread_mutex_unlock(&l->lane->mutex);
}

/* Handles one batch; false when there is none. Sources take turns. */
static bool handle_next(struct loop *l, int64_t now, bool going_on)
{
    for (int alone = 0; alone <= 1; alone++) {
        for (size_t i = 0; i < l->in->n; i++) {
            struct source *s = &l->in->sources[(l->turn + i) % l->in->n];
            size_t n;

            if (now < s->handle_after_ms)
                continue;
            n = intake_take(l->in, s, alone != 0, going_on, now, l->held,
                            alone != 0 || s->only_one ? 1 : s->binding->batch_max);
            if (n == 0)
                continue;
            l->turn = (l->turn + i + 1) % l->in->n;
            handle(l, s, n);
            return true;
        }
    }
    return false;
}

/* While the dead-letter stream is away: stores one dead letter that waits, if a try is due.
 * Consumers take turns: the stream may be full for one of them. */
static bool handle_letter(struct loop *l)
{
    for (size_t i = 0; i < l->in->n; i++) {
        struct source *s = &l->in->sources[(l->letter_turn + i) % l->in->n];
        struct held *h = intake_take_letter(l->in, s);

        if (h == NULL)
            continue;
        if (!watch_try_dead_letter(l->lane->rt->watch)) {
            intake_put_back(l->in, s, &h, 1);
            return false;
        }
        l->letter_turn = (l->letter_turn + i + 1) % l->in->n;
        l->held[0] = h;
        handle(l, s, 1);
        watch_tried_dead_letter(l->lane->rt->watch);
        return true;
    }
    return false;
}

/* Events whose time in hand is over go back for 2 minutes, whatever they wait for. */
static void give_back_old(struct loop *l, int64_t now)
{
    for (size_t i = 0; i < l->in->n; i++) {
        struct source *s = &l->in->sources[i];
        struct held *h;

        while ((h = intake_take_over(l->in, s, now)) != NULL) {
            log_info("event held too long, given back",
                     LF_STR("consumer", s->binding->spec->durable),
                     LF_I64("seq", (int64_t)h->delivery.stream_sequence));
            settle_nak(l->lane->acks, h->lease.ack_subject, HELD_TOO_LONG_NAK_MS);
            intake_release(l->in, h);
        }
    }
}

/* Consumers that fell silent or were called gone: is it still there? */
static void look_after_consumers(struct loop *l)
{
    for (size_t i = 0; i < l->in->n; i++) {
        struct source *s = &l->in->sources[i];
        struct err err = ERR_INIT;
        bool look;

        pthread_mutex_lock(&l->lane->mutex);
        look = s->look && bus_connected(l->lane->bus);
        if (look)
            s->look = false;
        pthread_mutex_unlock(&l->lane->mutex);
        if (look && binding_check(l->lane->rt, s->binding, &err) < 0) {
            if (err.class != ERR_FATAL) {
                pthread_mutex_lock(&l->lane->mutex);
                s->look = true;
                pthread_mutex_unlock(&l->lane->mutex);
                continue;
            }
            runtime_stop(l->lane->rt, &err);
            return;
        }
    }
}

static void tick(struct loop *l, int64_t now)
{
    const struct worker_spec *spec = l->lane->rt->spec;
    struct err err = ERR_INIT;

    if (now < l->next_tick_ms)
        return;
    l->next_tick_ms = now + TICK_MS;
    give_back_old(l, now);
    look_after_consumers(l);
    if (l->lane->index != 0 || spec->tick == NULL || !watch_allows(l->lane->rt->watch))
        return;
    if (spec->tick(l->lane->context, &err) == 0)
        return;
    log_warn("chores failed", LF_STR("code", err.code), LF_STR("op", err.op),
             LF_STR("reason", err.text));
    if (err.class == ERR_FATAL)
        runtime_stop(l->lane->rt, &err);
    else if (err.class == ERR_UNAVAILABLE)
        watch_trip(l->lane->rt->watch, &err);
}

/* Fetches and handles; false when there is nothing to do now. */
static bool work(struct loop *l, int64_t now)
{
    bool trial;
    const bool allowed = shut_allows(l->lane, now, &trial);

    for (size_t i = 0; i < l->in->n; i++)
        l->in->sources[i].only_one = trial;
    if (allowed)
        intake_pull(l->in, now);
    return handle_next(l, now, !allowed);
}

static int64_t next_look_ms(const struct lane *lane, int64_t now)
{
    const struct shut *s = &lane->shut;
    const bool soon = s->shut && s->until_ms > now && s->until_ms < now + WAIT_MAX_MS;

    return soon ? s->until_ms : now + WAIT_MAX_MS;
}

static void loop_run(struct loop *l)
{
    struct runtime *rt = l->lane->rt;

    shut_start(l->lane);
    while (!runtime_stopping(rt)) {
        const int64_t now = mono_ms();

        health_beat(rt->health, l->lane->index);
        intake_review(l->in, now);
        tick(l, now);
        lane_reload(l->lane);
        l->in->letters_stuck = !watch_stores_letters(rt->watch);
        if (l->in->letters_stuck && !runtime_stopping(rt) && handle_letter(l))
            continue;
        if (watch_allows(rt->watch) && !runtime_stopping(rt)) {
            if (work(l, now))
                continue;
        }
        lane_wait_until(l->lane, intake_next_ms(l->in, now, next_look_ms(l->lane, now)));
    }
}

/* Everything that must hold before the first fetch; repeated while a dependency is away. */
static int prepare_lane(struct lane *lane, struct intake *in, struct err *err)
{
    struct runtime *rt = lane->rt;

    if (lane_open(lane, err) < 0)
        return -1;
    while (!runtime_stopping(rt)) {
        struct err e = ERR_INIT;
        size_t i = 0;

        while (i < rt->spec->n_consumers && (!lane_serves(lane, &rt->bindings[i]) ||
                                             binding_check(rt, &rt->bindings[i], &e) == 0))
            i++;
        if (i == rt->spec->n_consumers && intake_open(in, lane, &e) == 0)
            return 0;
        if (e.class == ERR_FATAL) {
            *err = e;
            return -1;
        }
        log_warn("consumers can't be reached yet", LF_STR("code", e.code), LF_STR("op", e.op),
                 LF_STR("reason", e.text));
        health_beat(rt->health, lane->index);
        lane_wait_until(lane, mono_ms() + 500);
    }
    *err = ERR_INIT;
    return -1;
}

void consumer_run(struct lane *lane)
{
    struct intake *in = calloc(1, sizeof(*in));
    struct err err = ERR_INIT;
    struct loop loop;

    if (in == NULL || prepare_lane(lane, in, &err) < 0) {
        if (err.class != ERR_NONE)
            runtime_stop(lane->rt, &err);
        free(in);
        return;
    }
    if (loop_init(&loop, lane, in, &err) < 0) {
        runtime_stop(lane->rt, &err);
    } else {
        atomic_store(&lane->serving, true);
        runtime_note_serving(lane->rt);
        if (lane->index == 0)
            suspect_check(lane);
        loop_run(&loop);
        loop_free(&loop);
    }
    intake_close(in);
    free(in);
}
