/* Mechanism: recover (epoch, newest batch, tail) once, then batches; the next page is asked for
 * before the current one is published, so PostgreSQL works while we do.
 *
 * Invariants of guarded lanes: sequence of the k-th row of a batch = start_sequence + k. A batch's
 * second message is sent when the first is acknowledged, so one relay's batch is never continued
 * by another's of the same number. A batch whose bounds are not noted yet carries them on its first
 * message, and is noted before the next one is opened: the stream is one batch ahead at most. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/relay_lane.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "events/stream.h"
#include "outbox/bounds.h"
#include "outbox/recover.h"
#include "outbox/resume.h"
#include "outbox/shared.h"
#include "outbox_sql.h"

#define RUNBOOK "; see ops/runbooks/relay-refused.md"

/* Rows of other streams that a recovery may have to look at: some 10 ms. */
enum { PASSED_MAX = 10000 };

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

/* bounds: told by the batch's first message, or NULL. */
static int send_row(struct relay_lane *lane, const PGresult *page, int i, const char *bounds,
                    struct err *err)
{
    char event[UUID_TEXT], position[POSITION_MAX];
    const int64_t id = pg_get_i64(page, i, PAGE_ID);
    const bool first = lane->stored == 0;
    uuid_format(pg_get_uuid(page, i, PAGE_EVENT), event);
    position_format(lane->batch.number, id, position);
    const struct pipeline_message message = {
        .subject = PQgetvalue(page, i, PAGE_SUBJECT),
        .headers = pg_get_text(page, i, PAGE_HEADERS),
        .event_id = event,
        .position = position,
        .batch = first && !FAULT("bounds-not-told") ? bounds : NULL,
        .payload = pg_get_bytea(page, i, PAGE_PAYLOAD),
    };
    /* The first of a batch is answered too: a message that somebody else slipped in while we were
     * idle would take its place, and let the second one in. And the first after a failure: behind a
     * message that a full stream refused all others only have the wrong sequence. */
    const bool ask = first || (i == 0 && lane->failures > 0) || i == PQntuples(page) - 1;
    if (pipeline_publish(lane->pipe, &message, ask, err) < 0)
        return -1;
    lane->after = id;
    lane->stored++;
    return first && !FAULT("first-not-awaited") ? pipeline_finish(lane->pipe, err) : 0;
}

/* Rows `from` to `to` - 1 of the page. */
static int publish_rows(struct relay_lane *lane, const PGresult *page, int from, int to,
                        const char *bounds, struct err *err)
{
    const uint64_t acked = pipeline_acked(lane->pipe);
    int r = 0;
    for (int i = from; i < to && r == 0; i++)
        r = send_row(lane, page, i, bounds, err);
    KILL_POINT("page-published");
    /* The end of the batch is waited for; within it the window is enough. */
    if (r == 0 && lane->stored >= lane->batch.n_rows)
        r = pipeline_finish(lane->pipe, err);
    metric_add(lane->metrics.published, to - from);
    metric_add(lane->metrics.acknowledged, (double)(pipeline_acked(lane->pipe) - acked));
    if (r < 0)
        metric_add(lane->metrics.rejected, 1);
    return r;
}

/* A whole batch that is not noted: once its first message is stored, the number is ours, and the
 * database takes the note while the rest is published. */
static int publish_told(struct relay_lane *lane, struct pg *pg, const PGresult *page,
                        const char *bounds, struct err *err)
{
    if (publish_rows(lane, page, 0, 1, bounds, err) < 0)
        return -1;
    KILL_POINT("batch-told");
    if (batch_note_ask(pg, lane->stream, &lane->batch, err) < 0)
        return -1;
    const int r = publish_rows(lane, page, 1, PQntuples(page), NULL, err);
    return batch_note_take(pg, &lane->batch, r < 0 ? NULL : err) < 0 ? -1 : r;
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
    int r = lane->guarded ? publish_rows(lane, page, 0, n, NULL, err)
                          : publish_shared(lane, bus, page, err);
    if (r < 0 && *ret_more)
        drop_page(lane, pg);
    return r;
}

/* What is left of a batch whose bounds are stored. first: its next page when it is there already,
 * else NULL; consumed. */
static int publish_pages(struct relay_lane *lane, struct pg *pg, struct bus *bus, PGresult *first,
                         relay_lane_stop_fn *stop, void *ctx, int64_t *ret_rows, struct err *err)
{
    PGresult *page CLEANUP(pg_clearp) = first;
    bool more = true;
    KILL_POINT("batch-opened");
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
    return 0;
}

/* Tells the bounds when they are few rows', all on the page and behind another batch, where a
 * recovery looks; notes them first otherwise. */
static int publish_new(struct relay_lane *lane, struct pg *pg, struct bus *bus, PGresult *first,
                       relay_lane_stop_fn *stop, void *ctx, int64_t *ret_rows, struct err *err)
{
    PGresult *page CLEANUP(pg_clearp) = first;
    char bounds[BOUNDS_MAX];
    const bool few = lane->guarded && lane->batch.number > 1 && page != NULL &&
                     PQntuples(page) == lane->batch.n_rows;
    if (few && batch_cut(&lane->batch, page, err) < 0)
        return -1;
    if (!few || !bounds_format(&lane->batch, bounds)) {
        if (batch_note(pg, lane->stream, &lane->batch, err) < 0)
            return -1;
        return publish_pages(lane, pg, bus, STEAL(page), stop, ctx, ret_rows, err);
    }
    show_lag(lane, page);
    if (publish_told(lane, pg, page, bounds, err) < 0)
        return -1;
    *ret_rows += PQntuples(page);
    return 0;
}

/* first: as publish_pages. */
static int publish_batch(struct relay_lane *lane, struct pg *pg, struct bus *bus, PGresult *first,
                         relay_lane_stop_fn *stop, void *ctx, int64_t *ret_rows, struct err *err)
{
    const int r = lane->batch.noted ? publish_pages(lane, pg, bus, first, stop, ctx, ret_rows, err)
                                    : publish_new(lane, pg, bus, first, stop, ctx, ret_rows, err);
    if (r < 0)
        return -1;
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

/* Nothing for this lane: how far it has looked is noted now and then, or its next recovery would
 * have all those rows to look at, in time that the other lanes need. A note that the server refuses
 * holds nobody up. */
static int pass(struct relay_lane *lane, struct pg *pg, int64_t others, struct err *err)
{
    struct err refused = ERR_INIT;
    lane->passed += others;
    if (lane->passed < PASSED_MAX)
        return 0;
    lane->passed = 0;
    KILL_POINT("rows-passed");
    if (batch_looked_note(pg, lane->stream, &lane->batch, &refused) == 0)
        return 0;
    if (pg_conn(pg) == NULL) {
        *err = refused;
        return -1;
    }
    log_err(LOG_LEVEL_WARN, "how far a lane has looked was not noted", &refused);
    return 0;
}

int relay_lane_step(struct relay_lane *lane, struct pg *pg, struct bus *bus,
                    relay_lane_stop_fn *stop, void *ctx, int64_t *ret_rows, int64_t *ret_others,
                    struct err *err)
{
    *ret_rows = *ret_others = 0;
    if (!lane->recovered && relay_lane_recover(lane, pg, bus, err) < 0)
        return -1;
    PGresult *page = NULL;
    if (lane->stored >= lane->batch.n_rows) {
        if (batch_open(pg, lane->stream, lane->sequence, lane->page_rows, &lane->batch, &page,
                       ret_others, err) < 0)
            return -1;
        lane->stored = 0;
        if (lane->batch.n_rows == 0)
            return pass(lane, pg, *ret_others, err);
        lane->passed = 0;
        lane->after = lane->batch.first_id - 1;
        if (FAULT("bounds-not-stored") && pg_run(pg, "DELETE FROM outbox_batch", err) < 0)
            return -1;
        metric_add(lane->metrics.batches, 1);
        metric_set(lane->metrics.batch_rows, (double)lane->batch.n_rows);
    }
    return publish_batch(lane, pg, bus, page, stop, ctx, ret_rows, err);
}
