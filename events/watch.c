/* The watch: one thread that asks every dependency, once a second, whether it answers now, and
 * works the circuit breakers.
 *
 * It is the only one that probes, so a broken dependency gets one ping at a time from a process and
 * never an event. A lane that runs into trouble opens the breaker at once; the watch closes it when
 * a ping is answered, and wakes the lanes. Readiness is what the last ping said, so it is false
 * within one interval and one ping's limit after a death (together below 2 s), and stays false
 * while events are stuck: a full disk answers pings. Until every dependency has answered once
 * nothing is fetched.
 *
 * The dead-letter stream is the exception: only storing tells whether it stores, so the lane that
 * holds a dead letter tries it when the breaker says so. An open breaker of it means that some lane
 * holds one, for such an event is never given back but at the end of the process. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/base/hash.h"
#include "events/breaker.h"
#include "events/log.h"
#include "events/runtime.h"

#define INTERVAL_MS 1000
#define PING_LIMIT_MS 700
/* A late answer says "busy" as often as "gone". It shows in readyz at once, but stops fetching only
 * when it repeats: an error of a handler's own call opens the breaker anyway, and a loaded
 * dependency must not be starved of work for answering pings late. */
#define LATE_LIMIT 4
#define REMIND_MS 60000

struct watched {
    bool needed, asked, known, up; /* known: it answered at least once */
    unsigned late;                 /* pings in a row without an answer in time */
    unsigned stuck;                /* events that it fails, though it answers pings */
    char stuck_reason[400];
    int64_t next_ms; /* of the next ping while the breaker is closed */
    struct breaker breaker;
    int64_t opened_us;   /* wall clock */
    int64_t reminded_ms; /* the log's last word on an outage */
    struct metric *up_metric, *open_metric, *opened_metric;
};

struct watch {
    struct runtime *rt;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct watched deps[DEP_MAX];
    struct lane probe; /* the worker's own context for probing, opened when first needed */
    struct pg *pg;
    bool poked, stopping;
    unsigned generation, rounds;
    struct metric *reconnects;
};

static const struct metric_def up_def = {"echora_dependency_up", METRIC_GAUGE,
                                         "1 when the dependency answered the last ping.",
                                         "dependency", NULL};
const struct metric_def breaker_open_def = {"echora_breaker_open", METRIC_GAUGE,
                                            "1 while the circuit breaker stops fetching.",
                                            "dependency", NULL};
const struct metric_def breaker_opened_def = {
    "echora_breaker_opened_timestamp_seconds", METRIC_GAUGE,
    "Since when the circuit breaker stops fetching; 0 while it does not.", "dependency", NULL};
const struct metric_def breaker_trips_def = {"echora_breaker_trips_total", METRIC_COUNTER,
                                             "Times that a breaker opened, and for which error.",
                                             "dependency,code", NULL};
static const struct metric_def reconnects_def = {"echora_nats_connects_total", METRIC_COUNTER,
                                                 "Connections made to nats-server.", "", NULL};

/* No ping can tell: an empty publish would be stored, and a full stream says so only when it
 * stores.
 */
static bool by_trial(enum dependency dep)
{
    return dep == DEP_DEAD_LETTERS;
}

static int ping_pg(struct watch *w, struct err *err)
{
    if (w->pg == NULL) {
        const struct worker_config *c = w->rt->config;
        const struct pg_options options = {.url = c->pg_url,
                                           .password = c->pg_password,
                                           .application_name = "echora-watch",
                                           .connect_timeout_ms = PING_LIMIT_MS,
                                           .statement_timeout_ms = PING_LIMIT_MS};
        w->pg = pg_new(&options);
    }
    if (w->pg == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "ping PostgreSQL", "out of memory");
    return pg_ping(w->pg, err);
}

static int ping_by_worker(struct watch *w, enum dependency dep, struct err *err)
{
    const struct worker_spec *spec = w->rt->spec;

    if (spec->probe == NULL)
        return 0;
    if (!w->probe.opened) {
        if (spec->open != NULL && spec->open(&w->probe, &w->probe.context, err) < 0)
            return -1;
        w->probe.opened = true;
    }
    return spec->probe(w->probe.context, dep, err);
}

/* Each of the process's connections has been made once, so that lanes find all of them. */
static int ping_nats(struct watch *w, struct err *err)
{
    struct bus *const all[] = {w->rt->bus, w->rt->ack_bus, w->rt->request_bus};

    if (FAULT("library-hangs"))
        pause();
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i] == NULL)
            continue;
        if (!bus_alive(all[i], err))
            return -1;
        if (bus_generation(all[i]) == 0)
            return err_set_dep(err, ERR_UNAVAILABLE, DEP_NATS, "nats-connection", "ping NATS",
                               "no connection yet");
    }
    return bus_ping(w->rt->bus, PING_LIMIT_MS, err);
}

static int ping(struct watch *w, enum dependency dep, struct err *err)
{
    switch (dep) {
    case DEP_NATS:
        return ping_nats(w, err);
    case DEP_POSTGRES:
        return ping_pg(w, err);
    default:
        return ping_by_worker(w, dep, err);
    }
}

static void make_metrics(struct watched *d, enum dependency dep)
{
    const char *const labels[] = {dependency_name(dep)};

    d->up_metric = metric_series(&up_def, labels);
    d->open_metric = metric_series(&breaker_open_def, labels);
    d->opened_metric = metric_series(&breaker_opened_def, labels);
}

/* Under the lock. */
static void trip(struct watched *d, int64_t now, const struct err *cause)
{
    breaker_trip(&d->breaker, now, cause);
    d->opened_us = wall_us();
    d->reminded_ms = now;
    metric_add(metric_series(&breaker_trips_def,
                             (const char *[]){dependency_name(d->breaker.dependency), cause->code}),
               1);
}

/* Under the lock. */
static void show_outage(struct watch *w, enum dependency dep)
{
    const struct watched *d = &w->deps[dep];
    const bool open = !breaker_allows(&d->breaker);
    const struct outage outage = {.cause = &d->breaker.cause,
                                  .since_us = d->opened_us,
                                  .next_probe_ms = d->breaker.next_probe_ms,
                                  .failed_probes = d->breaker.failures};

    metric_set(d->open_metric, open ? 1 : 0);
    metric_set(d->opened_metric, open ? (double)d->opened_us / 1e6 : 0);
    health_set_outage(w->rt->health, dep, open && !FAULT("outage-unseen") ? &outage : NULL);
}

/* Under the lock. */
static void show(struct watch *w, enum dependency dep, const char *reason)
{
    const struct watched *d = &w->deps[dep];
    const bool answers = d->up && breaker_allows(&d->breaker);
    const bool up = answers && d->stuck == 0;

    metric_set(d->up_metric, (by_trial(dep) ? up : d->up) ? 1 : 0);
    show_outage(w, dep);
    health_set_dependency(w->rt->health, dep, up, up ? NULL : answers ? d->stuck_reason : reason);
}

static bool is_late(const struct err *err)
{
    const char *dash = strrchr(err->code, '-');
    return dash != NULL && strcmp(dash, "-timeout") == 0;
}

static void note(struct watch *w, enum dependency dep, bool good, const struct err *err)
{
    struct watched *d = &w->deps[dep];
    struct breaker before;
    bool changed, was_open, stops, remind;
    int64_t open_ms;

    pthread_mutex_lock(&w->mutex);
    const int64_t now = mono_ms();
    changed = !d->asked || d->up != good;
    d->asked = true;
    was_open = !breaker_allows(&d->breaker);
    before = d->breaker;
    open_ms = now - before.opened_ms;
    d->known = d->known || good;
    d->up = good;
    d->next_ms = now + INTERVAL_MS;
    d->late = !good && is_late(err) ? d->late + 1 : 0;
    stops = !was_open && !good && (d->late == 0 || d->late >= LATE_LIMIT);
    if (was_open)
        breaker_probed(&d->breaker, now, good);
    else if (stops)
        trip(d, now, err);
    remind = was_open && !good && now - d->reminded_ms >= REMIND_MS;
    if (remind)
        d->reminded_ms = now;
    show(w, dep, err->text);
    pthread_mutex_unlock(&w->mutex);

    if (good && (changed || was_open)) {
        if (was_open)
            log_info("dependency answers again, fetching goes on",
                     LF_STR("dependency", dependency_name(dep)), LF_STR("code", before.cause.code),
                     LF_I64("open_ms", open_ms), LF_I64("failed_probes", before.failures));
        runtime_wake(w->rt);
    } else if (remind) {
        log_warn("dependency still does not answer", LF_STR("dependency", dependency_name(dep)),
                 LF_STR("code", err->code), LF_STR("reason", err->text),
                 LF_STR("opened_by", before.cause.code), LF_I64("open_ms", open_ms),
                 LF_I64("failed_probes", before.failures + 1));
    } else if (stops) {
        log_warn("dependency does not answer, fetching stops",
                 LF_STR("dependency", dependency_name(dep)), LF_STR("code", err->code),
                 LF_STR("op", err->op), LF_STR("reason", err->text));
    }
}

/* Under the lock: is it time to ping? */
static bool due(struct watched *d, int64_t now, int64_t *next)
{
    if (breaker_allows(&d->breaker)) {
        if (d->next_ms <= now)
            return true;
        if (d->next_ms < *next)
            *next = d->next_ms;
        return false;
    }
    if (breaker_probe_due(&d->breaker, now))
        return true;
    if (d->breaker.next_probe_ms < *next)
        *next = d->breaker.next_probe_ms;
    return false;
}

static void count_connects(struct watch *w)
{
    const unsigned generation = bus_generation(w->rt->bus);

    metric_add(w->reconnects, generation - w->generation);
    w->generation = generation;
}

static void check_all(struct watch *w, int64_t *ret_next)
{
    for (enum dependency dep = DEP_NATS; dep < DEP_MAX; dep++) {
        struct err err = ERR_INIT;
        bool now_due;

        pthread_mutex_lock(&w->mutex);
        now_due = w->deps[dep].needed && !by_trial(dep) && due(&w->deps[dep], mono_ms(), ret_next);
        pthread_mutex_unlock(&w->mutex);
        if (!now_due)
            continue;
        const bool good = ping(w, dep, &err) == 0;
        note(w, dep, good, &err);
        if (!good && err.class == ERR_FATAL)
            runtime_stop(w->rt, &err);
        *ret_next = 0; /* its next time is not known yet: look again */
    }
}

static void *run(void *arg)
{
    struct watch *w = arg;

    pthread_mutex_lock(&w->mutex);
    while (!w->stopping) {
        int64_t next = mono_ms() + INTERVAL_MS;

        w->poked = false;
        w->rounds++;
        pthread_mutex_unlock(&w->mutex);
        count_connects(w);
        check_all(w, &next);
        pthread_mutex_lock(&w->mutex);
        if (next > mono_ms() && !w->poked && !w->stopping) {
            const struct timespec until = {.tv_sec = next / 1000, .tv_nsec = next % 1000 * 1000000};

            pthread_cond_timedwait(&w->cond, &w->mutex, &until);
        }
    }
    pthread_mutex_unlock(&w->mutex);
    return NULL;
}

int watch_start(struct runtime *rt, struct err *err)
{
    struct watch *w = calloc(1, sizeof(*w));
    pthread_condattr_t attr;
    uint64_t seed;

    if (w == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "start watch", "out of memory");
    w->rt = rt;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&w->cond, &attr);
    pthread_condattr_destroy(&attr);
    lane_init(&w->probe, rt, LANE_PROBE, (unsigned)rt->n_lanes);
    w->reconnects = metric_series(&reconnects_def, NULL);
    random_bytes(&seed, sizeof(seed));
    for (enum dependency dep = DEP_NATS; dep < DEP_MAX; dep++) {
        struct watched *d = &w->deps[dep];

        breaker_init(&d->breaker, dep, seed + dep);
        d->needed = dep == DEP_NATS || (rt->spec->needs & (1u << dep)) != 0;
        if (!d->needed)
            continue;
        make_metrics(d, dep);
        health_set_dependency(rt->health, dep, false, "not yet asked");
    }
    rt->watch = w;
    if (pthread_create(&w->thread, NULL, run, w) != 0)
        return err_set(err, ERR_RETRY, "no-memory", "start watch", "no thread");
    return 0;
}

void watch_stop(struct runtime *rt)
{
    struct watch *w = rt->watch;

    if (w == NULL)
        return;
    pthread_mutex_lock(&w->mutex);
    w->stopping = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
    pthread_join(w->thread, NULL);
    lane_close(&w->probe);
    lane_deinit(&w->probe);
    pg_free(w->pg);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mutex);
    free(w);
    rt->watch = NULL;
}

unsigned watch_rounds(struct watch *w)
{
    pthread_mutex_lock(&w->mutex);
    const unsigned rounds = w->rounds;
    pthread_mutex_unlock(&w->mutex);
    return rounds;
}

bool watch_allows(struct watch *w)
{
    bool allows = true;

    pthread_mutex_lock(&w->mutex);
    for (enum dependency dep = DEP_NATS; dep < DEP_MAX; dep++) {
        const struct watched *d = &w->deps[dep];

        if (by_trial(dep) && !FAULT("letters-block-all"))
            continue;
        allows &= !d->needed || (d->known && breaker_allows(&d->breaker));
    }
    pthread_mutex_unlock(&w->mutex);
    return allows;
}

bool watch_stores_letters(struct watch *w)
{
    bool stores;

    pthread_mutex_lock(&w->mutex);
    stores = breaker_allows(&w->deps[DEP_DEAD_LETTERS].breaker);
    pthread_mutex_unlock(&w->mutex);
    return stores;
}

bool watch_trouble(struct watch *w, struct err *ret)
{
    bool found = false;

    pthread_mutex_lock(&w->mutex);
    for (enum dependency dep = DEP_NATS; dep < DEP_MAX && !found; dep++) {
        const struct watched *d = &w->deps[dep];

        found = d->needed && !by_trial(dep) && (!d->known || !breaker_allows(&d->breaker));
        if (found)
            err_set_dep(ret, ERR_UNAVAILABLE, dep, "dependency-away", dependency_name(dep),
                        "%s does not answer", dependency_name(dep));
    }
    pthread_mutex_unlock(&w->mutex);
    return found;
}

void watch_trip(struct watch *w, const struct err *cause)
{
    struct watched *d = &w->deps[cause->dependency];
    bool opened = false;

    if (cause->dependency == DEP_NONE || cause->dependency >= DEP_MAX)
        return;
    pthread_mutex_lock(&w->mutex);
    if (!d->needed) {
        /* Not in the worker's table, but a handler says it stands in the way: probed from now on.
         */
        d->needed = true;
        d->known = true;
        d->up = by_trial(cause->dependency);
        make_metrics(d, cause->dependency);
    }
    if (breaker_allows(&d->breaker)) {
        trip(d, mono_ms(), cause);
        show(w, cause->dependency, cause->text);
        opened = true;
        w->poked = true;
        pthread_cond_signal(&w->cond);
    } else if (by_trial(cause->dependency)) {
        if (d->breaker.state == BREAKER_HALF_OPEN)
            breaker_probed(&d->breaker, mono_ms(), false);
        show(w, cause->dependency, cause->text);
    }
    pthread_mutex_unlock(&w->mutex);
    if (opened)
        log_warn("breaker opened, fetching stops",
                 LF_STR("dependency", dependency_name(cause->dependency)),
                 LF_STR("code", cause->code), LF_STR("op", cause->op),
                 LF_STR("reason", cause->text));
}

void watch_stuck(struct watch *w, const struct err *cause)
{
    struct watched *d = &w->deps[cause->dependency];

    pthread_mutex_lock(&w->mutex);
    d->stuck++;
    snprintf(d->stuck_reason, sizeof(d->stuck_reason), "events are stuck: %s: %s", cause->code,
             cause->text);
    show(w, cause->dependency, cause->text);
    pthread_mutex_unlock(&w->mutex);
}

void watch_unstick(struct watch *w, enum dependency dep)
{
    struct watched *d = &w->deps[dep];

    pthread_mutex_lock(&w->mutex);
    d->stuck -= d->stuck > 0;
    if (d->stuck == 0 && d->up && breaker_allows(&d->breaker))
        show(w, dep, NULL);
    pthread_mutex_unlock(&w->mutex);
}

bool watch_try_dead_letter(struct watch *w)
{
    struct err ignored = ERR_INIT;
    bool due;

    if (watch_trouble(w, &ignored))
        return false;
    pthread_mutex_lock(&w->mutex);
    due = breaker_probe_due(&w->deps[DEP_DEAD_LETTERS].breaker, mono_ms());
    pthread_mutex_unlock(&w->mutex);
    return due;
}

void watch_tried_dead_letter(struct watch *w)
{
    struct watched *d = &w->deps[DEP_DEAD_LETTERS];
    bool closed;

    pthread_mutex_lock(&w->mutex);
    closed = d->breaker.state == BREAKER_HALF_OPEN;
    if (closed) {
        breaker_probed(&d->breaker, mono_ms(), true);
        show(w, DEP_DEAD_LETTERS, NULL);
    }
    pthread_mutex_unlock(&w->mutex);
    if (closed) {
        log_info("dead letters are stored again, fetching goes on");
        runtime_wake(w->rt);
    }
}

void watch_poke(struct watch *w)
{
    pthread_mutex_lock(&w->mutex);
    w->poked = true;
    w->deps[DEP_NATS].next_ms = 0;
    if (!breaker_allows(&w->deps[DEP_NATS].breaker))
        w->deps[DEP_NATS].breaker.next_probe_ms = 0;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}
