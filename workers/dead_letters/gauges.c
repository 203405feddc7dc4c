/* Classes and codes come from headers that anybody with the right may write: so many of them get a
 * series of their own, the others are counted together. A series whose letters are gone is 0. */
// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/gauges.h"

#include "events/base/clock.h"
#include "events/metrics.h"
#include "workers/dead_letters/sql.h"

enum { EVERY_MS = 10000, CODES_MAX = 100, CODE_MAX = 64 };

static const struct metric_def letters_def = {
    "echora_dead_letters", METRIC_GAUGE,
    "Dead letters in the index by state: open, parked (open, but after three replays), replayed, "
    "discarded.",
    "state", NULL};
static const struct metric_def open_def = {
    "echora_dead_letters_open", METRIC_GAUGE,
    "Open dead letters by what went wrong; beyond 100 kinds together as \"other\".", "class,code",
    NULL};
static const struct metric_def oldest_def = {
    "echora_dead_letters_oldest_timestamp_seconds", METRIC_GAUGE,
    "When the oldest open dead letter failed; 0 when none is open.", "", NULL};
static const struct metric_def plans_def = {
    "echora_replay_plans", METRIC_GAUGE,
    "Plans of replays and discards: running, or stopped by their canary (canary, of the last day).",
    "state", NULL};

/* Those that have a series; the last one is "other". Read and written by the one consumer lane. */
static struct kind {
    char class[CODE_MAX], code[CODE_MAX];
    struct metric *metric;
    double letters;
} kinds[CODES_MAX + 1];
static size_t n_kinds;

static struct kind *kind_of(struct view class, struct view code)
{
    for (size_t i = 0; i < n_kinds; i++)
        if (view_is(class, kinds[i].class) && view_is(code, kinds[i].code))
            return &kinds[i];
    if (n_kinds == CODES_MAX || class.n >= CODE_MAX || code.n >= CODE_MAX)
        return &kinds[CODES_MAX];
    struct kind *k = &kinds[n_kinds++];
    memcpy(k->class, class.p, class.n);
    memcpy(k->code, code.p, code.n);
    k->metric = metric_series(&open_def, (const char *[]){k->class, k->code});
    return k;
}

static int count_codes(struct dead_letters *dl, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(dl->pg, &sql_count_codes, NULL, 0, &rows, err) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        kinds[i].letters = 0;
    for (int i = 0; i < PQntuples(rows); i++)
        kind_of(pg_get_text(rows, i, 0), pg_get_text(rows, i, 1))->letters +=
            (double)pg_get_i64(rows, i, 2);
    kinds[CODES_MAX].metric = metric_series(&open_def, (const char *[]){"other", "other"});
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (kinds[i].metric != NULL)
            metric_set(kinds[i].metric, kinds[i].letters);
    return 0;
}

static int count_states(struct dead_letters *dl, struct err *err)
{
    static const char *const states[] = {"open", "parked", "replayed", "discarded"};
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(dl->pg, &sql_status, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < (int)ARRAY_LEN(states); i++)
        metric_set(metric_series(&letters_def, &states[i]), (double)pg_get_i64(rows, 0, i));
    const int oldest = ARRAY_LEN(states);
    metric_set(metric_series(&oldest_def, NULL),
               pg_is_null(rows, 0, oldest) ? 0
                                           : (double)pg_get_timestamp_us(rows, 0, oldest) / 1e6);
    return 0;
}

static int count_plans(struct dead_letters *dl, struct err *err)
{
    static const char *const states[] = {"running", "canary"};
    CLEANUP(pg_clearp) PGresult *rows = NULL;
    if (pg_query(dl->pg, &sql_count_plans, NULL, 0, &rows, err) < 0)
        return -1;
    for (int i = 0; i < (int)ARRAY_LEN(states); i++)
        metric_set(metric_series(&plans_def, &states[i]), (double)pg_get_i64(rows, 0, i));
    return 0;
}

int gauges_tick(struct dead_letters *dl, struct err *err)
{
    if (mono_ms() < dl->next_gauges_ms)
        return 0;
    dl->next_gauges_ms = mono_ms() + EVERY_MS;
    if (count_states(dl, err) < 0 || count_codes(dl, err) < 0)
        return -1;
    return count_plans(dl, err);
}
