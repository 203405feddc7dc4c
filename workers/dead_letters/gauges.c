// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/gauges.h"

#include <stdio.h>
#include <stdlib.h>

#include "contracts/field.h"
#include "events/base/clock.h"
#include "events/metrics.h"
#include "workers/dead_letters/sql.h"

/* Classes and codes come from headers that anybody with the right may write, and series are for
 * ever: so many get one of their own, the others are counted together. */
enum { EVERY_MS = 5000, SERIES_MAX = 500, OUTCOMES = 7 };

static const struct metric_def letters_def = {
    "echora_dead_letters", METRIC_GAUGE,
    "Dead letters in the index by state: open, parked (open, but after three replays), replayed, "
    "discarded.",
    "state", NULL};
static const struct metric_def open_def = {
    "echora_dead_letters_open", METRIC_GAUGE,
    "Open dead letters by what failed; beyond 500 kinds together as \"other\". The same from every "
    "worker.",
    "consumer,class,code", NULL};
static const struct metric_def oldest_def = {
    "echora_dead_letters_oldest_timestamp_seconds", METRIC_GAUGE,
    "When the oldest open dead letter failed; 0 when none is open.", "", NULL};
static const struct metric_def plans_def = {
    "echora_replay_plans", METRIC_GAUGE,
    "Plans of replays and discards: running, or stopped by their canary (canary, of the last day).",
    "state", NULL};
static const struct metric_def waiting_def = {
    "echora_dlq_replays_without_outcome", METRIC_GAUGE,
    "Events that replays have published or given to the outbox, not settled by their consumer yet.",
    "", NULL};
static const struct metric_def replays_def = {
    "echora_dlq_replays_total", METRIC_COUNTER,
    "Letters of replays and discards by outcome: sent, enqueued, done, failed, discarded, skipped, "
    "gone. Sent and enqueued ones come again as done or failed.",
    "outcome", NULL};

struct series {
    char labels[3][65];
    struct metric *metric;
    double letters; /* at this look */
};

struct gauges {
    int64_t next_ms;
    size_t n;
    struct series series[SERIES_MAX + 1]; /* the last one may be "other" */
};

struct gauges *gauges_new(void)
{
    return calloc(1, sizeof(struct gauges));
}

struct gauges *gauges_free(struct gauges *gauges)
{
    free(gauges);
    return NULL;
}

static bool is_of(const struct series *s, const char *const labels[3])
{
    for (int i = 0; i < 3; i++) {
        if (strcmp(s->labels[i], labels[i]) != 0)
            return false;
    }
    return true;
}

static void add_letters(struct gauges *g, const char *const labels[3], int64_t letters)
{
    static const char *const other[3] = {"other", "other", "other"};
    size_t i = 0;
    while (i < g->n && !is_of(&g->series[i], labels))
        i++;
    if (i >= SERIES_MAX && labels != other) {
        add_letters(g, other, letters);
        return;
    }
    struct series *s = &g->series[i];
    if (i == g->n) {
        g->n++;
        for (int l = 0; l < 3; l++)
            snprintf(s->labels[l], sizeof(s->labels[l]), "%s", labels[l]);
        s->metric = metric_series(&open_def, labels);
    }
    s->letters += (double)letters;
}

static int tell_letters(struct dead_letters *dl, struct err *err)
{
    struct gauges *g = dl->gauges;
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(dl->pg, &sql_open_letters, NULL, 0, &rows, err) < 0)
        return -1;
    for (size_t i = 0; i < g->n; i++)
        g->series[i].letters = 0;
    for (int row = 0; row < PQntuples(rows); row++) {
        char texts[3][65];
        for (int l = 0; l < 3; l++)
            snprintf(texts[l], sizeof(texts[l]), "%.*s", VIEW_ARG(pg_get_text(rows, row, l)));
        add_letters(g, (const char *const[]){texts[0], texts[1], texts[2]},
                    pg_get_i64(rows, row, 3));
    }
    for (size_t i = 0; i < g->n; i++)
        metric_set(g->series[i].metric, g->series[i].letters);
    return 0;
}

static int tell_states(struct dead_letters *dl, struct err *err)
{
    static const char *const states[] = {"open", "parked", "replayed", "discarded"};
    const int oldest = ARRAY_LEN(states);
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(dl->pg, &sql_status, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < oldest; i++)
        metric_set(metric_series(&letters_def, &states[i]), (double)pg_get_i64(rows, 0, i));
    metric_set(metric_series(&oldest_def, NULL),
               pg_is_null(rows, 0, oldest) ? 0
                                           : (double)pg_get_timestamp_us(rows, 0, oldest) / 1e6);
    return 0;
}

static int tell_plans(struct dead_letters *dl, struct err *err)
{
    static const char *const states[] = {"running", "canary"};
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(dl->pg, &sql_count_plans, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < (int)ARRAY_LEN(states); i++)
        metric_set(metric_series(&plans_def, &states[i]), (double)pg_get_i64(rows, 0, i));
    metric_set(metric_series(&waiting_def, NULL), (double)pg_get_i64(rows, 0, 2));
    return 0;
}

int gauges_tick(struct dead_letters *dl, struct err *err)
{
    if (mono_ms() < dl->gauges->next_ms)
        return 0;
    dl->gauges->next_ms = mono_ms() + EVERY_MS;
    if (tell_letters(dl, err) < 0 || tell_states(dl, err) < 0)
        return -1;
    return tell_plans(dl, err);
}

void gauges_count(DlqAuditItem *const items[], size_t n)
{
    static const char *const outcomes[OUTCOMES] = {"sent",      "enqueued", "done", "failed",
                                                   "discarded", "skipped",  "gone"};
    for (int o = 0; o < OUTCOMES; o++) {
        double many = 0;
        for (size_t i = 0; i < n; i++)
            many += strcmp(items[i]->outcome, outcomes[o]) == 0;
        if (many > 0)
            metric_add(metric_series(&replays_def, &outcomes[o]), many);
    }
}
