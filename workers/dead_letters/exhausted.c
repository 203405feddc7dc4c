// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/exhausted.h"

#include <stdio.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/stream.h"
#include "events/suspect.h"

enum { MARKS = 500, BEHIND_MARKS = EXHAUSTED_MAX - MARKS };

static int64_t member(const json_t *object, const char *name)
{
    return (int64_t)json_integer_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static bool read_filters(const json_t *config, struct consumer_state *ret)
{
    const json_t *many = json_object_get(config, "filter_subjects");
    const char *one = text_of(config, "filter_subject");
    ret->n_filters = json_array_size(many);
    if (ret->n_filters > EXHAUSTED_FILTERS)
        return false;
    for (size_t i = 0; i < ret->n_filters; i++)
        ret->filters[i] = json_string_value(json_array_get(many, i));
    if (ret->n_filters == 0)
        ret->filters[ret->n_filters++] = one[0] != '\0' ? one : ">";
    for (size_t i = 0; i < ret->n_filters; i++) {
        if (ret->filters[i] == NULL || strpbrk(ret->filters[i], "\"\\") != NULL)
            return false;
    }
    return true;
}

bool consumer_state_read(const char *stream, const json_t *info, struct consumer_state *ret)
{
    const json_t *config = json_object_get(info, "config");
    const char *policy = text_of(config, "deliver_policy");
    const int64_t max_deliver = member(config, "max_deliver");
    int64_t seconds = 0;
    int32_t nanos = 0;
    *ret = (struct consumer_state){
        .stream = stream,
        .name = text_of(info, "name"),
        .gives_all = strcmp(policy, "last") != 0 && strcmp(policy, "last_per_subject") != 0,
        .floor = (uint64_t)member(json_object_get(info, "ack_floor"), "stream_seq"),
        .delivered = (uint64_t)member(json_object_get(info, "delivered"), "stream_seq"),
        .pending = member(info, "num_pending"),
        .in_hand = member(info, "num_ack_pending"),
        .redelivered = member(info, "num_redelivered"),
    };
    if (max_deliver <= 0 || max_deliver > UINT32_MAX || ret->name[0] == '\0' ||
        strlen(ret->name) >= sizeof(((struct consumer_memory *)NULL)->name) ||
        strcmp(text_of(config, "ack_policy"), "explicit") != 0 ||
        !rfc3339_parse(view_of(text_of(info, "created")), &seconds, &nanos))
        return false;
    ret->max_deliver = (unsigned)max_deliver;
    ret->created_us = seconds * 1000000 + nanos / 1000;
    return read_filters(config, ret);
}

static bool nothing_in_hand(const struct consumer_state *c)
{
    return c->in_hand == 0 || FAULT("exhausted-though-in-hand");
}

uint64_t consumer_state_settled(const struct consumer_state *c)
{
    return nothing_in_hand(c) ? c->delivered : c->floor;
}

void consumer_memory_note(struct consumer_memory *memory, const struct consumer_state *c,
                          uint64_t stream_last)
{
    if (c->in_hand > 0)
        return;
    memory->clear = c->delivered;
    if (c->pending == 0 && stream_last > c->delivered)
        memory->clear = stream_last;
    memory->clear_counted = c->redelivered;
    memory->floor_free = c->floor >= c->delivered;
    memory->floor_then = c->floor;
}

bool consumer_floor_proves(const struct consumer_state *c, const struct consumer_memory *memory,
                           uint64_t *ret_after)
{
    *ret_after = c->floor > memory->clear ? c->floor : memory->clear;
    return c->floor >= memory->clear || (memory->floor_free && c->floor == memory->floor_then);
}

bool exhausted_by_mark(const struct consumer_state *c, uint64_t sequence,
                       const struct suspect_mark *mark)
{
    return sequence <= consumer_state_settled(c) &&
           ((mark->time_us >= c->created_us && !mark->done && mark->deliveries >= c->max_deliver) ||
            FAULT("exhausted-marks-believed"));
}

/* Whether the stream still holds all that ever stood in `after`..`before`, both excluded. */
static int is_whole(struct dead_letters *dl, const char *stream, uint64_t after, uint64_t before,
                    bool *ret, struct err *err)
{
    CLEANUP(dlq_jsonp) json_t *info = NULL;
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.INFO.%s", stream);
    if (bus_js_api(dl->bus, subject, VIEW_LIT("{\"deleted_details\":true}"), &info, err) < 0)
        return -1;
    const json_t *state = json_object_get(info, "state");
    const json_t *deleted = json_object_get(state, "deleted");
    const uint64_t first = (uint64_t)member(state, "first_seq");
    bool whole = first <= after + 1;
    for (size_t i = 0; whole && i < json_array_size(deleted); i++) {
        const uint64_t gone = (uint64_t)json_integer_value(json_array_get(deleted, i));
        whole = gone <= after || gone >= before;
    }
    *ret = whole || FAULT("exhausted-gap-unseen");
    return 0;
}

/* The first event of the consumer behind a sequence; 0 when there is none. */
static int next_event(struct dead_letters *dl, const struct consumer_state *c, uint64_t after,
                      uint64_t *ret, struct err *err)
{
    *ret = 0;
    for (size_t i = 0; i < c->n_filters; i++) {
        struct stored_message message;
        bool found;
        arena_reset(dl->scratch);
        if (stream_next(dl->bus, c->stream, after + 1, c->filters[i], dl->scratch, &message, &found,
                        err) < 0)
            return -1;
        if (found && (*ret == 0 || message.sequence < *ret))
            *ret = message.sequence;
    }
    return 0;
}

/* Delivered events behind `after`, one more than wanted at most. */
static int delivered_since(struct dead_letters *dl, const struct consumer_state *c, uint64_t after,
                           size_t wanted, uint64_t out[], size_t *ret_n, struct err *err)
{
    *ret_n = 0;
    while (*ret_n <= wanted) {
        if (next_event(dl, c, after, &after, err) < 0)
            return -1;
        if (after == 0 || after > c->delivered)
            break;
        if (*ret_n < wanted)
            out[*ret_n] = after;
        ++*ret_n;
    }
    return 0;
}

/* With nothing in hand: all events since the memory's moment, when as many were exhausted. */
static int find_all(struct dead_letters *dl, const struct consumer_state *c,
                    const struct consumer_memory *memory, uint64_t out[], size_t *ret_n,
                    struct err *err)
{
    const int64_t exhausted = c->redelivered - memory->clear_counted;
    const size_t wanted = exhausted <= BEHIND_MARKS ? (size_t)exhausted : 0;
    bool whole;
    *ret_n = 0;
    if (wanted == 0)
        return 0;
    if (delivered_since(dl, c, memory->clear, wanted, out, ret_n, err) < 0 ||
        is_whole(dl, c->stream, memory->clear, c->delivered + 1, &whole, err) < 0)
        return -1;
    if (*ret_n != wanted || !whole)
        *ret_n = 0;
    return 0;
}

/* With nothing in hand: the first event behind the floor. */
static int find_first(struct dead_letters *dl, const struct consumer_state *c,
                      const struct consumer_memory *memory, uint64_t out[], size_t *ret_n,
                      struct err *err)
{
    uint64_t after;
    bool whole;
    *ret_n = 0;
    if (!consumer_floor_proves(c, memory, &after))
        return 0;
    if (next_event(dl, c, after, &out[0], err) < 0)
        return -1;
    if (out[0] == 0 || out[0] > c->delivered)
        return 0;
    if (is_whole(dl, c->stream, after, out[0], &whole, err) < 0)
        return -1;
    *ret_n = whole;
    return 0;
}

/* The newest mark at or behind memory->marks_at; *ret_sequence 0: there is none, begin anew. */
static int next_mark(struct dead_letters *dl, const struct consumer_state *c,
                     struct consumer_memory *memory, int64_t stream_created_s,
                     struct suspect_mark *ret, uint64_t *ret_sequence, struct err *err)
{
    char filter[SUSPECT_SUBJECT_MAX];
    struct stored_message message;
    struct err e = ERR_INIT;
    int64_t sequence = 0;
    bool found;
    snprintf(filter, sizeof(filter), "suspect.%s.*", c->name);
    arena_reset(dl->scratch);
    *ret_sequence = 0;
    if (stream_next(dl->bus, SUSPECT_STREAM, memory->marks_at, filter, dl->scratch, &message,
                    &found, &e) < 0) {
        if (strcmp(e.code, "nats-10059") == 0) /* there is no such stream: no marks */
            return 0;
        *err = e;
        return -1;
    }
    memory->marks_at = found ? message.sequence + 1 : 1;
    if (!found)
        return 0;
    (void)!view_to_i64(view_of(strrchr(message.subject, '.') + 1), 1, INT64_MAX, &sequence);
    *ret_sequence = sequence > 0 ? (uint64_t)sequence : UINT64_MAX;
    suspect_parse(view_of_bytes(message.payload), stream_created_s, ret);
    return 0;
}

static int find_by_marks(struct dead_letters *dl, const struct consumer_state *c,
                         struct consumer_memory *memory, int64_t stream_created_s, uint64_t out[],
                         size_t *ret_n, struct err *err)
{
    *ret_n = 0;
    for (int looked = 0; looked < MARKS; looked++) {
        struct suspect_mark mark;
        uint64_t sequence;
        if (next_mark(dl, c, memory, stream_created_s, &mark, &sequence, err) < 0)
            return -1;
        if (sequence == 0)
            break;
        if (exhausted_by_mark(c, sequence, &mark))
            out[(*ret_n)++] = sequence;
    }
    return 0;
}

int exhausted_find(struct dead_letters *dl, const struct consumer_state *c,
                   struct consumer_memory *memory, int64_t stream_created_s,
                   uint64_t out[static EXHAUSTED_MAX], size_t *ret_n, struct err *err)
{
    size_t n = 0;
    *ret_n = 0;
    if (c->redelivered == 0)
        return 0;
    if (!FAULT("exhausted-marks-unread") &&
        find_by_marks(dl, c, memory, stream_created_s, out, ret_n, err) < 0)
        return -1;
    if (!nothing_in_hand(c) || !c->gives_all || c->floor >= c->delivered ||
        c->redelivered <= memory->clear_counted)
        return 0;
    if (find_all(dl, c, memory, out + *ret_n, &n, err) < 0 ||
        (n == 0 && find_first(dl, c, memory, out + *ret_n, &n, err) < 0))
        return -1;
    *ret_n += n;
    return 0;
}
