/* Mechanism: ops.outbox_empty_slot decides and empties, one slot a call, so that no lock outlives
 * its slot's work. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/keeper.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "events/metrics.h"
#include "outbox_sql.h"

struct keeper {
    struct pg *pg;
    struct keeper_options options;
    struct metric *oldest, *slots, *emptied;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool started, stopping;
};

static int empty_slots(struct pg *pg, const char *schema, int64_t keep_ms, int *ret_emptied,
                       struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(schema)), pg_i64(keep_ms / 1000)};
    bool more = true;
    while (more) {
        PGresult *r CLEANUP(pg_clearp) = NULL;
        if (pg_query(pg, &sql_empty_slot, params, ARRAY_LEN(params), &r, err) < 0)
            return -1;
        more = pg_get_bool(r, 0, 0);
        *ret_emptied += more;
    }
    return 0;
}

static int trim_batches(struct pg *pg, struct err *err)
{
    PGresult *streams CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, &sql_lane_streams, NULL, 0, &streams, err) < 0)
        return -1;
    for (int i = 0; i < PQntuples(streams); i++) {
        const struct pg_param params[] = {pg_text(pg_get_text(streams, i, 0))};
        if (pg_query(pg, &sql_trim_batches, params, ARRAY_LEN(params), NULL, err) < 0)
            return -1;
    }
    return 0;
}

int keeper_round(struct pg *pg, const char *schema, int64_t keep_ms, int *ret_emptied,
                 struct err *err)
{
    *ret_emptied = 0;
    if (empty_slots(pg, schema, keep_ms, ret_emptied, err) < 0)
        return -1;
    KILL_POINT("slots-emptied");
    return trim_batches(pg, err);
}

static const struct metric_def waiting_rows_def = {
    .name = "echora_outbox_waiting_rows",
    .kind = METRIC_GAUGE,
    .help = "Rows that wait behind the open batch, as the active relay last counted.",
    .labels = "outbox,stream"};
static const struct metric_def waiting_seconds_def = {
    .name = "echora_outbox_waiting_seconds",
    .kind = METRIC_GAUGE,
    .help = "Age of the oldest row that waits behind the open batch; 0 when none does.",
    .labels = "outbox,stream"};

static int measure_waiting(struct keeper *k, struct err *err)
{
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(k->pg, &sql_waiting, NULL, 0, &r, err) < 0)
        return -1;
    for (int i = 0; i < PQntuples(r); i++) {
        const char *const labels[] = {k->options.schema, PQgetvalue(r, i, 0)};
        metric_set(metric_series(&waiting_rows_def, labels), (double)pg_get_i64(r, i, 1));
        metric_set(metric_series(&waiting_seconds_def, labels), pg_get_double(r, i, 2));
    }
    return 0;
}

static int measure(struct keeper *k, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(k->options.schema))};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(k->pg, &sql_kept, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    double age = 0;
    if (!pg_is_null(r, 0, 0))
        age = (double)(wall_us() - pg_get_timestamp_us(r, 0, 0)) / 1e6;
    metric_set(k->oldest, age);
    metric_set(k->slots, (double)pg_get_i64(r, 0, 1));
    return 0;
}

static void round_of_thread(struct keeper *k)
{
    struct err err = ERR_INIT;
    int emptied = 0;
    if (!leader_holds(k->options.leader))
        return;
    if (keeper_round(k->pg, k->options.schema, k->options.keep_ms, &emptied, &err) < 0 ||
        measure(k, &err) < 0 || measure_waiting(k, &err) < 0)
        log_err(LOG_LEVEL_WARN, "outbox housekeeping failed", &err);
    metric_add(k->emptied, emptied);
    if (emptied > 0)
        log_info("outbox slots emptied", LF_STR("outbox", k->options.schema),
                 LF_I64("slots", emptied));
}

static void *run(void *arg)
{
    struct keeper *k = arg;
    pthread_mutex_lock(&k->mutex);
    while (!k->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + k->options.every_ms % 1000 * 1000000;
        until.tv_sec += (time_t)(k->options.every_ms / 1000 + ns / 1000000000);
        until.tv_nsec = (long)(ns % 1000000000);
        pthread_cond_timedwait(&k->wake, &k->mutex, &until);
        if (k->stopping)
            break;
        pthread_mutex_unlock(&k->mutex);
        round_of_thread(k);
        pthread_mutex_lock(&k->mutex);
    }
    pthread_mutex_unlock(&k->mutex);
    return NULL;
}

/* A round may wait for minutes, the end of the process must not wait for it. */
static bool patient(void *ctx, const char *op, int64_t waited_ms)
{
    struct keeper *k = ctx;
    pthread_mutex_lock(&k->mutex);
    bool go_on = !k->stopping;
    pthread_mutex_unlock(&k->mutex);
    return go_on;
}

static void make_metrics(struct keeper *k)
{
    static const struct metric_def oldest = {.name = "echora_outbox_oldest_row_seconds",
                                             .kind = METRIC_GAUGE,
                                             .help = "Age of the oldest row that is kept.",
                                             .labels = "outbox"};
    static const struct metric_def slots = {.name = "echora_outbox_slots",
                                            .kind = METRIC_GAUGE,
                                            .help = "Partitions of the outbox that hold rows.",
                                            .labels = "outbox"};
    static const struct metric_def emptied = {.name = "echora_outbox_slots_emptied_total",
                                              .kind = METRIC_COUNTER,
                                              .help = "Partitions emptied after their keep time.",
                                              .labels = "outbox"};
    const char *labels[] = {k->options.schema};
    k->oldest = metric_series(&oldest, labels);
    k->slots = metric_series(&slots, labels);
    k->emptied = metric_series(&emptied, labels);
}

int keeper_start(struct keeper **ret, const struct pg_options *pg,
                 const struct keeper_options *options, struct err *err)
{
    struct keeper *k = calloc(1, sizeof(*k));
    if (k == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "keeper", "out of memory");
    k->options = *options;
    struct pg_options own = *pg;
    own.patient = patient;
    own.patient_ctx = k;
    k->pg = pg_new(&own);
    make_metrics(k);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&k->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&k->mutex, NULL);
    if (k->pg == NULL || pthread_create(&k->thread, NULL, run, k) != 0) {
        keeper_stop(k);
        return err_set(err, ERR_RETRY, "no-memory", "keeper", "no thread");
    }
    k->started = true;
    *ret = k;
    return 0;
}

struct keeper *keeper_stop(struct keeper *k)
{
    if (k == NULL)
        return NULL;
    if (k->started) {
        pthread_mutex_lock(&k->mutex);
        k->stopping = true;
        pthread_cond_signal(&k->wake);
        pthread_mutex_unlock(&k->mutex);
        pthread_join(k->thread, NULL);
    }
    pg_free(k->pg);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->mutex);
    free(k);
    return NULL;
}
