/* Mechanism: recover (epoch, newest batch, tail) once, then batches; the next page is asked for
 * before the current one is published, so PostgreSQL works while we do.
 *
 * Invariant of guarded lanes: sequence of the k-th row of a batch = start_sequence + k. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/relay_lane.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/stream.h"
#include "outbox/resume.h"
#include "outbox/shared.h"
#include "outbox_sql.h"

#define RUNBOOK "; see ops/runbooks/relay-refused.md"
enum { TAIL_HEADERS_MAX = 128 << 10 };

static void make_metrics(struct relay_lane_metrics *m, const char *schema, const char *stream)
{
    static const struct metric_def published = {.name = "echora_relay_published_total",
                                                .kind = METRIC_COUNTER,
                                                .help = "Messages sent to the stream.",
                                                .labels = "outbox,stream"};
    static const struct metric_def acknowledged = {.name = "echora_relay_acknowledged_total",
                                                   .kind = METRIC_COUNTER,
                                                   .help = "Messages that the stream has stored.",
                                                   .labels = "outbox,stream"};
    static const struct metric_def rejected = {.name = "echora_relay_rejected_total",
                                               .kind = METRIC_COUNTER,
                                               .help = "Publishes that the stream refused.",
                                               .labels = "outbox,stream"};
    static const struct metric_def batches = {.name = "echora_relay_batches_total",
                                              .kind = METRIC_COUNTER,
                                              .help = "Batches opened.",
                                              .labels = "outbox,stream"};
    static const struct metric_def recoveries = {
        .name = "echora_relay_recoveries_total",
        .kind = METRIC_COUNTER,
        .help = "Times that the position was read from the stream's tail.",
        .labels = "outbox,stream"};
    static const struct metric_def batch_rows = {.name = "echora_relay_batch_rows",
                                                 .kind = METRIC_GAUGE,
                                                 .help = "Rows of the newest batch.",
                                                 .labels = "outbox,stream"};
    static const struct metric_def lag_rows = {
        .name = "echora_relay_lag_rows",
        .kind = METRIC_GAUGE,
        .help = "Rows of the open batch that are not published yet.",
        .labels = "outbox,stream"};
    static const struct metric_def lag_seconds = {
        .name = "echora_relay_lag_seconds",
        .kind = METRIC_GAUGE,
        .help = "Age of the oldest row being published; 0 when all are.",
        .labels = "outbox,stream"};
    const char *labels[] = {schema, stream};
    m->published = metric_series(&published, labels);
    m->acknowledged = metric_series(&acknowledged, labels);
    m->rejected = metric_series(&rejected, labels);
    m->batches = metric_series(&batches, labels);
    m->recoveries = metric_series(&recoveries, labels);
    m->batch_rows = metric_series(&batch_rows, labels);
    m->lag_rows = metric_series(&lag_rows, labels);
    m->lag_seconds = metric_series(&lag_seconds, labels);
}

void relay_lane_init(struct relay_lane *lane, const char *schema, const char *stream, bool guarded,
                     int page_rows)
{
    *lane = (struct relay_lane){.stream = stream, .guarded = guarded, .page_rows = page_rows};
    batch_init(&lane->batch);
    make_metrics(&lane->metrics, schema, stream);
}

void relay_lane_deinit(struct relay_lane *lane)
{
    lane->pipe = pipeline_free(lane->pipe);
    batch_deinit(&lane->batch);
}

void relay_lane_forget(struct relay_lane *lane)
{
    lane->recovered = false;
}

/* Database and stream are those that the batches are of, or the lane is new and notes them. */
static int check_epoch(struct relay_lane *lane, struct pg *pg, const struct stream_state *state,
                       struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(lane->stream))};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, &sql_epoch, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    bool noted = !pg_is_null(r, 0, 0);
    int64_t system = pg_get_i64(r, 0, 2);
    if (FAULT("epoch-unchecked"))
        return 0;
    if (noted && lane->batch.number > 0) {
        if (pg_get_i64(r, 0, 0) != system)
            return err_set(err, ERR_FATAL, "epoch-database", "resume relay",
                           "the batches of %s are of another PostgreSQL cluster" RUNBOOK,
                           lane->stream);
        if (!view_is(pg_get_text(r, 0, 1), state->created))
            return err_set(err, ERR_FATAL, "epoch-stream", "resume relay",
                           "stream %s was created anew since its batches were published" RUNBOOK,
                           lane->stream);
        return 0;
    }
    if (noted && pg_get_i64(r, 0, 0) == system && view_is(pg_get_text(r, 0, 1), state->created))
        return 0;
    /* A batch of no rows is a person's word that they belong together (ops.outbox_accept). */
    if (lane->batch.number > 0 && lane->batch.n_rows > 0)
        return err_set(err, ERR_FATAL, "epoch-database", "resume relay",
                       "%s has batches, but its epoch was never noted" RUNBOOK, lane->stream);
    const struct pg_param note[] = {pg_text(view_of(lane->stream)), pg_i64(system),
                                    pg_text(view_of(state->created))};
    return pg_query(pg, &sql_note_epoch, note, ARRAY_LEN(note), NULL, err);
}

struct tail {
    struct resume_facts facts;
    struct uuid event;
    bool has_event;
};

static int read_tail(struct relay_lane *lane, struct bus *bus, const struct stream_state *state,
                     struct tail *tail, struct err *err)
{
    const struct outbox_batch *b = &lane->batch;
    *tail = (struct tail){.facts = {.has_batch = b->number > 0,
                                    .batch = b->number,
                                    .n_rows = b->n_rows,
                                    .start_sequence = b->start_sequence,
                                    .last_sequence = state->last_sequence}};
    if (state->messages == 0)
        return 0;
    struct buf headers CLEANUP(buf_deinit);
    buf_init(&headers, TAIL_HEADERS_MAX);
    struct resume_facts *f = &tail->facts;
    if (stream_headers(bus, lane->stream, state->last_sequence, &headers, &f->has_tail, err) < 0)
        return -1;
    struct view all = buf_view(&headers);
    f->has_position =
        position_parse(stream_header(all, "Echora-Position"), &f->tail_batch, &f->tail_id);
    tail->has_event = uuid_parse(stream_header(all, "Echora-Event-Id"), &tail->event);
    return 0;
}

/* The stream's message at the start of the batch is the batch's first: not one that somebody else
 * slipped in before it, which would count as a row that is not there. */
static int check_first(struct relay_lane *lane, struct pg *pg, struct bus *bus, struct err *err)
{
    const struct outbox_batch *b = &lane->batch;
    struct buf headers CLEANUP(buf_deinit);
    buf_init(&headers, TAIL_HEADERS_MAX);
    struct uuid event;
    bool kept = false, found = false;
    int64_t batch = 0, id = 0, wanted = 0;
    if (stream_headers(bus, lane->stream, b->start_sequence + 1, &headers, &kept, err) < 0)
        return -1;
    if (!kept)
        return 0;
    if (batch_nth(pg, lane->stream, b, 0, &found, &wanted, &event, err) < 0)
        return -1;
    if (!position_parse(stream_header(buf_view(&headers), "Echora-Position"), &batch, &id) ||
        batch != b->number || !found || id != wanted)
        return err_set(err, ERR_FATAL, "epoch-foreign", "resume relay",
                       "%s: the message at the start of batch %" PRId64
                       " is not the relay's" RUNBOOK,
                       lane->stream, b->number);
    return 0;
}

static int refuse_row(const struct relay_lane *lane, const char *what, struct err *err)
{
    return err_set(err, ERR_FATAL, "epoch-row", "resume relay",
                   "%s: the row at the stream's last position %s" RUNBOOK, lane->stream, what);
}

/* Holds the tail against the rows, and finds the id that the stream has last. */
static int check_rows(struct relay_lane *lane, struct pg *pg, const struct tail *tail,
                      const struct resume *resume, struct err *err)
{
    const struct resume_facts *f = &tail->facts;
    struct uuid event = {{0}};
    bool found = false;
    int64_t id = 0;
    if (resume->check == RESUME_CHECK_NONE)
        return 0;
    if (resume->check == RESUME_CHECK_TAIL) {
        const struct pg_param params[] = {pg_text(view_of(lane->stream)),
                                          pg_i64((int64_t)f->last_sequence), pg_i64(f->tail_batch)};
        PGresult *r CLEANUP(pg_clearp) = NULL;
        if (pg_query(pg, &sql_marked, params, ARRAY_LEN(params), &r, err) < 0)
            return -1;
        if (pg_get_bool(r, 0, 0))
            return 0;
        id = f->tail_id;
        if (batch_row_event(pg, lane->stream, id, &found, &event, err) < 0)
            return -1;
    } else {
        if (batch_nth(pg, lane->stream, &lane->batch, resume->stored - 1, &found, &id, &event,
                      err) < 0)
            return -1;
        lane->after = id;
    }
    if (!found)
        return refuse_row(lane, "is missing", err);
    if (resume->check == RESUME_CHECK_NTH)
        return 0;
    if (id != f->tail_id)
        return refuse_row(lane, "is not the one that the number of messages tells", err);
    if (!tail->has_event || uuid_cmp(event, tail->event) != 0)
        return refuse_row(lane, "is of another event", err);
    return 0;
}

static int recover(struct relay_lane *lane, struct pg *pg, struct bus *bus, struct err *err)
{
    struct stream_state state;
    if (batch_newest(pg, lane->stream, &lane->batch, err) < 0 ||
        stream_state(bus, lane->stream, &state, err) < 0)
        return -1;
    /* A leader that has taken over may go on between the two looks; judged together they would say
     * that the stream holds more than the outbox. */
    const int64_t seen = lane->batch.number;
    if (batch_newest(pg, lane->stream, &lane->batch, err) < 0)
        return -1;
    if (lane->batch.number != seen)
        return err_set(err, ERR_RETRY, "race", "resume relay", "another relay opened a batch");
    if (check_epoch(lane, pg, &state, err) < 0)
        return -1;
    lane->stored = 0;
    lane->after = lane->batch.first_id - 1;
    lane->sequence = state.last_sequence;
    if (lane->guarded) {
        struct tail tail;
        struct resume resume;
        if (read_tail(lane, bus, &state, &tail, err) < 0 ||
            resume_decide(&tail.facts, &resume, err) < 0 ||
            check_rows(lane, pg, &tail, &resume, err) < 0 ||
            (resume.stored > 0 && check_first(lane, pg, bus, err) < 0))
            return -1;
        lane->stored = resume.stored;
        if (FAULT("tail-ignored"))
            lane->stored = 0, lane->after = lane->batch.first_id - 1;
        if (lane->pipe == NULL) {
            const struct pipeline_options options = {.stream = lane->stream};
            if (pipeline_new(&lane->pipe, bus, &options, err) < 0)
                return -1;
        }
        pipeline_start(lane->pipe, state.last_sequence);
    } else if (lane->batch.closed) {
        lane->stored = lane->batch.n_rows;
    }
    memcpy(lane->created, state.created, sizeof(lane->created));
    lane->gone = false;
    lane->heard_ms = mono_ms();
    lane->recovered = true;
    metric_add(lane->metrics.recoveries, 1);
    return 0;
}

void relay_lane_look(struct relay_lane *lane, struct bus *bus)
{
    struct stream_state state;
    struct err e = ERR_INIT;
    const int result = stream_state(bus, lane->stream, &state, &e);
    lane->heard_ms = mono_ms();
    if (result == 0) {
        lane->gone = false;
        if (lane->recovered && strcmp(state.created, lane->created) != 0)
            relay_lane_forget(lane);
    } else if (strcmp(e.code, "nats-10059") == 0) {
        lane->gone = true;
    }
}

static int publish_guarded(struct relay_lane *lane, const PGresult *page, struct err *err)
{
    int n = PQntuples(page);
    uint64_t acked = pipeline_acked(lane->pipe);
    int r = 0;
    for (int i = 0; i < n && r == 0; i++) {
        char event[UUID_TEXT], position[POSITION_MAX];
        int64_t id = pg_get_i64(page, i, PAGE_ID);
        uuid_format(pg_get_uuid(page, i, PAGE_EVENT), event);
        position_format(lane->batch.number, id, position);
        const struct pipeline_message message = {
            .subject = PQgetvalue(page, i, PAGE_SUBJECT),
            .headers = pg_get_text(page, i, PAGE_HEADERS),
            .event_id = event,
            .position = position,
            .payload = pg_get_bytea(page, i, PAGE_PAYLOAD),
        };
        /* The first of a batch is answered too: a message that somebody else slipped in while we
         * were idle would take its place, and let the second one in. And the first after a failure:
         * behind a message that a full stream refused all others only have the wrong sequence. */
        bool ask = lane->stored == 0 || (i == 0 && lane->failures > 0) || i == n - 1;
        r = pipeline_publish(lane->pipe, &message, ask, err);
        if (r == 0) {
            lane->after = id;
            lane->stored++;
        }
    }
    KILL_POINT("page-published");
    /* The end of the batch is waited for; within it the window is enough. */
    if (r == 0 && lane->stored >= lane->batch.n_rows)
        r = pipeline_finish(lane->pipe, err);
    metric_add(lane->metrics.published, n);
    metric_add(lane->metrics.acknowledged, (double)(pipeline_acked(lane->pipe) - acked));
    if (r < 0)
        metric_add(lane->metrics.rejected, 1);
    return r;
}

static void show_lag(const struct relay_lane *lane, const PGresult *page)
{
    double seconds = 0;
    if (page != NULL)
        seconds = (double)(wall_us() - pg_get_timestamp_us(page, 0, PAGE_CREATED)) / 1e6;
    metric_set(lane->metrics.lag_rows, (double)(lane->batch.n_rows - lane->stored));
    metric_set(lane->metrics.lag_seconds, seconds > 0 ? seconds : 0);
}

/* Takes an answer that nobody wants any more off the connection. */
static void drop_page(struct relay_lane *lane, struct pg *pg)
{
    PGresult *page CLEANUP(pg_clearp) = NULL;
    if (batch_page_take(pg, &lane->batch, &page, NULL) < 0)
        pg_reset(pg);
}

/* Publishes one page and asks for the next before. *ret_more: there is a next one, and it was asked
 * for. */
static int publish_page(struct relay_lane *lane, struct pg *pg, struct bus *bus,
                        const PGresult *page, relay_lane_stop_fn *stop, void *ctx, bool *ret_more,
                        struct err *err)
{
    int n = PQntuples(page);
    if (n == 0 || lane->stored + n > lane->batch.n_rows)
        return err_set(err, ERR_FATAL, "epoch-row", "resume relay",
                       "%s: the rows of batch %" PRId64
                       " are not those that it was stored with" RUNBOOK,
                       lane->stream, lane->batch.number);
    show_lag(lane, page);
    int64_t last = pg_get_i64(page, n - 1, PAGE_ID);
    *ret_more = lane->stored + n < lane->batch.n_rows && !stop(ctx);
    if (*ret_more && batch_page_ask(pg, lane->stream, &lane->batch, last, lane->page_rows, err) < 0)
        return -1;
    int r = lane->guarded ? publish_guarded(lane, page, err) : publish_shared(lane, bus, page, err);
    if (r < 0 && *ret_more)
        drop_page(lane, pg);
    return r;
}

/* first: the batch's next page when it is there already, else NULL; consumed. */
static int publish_batch(struct relay_lane *lane, struct pg *pg, struct bus *bus, PGresult *first,
                         relay_lane_stop_fn *stop, void *ctx, int64_t *ret_rows, struct err *err)
{
    PGresult *page CLEANUP(pg_clearp) = first;
    bool more = true;
    if (page == NULL &&
        batch_page_ask(pg, lane->stream, &lane->batch, lane->after, lane->page_rows, err) < 0)
        return -1;
    while (more) {
        if (page == NULL && batch_page_take(pg, &lane->batch, &page, err) < 0)
            return -1;
        if (publish_page(lane, pg, bus, page, stop, ctx, &more, err) < 0)
            return -1;
        *ret_rows += PQntuples(page);
        PQclear(page);
        page = NULL;
    }
    if (lane->stored < lane->batch.n_rows) {
        /* Stopped in the middle: whoever goes on reads the tail. */
        relay_lane_forget(lane);
        return lane->guarded ? pipeline_finish(lane->pipe, err) : 0;
    }
    if (lane->guarded)
        lane->sequence = pipeline_acked(lane->pipe);
    else if (batch_close(pg, lane->stream, lane->batch.number, err) < 0)
        return -1;
    lane->heard_ms = mono_ms();
    KILL_POINT("batch-published");
    show_lag(lane, NULL);
    return 0;
}

int relay_lane_step(struct relay_lane *lane, struct pg *pg, struct bus *bus,
                    relay_lane_stop_fn *stop, void *ctx, int64_t *ret_rows, int64_t *ret_others,
                    struct err *err)
{
    *ret_rows = *ret_others = 0;
    if (!lane->recovered && recover(lane, pg, bus, err) < 0)
        return -1;
    PGresult *page = NULL;
    if (lane->stored >= lane->batch.n_rows) {
        if (batch_open(pg, lane->stream, lane->sequence, lane->page_rows, &lane->batch, &page,
                       ret_others, err) < 0)
            return -1;
        lane->stored = 0;
        if (lane->batch.n_rows == 0)
            return 0;
        lane->after = lane->batch.first_id - 1;
        if (FAULT("bounds-not-stored") && pg_run(pg, "DELETE FROM outbox_batch", err) < 0)
            return -1;
        KILL_POINT("batch-opened");
        metric_add(lane->metrics.batches, 1);
        metric_set(lane->metrics.batch_rows, (double)lane->batch.n_rows);
    }
    return publish_batch(lane, pg, bus, page, stop, ctx, ret_rows, err);
}
