// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/reconcile.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/deadletter.h"
#include "events/log.h"
#include "events/metrics.h"
#include "events/stream.h"
#include "workers/dead_letters/exhausted.h"
#include "workers/dead_letters/given_up.h"
#include "workers/dead_letters/progress.h"
#include "workers/dead_letters/sql.h"

enum { CONSUMERS_MAX = 256, STREAMS_MAX = 16, AGAIN_MS = 1000 };

struct reconcile {
    int64_t next_ms;
    uint64_t stream_last[STREAMS_MAX]; /* by the registry's order: at the look before */
    struct consumer_memory memory[CONSUMERS_MAX];
};

static const struct metric_def unexplained_def = {
    "echora_dlq_unexplained", METRIC_GAUGE,
    "Events that the server has given up delivering, by its count, and no dead letter explains.",
    "stream,consumer", NULL};

static const struct metric_def looks_def = {
    "echora_dlq_reconciliations_total", METRIC_COUNTER,
    "Looks through all consumers for events that were given up unnoticed.", "", NULL};

struct reconcile *reconcile_new(void)
{
    return calloc(1, sizeof(struct reconcile));
}

struct reconcile *reconcile_free(struct reconcile *r)
{
    free(r);
    return NULL;
}

/* What is remembered of the consumer; one made anew is another. NULL: there are too many. */
static struct consumer_memory *memory_of(struct reconcile *r, const struct consumer_state *c)
{
    for (size_t i = 0; i < CONSUMERS_MAX; i++) {
        struct consumer_memory *m = &r->memory[i];
        if (m->used && (strcmp(m->stream, c->stream) != 0 || strcmp(m->name, c->name) != 0))
            continue;
        if (!m->used || m->created_us != c->created_us) {
            *m = (struct consumer_memory){.created_us = c->created_us, .marks_at = 1, .used = true};
            snprintf(m->stream, sizeof(m->stream), "%s", c->stream);
            snprintf(m->name, sizeof(m->name), "%s", c->name);
        }
        return m;
    }
    return NULL;
}

static int has_letter(struct dead_letters *dl, const char *id, bool *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_text(view_of(id));
    if (pg_query(dl->pg, &sql_letter_by_id, &param, 1, &rows, err) < 0)
        return -1;
    *ret = PQntuples(rows) > 0;
    return 0;
}

static int letters_of(struct dead_letters *dl, const char *consumer, int64_t *ret, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    const struct pg_param param = pg_text(view_of(consumer));
    if (pg_query(dl->pg, &sql_count_of_consumer, &param, 1, &rows, err) < 0)
        return -1;
    *ret = pg_get_i64(rows, 0, 0);
    return 0;
}

/* *ret_new: it had none. */
static int give_letter(struct dead_letters *dl, const struct consumer_state *c, uint64_t sequence,
                       int64_t stream_created_s, bool *ret_new, struct err *err)
{
    struct given_up event = {.sequence = sequence, .deliveries = c->max_deliver};
    bool known;
    *ret_new = false;
    arena_reset(dl->scratch);
    const char *id =
        dead_letter_identity(c->stream, stream_created_s, c->name, sequence, dl->scratch);
    if (id == NULL)
        return dlq_no_memory(err);
    if (has_letter(dl, id, &known, err) < 0)
        return -1;
    if (known && !FAULT("reconcile-unasked"))
        return 0;
    snprintf(event.stream, sizeof(event.stream), "%s", c->stream);
    snprintf(event.consumer, sizeof(event.consumer), "%s", c->name);
    /* Not decoded: that may be what ended its worker, and would end this one at each start. */
    if (given_up_write(dl, &event, GIVEN_UP_RECONCILED, false, dl->scratch, ret_new, err) < 0)
        return -1;
    if (*ret_new)
        log_warn("an event that was given up unnoticed has its dead letter now",
                 LF_STR("stream", c->stream), LF_STR("consumer", c->name),
                 LF_I64("seq", (int64_t)sequence));
    return 0;
}

/* Letters that were written now are not in the index yet. */
static int tell_unexplained(struct dead_letters *dl, const struct consumer_state *c,
                            struct consumer_memory *memory, int64_t written, struct err *err)
{
    int64_t letters = 0, unexplained = c->redelivered - c->in_hand;
    if (unexplained > 0 && letters_of(dl, c->name, &letters, err) < 0)
        return -1;
    unexplained -= letters + written;
    unexplained = unexplained > 0 ? unexplained : 0;
    metric_set(metric_series(&unexplained_def, (const char *[]){c->stream, c->name}),
               (double)unexplained);
    if (unexplained > memory->unexplained)
        log_warn("events were given up that no dead letter explains, and which ones can't be told",
                 LF_STR("stream", c->stream), LF_STR("consumer", c->name),
                 LF_I64("events", unexplained));
    memory->unexplained = unexplained;
    return 0;
}

static int look_at(struct dead_letters *dl, const struct consumer_state *c,
                   int64_t stream_created_s, uint64_t stream_last, struct err *err)
{
    struct consumer_memory *memory = memory_of(dl->reconcile, c);
    uint64_t found[EXHAUSTED_MAX];
    size_t n;
    int64_t written = 0;
    if (memory == NULL)
        return 0;
    if (exhausted_find(dl, c, memory, stream_created_s, found, &n, err) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        bool is_new;
        if (give_letter(dl, c, found[i], stream_created_s, &is_new, err) < 0)
            return -1;
        written += is_new;
        if (lane_stopping(dl->lane)) /* tells as well that this lane is alive */
            return 0;
    }
    consumer_memory_note(memory, c, stream_last);
    return tell_unexplained(dl, c, memory, written, err);
}

/* Consumers from *offset on; *ret_more: there are more. */
static int look_through(struct dead_letters *dl, const char *stream, int64_t stream_created_s,
                        uint64_t stream_last, int64_t *offset, bool *ret_more, struct err *err)
{
    CLEANUP(dlq_jsonp) json_t *reply = NULL;
    char subject[128], body[48];
    bool complete;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.LIST.%s", stream);
    snprintf(body, sizeof(body), "{\"offset\":%" PRId64 "}", *offset);
    /* In this order: whoever writes a letter stores it before the event is settled. */
    if (bus_js_api(dl->bus, subject, view_of(body), &reply, err) < 0 ||
        progress_index_complete(dl->bus, &complete, err) < 0)
        return -1;
    if (!complete)
        return err_set(err, ERR_RETRY, "index-behind", "reconcile", "the index lies behind");
    const json_t *consumers = json_object_get(reply, "consumers");
    const size_t n = json_array_size(consumers);
    for (size_t i = 0; i < n; i++) {
        struct consumer_state state;
        if (consumer_state_read(stream, json_array_get(consumers, i), &state) &&
            look_at(dl, &state, stream_created_s, stream_last, err) < 0)
            return -1;
    }
    *offset += (int64_t)n;
    *ret_more = n > 0 && *offset < json_integer_value(json_object_get(reply, "total"));
    return 0;
}

static int look_at_stream(struct dead_letters *dl, const char *stream, uint64_t *last,
                          struct err *err)
{
    struct stream_state state;
    struct err e = ERR_INIT;
    int64_t created_s, offset = 0;
    int32_t nanos;
    bool more = true;
    if (stream_state(dl->bus, stream, &state, &e) < 0) {
        if (strcmp(e.code, "nats-10059") == 0) /* not provisioned */
            return 0;
        *err = e;
        return -1;
    }
    if (!rfc3339_parse(view_of(state.created), &created_s, &nanos))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-reply", "reconcile",
                           "stream info without its creation time");
    while (more && !lane_stopping(dl->lane)) {
        if (look_through(dl, stream, created_s, *last, &offset, &more, err) < 0)
            return -1;
    }
    *last = state.last_sequence;
    return 0;
}

static int look(struct dead_letters *dl, struct err *err)
{
    for (size_t i = 0; registry_streams[i] != NULL && i < STREAMS_MAX; i++) {
        const char *name = registry_streams[i]->name;
        if (given_up_is_own(name) || strcmp(name, SUSPECT_STREAM) == 0)
            continue;
        if (look_at_stream(dl, name, &dl->reconcile->stream_last[i], err) < 0)
            return -1;
    }
    return 0;
}

int reconcile_tick(struct dead_letters *dl, struct err *err)
{
    const struct dead_letters_config *config = lane_options(dl->lane);
    struct err trouble = ERR_INIT;
    if (config->reconcile_interval_ms == 0 || mono_ms() < dl->reconcile->next_ms)
        return 0;
    dl->reconcile->next_ms = mono_ms() + config->reconcile_interval_ms;
    if (look(dl, &trouble) == 0) {
        metric_add(metric_series(&looks_def, NULL), 1);
        return 0;
    }
    if (trouble.dependency == DEP_POSTGRES || !bus_connected(dl->bus)) {
        dl->reconcile->next_ms = 0;
        *err = trouble;
        return -1;
    }
    if (strcmp(trouble.code, "index-behind") == 0)
        dl->reconcile->next_ms = mono_ms() + AGAIN_MS;
    else
        log_err(LOG_LEVEL_WARN, "consumers can't be looked at for lost dead letters", &trouble);
    return 0;
}
