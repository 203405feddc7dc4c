/* What every lane has: its own context and PostgreSQL connection, a way to be woken, and the rule
 * that an open which fails for a dependency is tried again when that is back. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <time.h>

#include "events/base/clock.h"
#include "events/log.h"
#include "events/runtime.h"

#define OPEN_PAUSE_MS 500
#define BEAT_MS 1000

const struct worker_config *lane_config(const struct lane *lane)
{
    return lane->rt->config;
}

void *lane_options(const struct lane *lane)
{
    return lane->rt->options;
}

struct bus *lane_bus(struct lane *lane)
{
    return lane->bus;
}

struct pg *lane_pg(struct lane *lane)
{
    return lane->pg;
}

bool lane_stopping(const struct lane *lane)
{
    if (lane->kind != LANE_PROBE) /* it lends its context only, it has no loop of its own */
        health_beat(lane->rt->health, lane->index);
    return runtime_stopping(lane->rt);
}

bool lane_pause(struct lane *lane, int64_t ms)
{
    const int64_t until = mono_ms() + ms;

    while (!lane_stopping(lane)) {
        const int64_t now = mono_ms();

        if (lane->rt->spec->run != NULL)
            lane_reload(lane); /* its loop is the worker's own */
        if (now >= until)
            return true;
        lane_wait_until(lane, until - now < BEAT_MS ? until : now + BEAT_MS);
    }
    return false;
}

const struct consumer_spec *lane_consumer(const struct lane *lane)
{
    return lane->only != NULL ? lane->only->spec : NULL;
}

bool lane_serves(const struct lane *lane, const struct binding *b)
{
    return lane->only != NULL ? lane->only == b : !b->spec->own_lane;
}

unsigned lane_index(const struct lane *lane)
{
    return lane->index;
}

void lane_report(struct lane *lane, const char *reason)
{
    if (!runtime_stopping(lane->rt))
        health_set_serving(lane->rt->health, reason == NULL, reason);
}

void isolation_init(struct isolation *i)
{
    pthread_rwlockattr_t attr;

    /* Writers first: an event that waits to be alone must not wait for ever. */
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&i->alone, &attr);
    pthread_rwlockattr_destroy(&attr);
}

void lane_init(struct lane *lane, struct runtime *rt, enum lane_kind kind, unsigned index)
{
    pthread_condattr_t attr;

    *lane = (struct lane){.rt = rt, .kind = kind, .index = index};
    lane->bus = kind == LANE_REQUESTS ? rt->request_bus : rt->bus;
    lane->acks = rt->ack_bus;
    lane->isolation = &rt->isolation;
    lane->reloads = atomic_load(&rt->reloads);
    pthread_mutex_init(&lane->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&lane->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (rt->spec->needs & (1u << DEP_POSTGRES)) {
        char name[64];

        snprintf(name, sizeof(name), "echora-%s", rt->spec->name);
        const struct pg_options options = {.url = rt->config->pg_url,
                                           .password = rt->config->pg_password,
                                           .application_name = name};
        lane->pg = pg_new(&options); /* NULL shows in lane_open */
    }
}

void lane_deinit(struct lane *lane)
{
    lane->pg = pg_free(lane->pg);
    pthread_cond_destroy(&lane->cond);
    pthread_mutex_destroy(&lane->mutex);
}

void lane_wake(struct lane *lane)
{
    pthread_mutex_lock(&lane->mutex);
    lane->woken = true;
    pthread_cond_signal(&lane->cond);
    pthread_mutex_unlock(&lane->mutex);
}

void lane_wait_until(struct lane *lane, int64_t until_ms)
{
    const struct timespec until = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};

    pthread_mutex_lock(&lane->mutex);
    while (!lane->woken && mono_ms() < until_ms)
        pthread_cond_timedwait(&lane->cond, &lane->mutex, &until);
    lane->woken = false;
    pthread_mutex_unlock(&lane->mutex);
}

static void wait_for_dependencies(struct lane *lane)
{
    while (!runtime_stopping(lane->rt) && !watch_allows(lane->rt->watch)) {
        health_beat(lane->rt->health, lane->index);
        lane_wait_until(lane, mono_ms() + 1000);
    }
}

int lane_open(struct lane *lane, struct err *err)
{
    const struct worker_spec *spec = lane->rt->spec;

    if ((spec->needs & (1u << DEP_POSTGRES)) && lane->pg == NULL)
        return err_set(err, ERR_FATAL, "no-memory", "open lane", "out of memory");
    for (;;) {
        struct err e = ERR_INIT;

        wait_for_dependencies(lane);
        if (runtime_stopping(lane->rt)) {
            *err = ERR_INIT;
            return -1;
        }
        if (spec->open == NULL || spec->open(lane, &lane->context, &e) == 0) {
            lane->opened = true;
            return 0;
        }
        if (e.class == ERR_FATAL || e.class == ERR_REJECT) {
            *err = e;
            return -1;
        }
        log_warn("lane can't open yet", LF_I64("lane", lane->index), LF_STR("code", e.code),
                 LF_STR("op", e.op), LF_STR("reason", e.text));
        if (e.class == ERR_UNAVAILABLE)
            watch_trip(lane->rt->watch, &e);
        health_beat(lane->rt->health, lane->index);
        lane_wait_until(lane, mono_ms() + OPEN_PAUSE_MS);
    }
}

void lane_reload(struct lane *lane)
{
    const struct worker_spec *spec = lane->rt->spec;
    const unsigned asked = atomic_load(&lane->rt->reloads);
    struct err err = ERR_INIT;

    if (asked == lane->reloads)
        return;
    lane->reloads = asked;
    if (spec->reload != NULL && spec->reload(lane->context, &err) < 0)
        log_error("files not read again, what was read before stays", LF_I64("lane", lane->index),
                  LF_STR("code", err.code), LF_STR("op", err.op), LF_STR("reason", err.text));
}

void lane_close(struct lane *lane)
{
    if (lane->opened && lane->rt->spec->close != NULL)
        lane->rt->spec->close(lane->context);
    lane->opened = false;
    lane->context = NULL;
}
