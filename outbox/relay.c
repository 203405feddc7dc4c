/* Mechanism: the first lane is polled each round; its look at the outbox also tells whether other
 * streams have new rows, so lanes with little traffic cost nothing. A round without rows waits for
 * a hint at most the current pause, which doubles from poll_min to poll_max and falls back with
 * every row. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contracts/registry.h"
#include "events/base/backoff.h"
#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/hint.h"
#include "events/log.h"
#include "events/metrics.h"
#include "outbox/keeper.h"
#include "outbox/leader.h"
#include "outbox/relay_lane.h"
#include "outbox_sql.h"

enum {
    LANES_MAX = 16,
    PAGE_ROWS = 500,
    POLL_MIN_MS = 1,
    POLL_MAX_MS = 50,
    STANDBY_MS = 50,
    KEEPER_EVERY_MS = 30000,
    /* Lanes that nobody announced are looked at this often all the same. */
    OTHERS_EVERY_MS = 1000,
    RETRY_MIN_MS = 10,
    RETRY_MAX_MS = 1000,
    /* A lane that fails this often in a row is reported. */
    HELD_FAILURES = 3,
    /* Two statements look at a whole backlog; a page may have to skip many rows of others. */
    BACKLOG_LIMIT_MS = 600000,
    PAGE_LIMIT_MS = 60000,
    STATEMENT_LIMIT_MS = 10000,
    /* A stream that was not heard of for so long is asked whether it is still the same. */
    LOOK_EVERY_MS = 1000,
};
static const int64_t keep_default_ms = 48LL * 3600 * 1000;

struct relay {
    struct relay_options options;
    char setup_sql[512];
    struct pg *pg;
    struct leader *leader;
    struct keeper *keeper;
    struct hint *hint;
    struct relay_lane lanes[LANES_MAX];
    size_t n_lanes;
    unsigned pg_generation, bus_generation, term;
    bool hinted;          /* a hint came while rows were published */
    bool others;          /* lanes beside the first may have rows */
    int64_t others_at_ms; /* when they were looked at */
    char held[400];       /* what holds a lane up; "" = nothing */
    char reported[400];   /* what report was told last; "" = nothing is wrong */
    struct metric *active;
    struct prng prng;
    relay_stop_fn *stop;
    void *stop_ctx;
};

static bool should_stop(void *ctx)
{
    struct relay *r = ctx;
    /* A long batch keeps the hints from piling up. */
    if (hint_wait(r->hint, 0))
        r->hinted = true;
    return r->stop(r->stop_ctx) || !leader_holds(r->leader);
}

static int64_t limit_ms(const char *statement)
{
    if (strcmp(statement, sql_open_batch.name) == 0 || strcmp(statement, sql_nth_row.name) == 0)
        return BACKLOG_LIMIT_MS;
    if (strcmp(statement, sql_page.name) == 0 || strcmp(statement, sql_page_late.name) == 0)
        return PAGE_LIMIT_MS;
    return STATEMENT_LIMIT_MS;
}

/* A frozen server loses us the leadership within seconds; a connection that hangs alone is given up
 * by the statement's own limit. Asking is also the sign of life of the lane that waits. */
static bool patient(void *ctx, const char *op, int64_t waited_ms)
{
    return !should_stop(ctx) && waited_ms < limit_ms(op);
}

static void set_defaults(struct relay_options *o)
{
    if (o->page_rows <= 0)
        o->page_rows = PAGE_ROWS;
    if (o->poll_min_ms <= 0)
        o->poll_min_ms = POLL_MIN_MS;
    if (o->poll_max_ms < o->poll_min_ms)
        o->poll_max_ms = o->poll_min_ms > POLL_MAX_MS ? o->poll_min_ms : POLL_MAX_MS;
    if (o->keep_ms <= 0)
        o->keep_ms = keep_default_ms;
    if (o->keeper_every_ms <= 0)
        o->keeper_every_ms = KEEPER_EVERY_MS;
}

/* Pages must come by the primary key, whatever the statistics of an outbox that is sometimes empty
 * say; sorting a whole batch for each page would be quadratic. */
static const char setup[] = "SET search_path = \"%s\"; SET enable_seqscan = off; "
                            "SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off; "
                            "SET plan_cache_mode = force_generic_plan";

static int start(struct relay *r, struct err *err)
{
    struct relay_options *o = &r->options;
    snprintf(r->setup_sql, sizeof(r->setup_sql), setup, o->schema);
    o->pg.setup_sql = r->setup_sql;
    o->pg.statement_timeout_ms = BACKLOG_LIMIT_MS;
    struct pg_options pg = o->pg;
    pg.patient = patient;
    pg.patient_ctx = r;
    /* Snapshots and batches of one server mean nothing on another one that has taken over. */
    pg.connects_when_asked = !FAULT("lane-reconnects");
    r->pg = pg_new(&pg);
    if (r->pg == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "relay", "out of memory");
    for (; o->streams[r->n_lanes] != NULL; r->n_lanes++) {
        if (r->n_lanes == LANES_MAX)
            return err_set(err, ERR_FATAL, "config", "relay", "more than %d streams",
                           (int)LANES_MAX);
        const struct stream_def *stream = o->streams[r->n_lanes];
        relay_lane_init(&r->lanes[r->n_lanes], o->schema, stream->name, stream->sole_writer,
                        o->page_rows);
    }
    if (hint_open(&r->hint, o->bus, "hint.outbox", err) < 0 ||
        leader_start(&r->leader, &o->pg, o->schema, err) < 0)
        return -1;
    const struct keeper_options keeper = {.schema = o->schema,
                                          .keep_ms = o->keep_ms,
                                          .every_ms = o->keeper_every_ms,
                                          .leader = r->leader};
    return keeper_start(&r->keeper, &o->pg, &keeper, err);
}

int relay_new(struct relay **ret, const struct relay_options *options, struct err *err)
{
    static const struct metric_def active = {.name = "echora_relay_active",
                                             .kind = METRIC_GAUGE,
                                             .help = "1 while this relay is the active one.",
                                             .labels = "outbox"};
    struct relay *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "relay", "out of memory");
    r->options = *options;
    set_defaults(&r->options);
    prng_seed(&r->prng, (uint64_t)wall_us());
    r->active = metric_series(&active, (const char *[]){options->schema});
    if (start(r, err) < 0) {
        relay_free(r);
        return -1;
    }
    *ret = r;
    return 0;
}

struct relay *relay_free(struct relay *r)
{
    if (r == NULL)
        return NULL;
    keeper_stop(r->keeper);
    leader_stop(r->leader);
    hint_close(r->hint);
    for (size_t i = 0; i < r->n_lanes; i++)
        relay_lane_deinit(&r->lanes[i]);
    pg_free(r->pg);
    free(r);
    return NULL;
}

static void forget_all(struct relay *r)
{
    for (size_t i = 0; i < r->n_lanes; i++)
        relay_lane_forget(&r->lanes[i]);
    r->others = true;
}

/* A new connection or a new term: another database or stream may stand behind the same address. */
static int check_connections(struct relay *r, struct err *err)
{
    if (!bus_connected(r->options.bus))
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-connection", "relay",
                           "no connection to NATS");
    if (pg_ensure(r->pg, err) < 0)
        return -1;
    unsigned pg = pg_generation(r->pg), bus = bus_generation(r->options.bus);
    unsigned term = leader_term(r->leader);
    if (pg != r->pg_generation || bus != r->bus_generation || term != r->term)
        forget_all(r);
    r->pg_generation = pg;
    r->bus_generation = bus;
    r->term = term;
    return 0;
}

/* Tells when what is wrong has changed. */
static void report_trouble(struct relay *r)
{
    char reason[sizeof(r->reported)];
    snprintf(reason, sizeof(reason), "%s", r->held);
    for (size_t i = r->n_lanes; i-- > 0;)
        if (r->lanes[i].gone)
            snprintf(reason, sizeof(reason),
                     "%s: there is no such stream; see ops/runbooks/relay-refused.md",
                     r->lanes[i].stream);
    if (strcmp(reason, r->reported) == 0)
        return;
    memcpy(r->reported, reason, sizeof(reason));
    if (r->options.report != NULL)
        r->options.report(r->options.report_ctx, reason[0] != '\0' ? reason : NULL);
}

/* An idle lane hears nothing of its stream: it may be gone, or another one. */
static void look_at_streams(struct relay *r)
{
    const int64_t now = mono_ms();
    if (!bus_connected(r->options.bus))
        return;
    for (size_t i = 0; i < r->n_lanes; i++) {
        struct relay_lane *lane = &r->lanes[i];
        const bool was_gone = lane->gone, knew = lane->recovered;
        if (now - lane->heard_ms < LOOK_EVERY_MS || r->stop(r->stop_ctx))
            continue;
        relay_lane_look(lane, r->options.bus);
        if (lane->gone && !was_gone)
            log_warn("stream is gone", LF_STR("stream", lane->stream));
        if (knew && !lane->recovered)
            r->others = true;
    }
    report_trouble(r);
}

/* Errors of one lane that time may heal stay with it; the others go on. */
static int handle_error(struct relay *r, struct relay_lane *lane, const struct err *e,
                        struct err *err)
{
    bool connections = bus_connected(r->options.bus) && pg_conn(r->pg) != NULL;
    /* What a shared stream refused is sent again from where the acknowledgements end. */
    if (lane->guarded || e->dependency != DEP_NATS || !connections)
        relay_lane_forget(lane);
    if (e->class == ERR_FATAL || !connections) {
        *err = *e;
        if (e->class != ERR_FATAL)
            err->class = ERR_UNAVAILABLE;
        return -1;
    }
    /* Somebody was quicker, or an answer was lost: look again soon. */
    int64_t pause = backoff_ms(&r->prng, lane->failures, RETRY_MIN_MS, RETRY_MAX_MS);
    lane->retry_at_ms = mono_ms() + pause;
    /* The first time is everyday life: a reconnect, a change of leaders. */
    if (lane->failures++ == 0)
        log_debug("lane starts again", LF_STR("stream", lane->stream), LF_STR("code", e->code));
    else
        log_err(LOG_LEVEL_WARN, "lane is held up", e);
    if (lane->failures >= HELD_FAILURES && r->held[0] == '\0')
        snprintf(r->held, sizeof(r->held), "%s: %s: %s", lane->stream, e->code, e->text);
    report_trouble(r);
    return 0;
}

static void release(struct relay *r)
{
    for (size_t i = 0; i < r->n_lanes; i++)
        if (r->lanes[i].failures > 0)
            return;
    r->held[0] = '\0';
    report_trouble(r);
}

static int step_lane(struct relay *r, struct relay_lane *lane, int64_t *rows, struct err *err)
{
    int64_t n = 0, others = 0;
    struct err e = ERR_INIT;
    if (lane->retry_at_ms > mono_ms())
        return 0;
    int result = relay_lane_step(lane, r->pg, r->options.bus, should_stop, r, &n, &others, &e);
    *rows += n;
    if (others > 0)
        r->others = true;
    if (result < 0)
        return handle_error(r, lane, &e, err);
    lane->failures = 0;
    lane->retry_at_ms = 0;
    release(r);
    return 0;
}

static int round_of_lanes(struct relay *r, int64_t *rows, struct err *err)
{
    if (r->n_lanes > 0 && step_lane(r, &r->lanes[0], rows, err) < 0)
        return -1;
    int64_t now = mono_ms();
    if (!r->others && now - r->others_at_ms < OTHERS_EVERY_MS)
        return 0;
    r->others = false;
    r->others_at_ms = now;
    for (size_t i = 1; i < r->n_lanes; i++)
        if (step_lane(r, &r->lanes[i], rows, err) < 0)
            return -1;
    return 0;
}

int relay_run(struct relay *r, relay_stop_fn *stop, void *ctx, struct err *err)
{
    r->stop = stop;
    r->stop_ctx = ctx;
    forget_all(r);
    int64_t pause = r->options.poll_min_ms;
    while (!stop(ctx)) {
        metric_set(r->active, leader_holds(r->leader) ? 1 : 0);
        if (!leader_holds(r->leader)) {
            forget_all(r);
            look_at_streams(r);
            hint_wait(r->hint, STANDBY_MS);
            continue;
        }
        int64_t rows = 0;
        r->hinted = false;
        if (check_connections(r, err) < 0 || round_of_lanes(r, &rows, err) < 0)
            return -1;
        look_at_streams(r);
        if (rows > 0)
            pause = r->options.poll_min_ms;
        if (r->hinted || rows >= r->options.page_rows)
            continue;
        if (hint_wait(r->hint, pause))
            pause = r->options.poll_min_ms;
        else if (pause < r->options.poll_max_ms)
            pause = pause * 2 < r->options.poll_max_ms ? pause * 2 : r->options.poll_max_ms;
    }
    return 0;
}
