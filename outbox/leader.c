// SPDX-License-Identifier: Apache-2.0

#include "outbox/leader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/fault.h"
#include "events/log.h"
#include "outbox_sql.h"

enum { TRY_MS = 250, PROVE_MS = 500, TIMEOUT_MS = 2000 };

struct leader {
    struct pg *pg;
    char *schema;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    bool started, stopping;
    _Atomic bool holds;
    _Atomic unsigned term;
};

static void gain(struct leader *l)
{
    atomic_fetch_add(&l->term, 1);
    atomic_store(&l->holds, true);
    log_info("relay is active", LF_STR("outbox", l->schema));
}

static void lose(struct leader *l, const struct err *cause)
{
    atomic_store(&l->holds, false);
    log_warn("leadership lost, database connection gone", LF_STR("outbox", l->schema),
             LF_STR("code", cause->class != ERR_NONE ? cause->code : "pg-connection"),
             LF_STR("reason", cause->class != ERR_NONE ? cause->text : "it was made anew"));
}

/* One attempt or one sign of life. A new connection has no lock, whatever the old one had. */
static void step(struct leader *l)
{
    unsigned before = pg_generation(l->pg);
    const struct pg_param params[] = {pg_text(view_of(l->schema))};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    struct err err = ERR_INIT;
    if (atomic_load(&l->holds)) {
        if (pg_ping(l->pg, &err) < 0 || pg_generation(l->pg) != before)
            lose(l, &err);
        return;
    }
    if (pg_query(l->pg, &sql_try_lead, params, ARRAY_LEN(params), &r, &err) < 0) {
        log_debug("no lock", LF_STR("outbox", l->schema), LF_STR("code", err.code));
        return;
    }
    if (pg_get_bool(r, 0, 0) || FAULT("lock-ignored"))
        gain(l);
}

static void *run(void *arg)
{
    struct leader *l = arg;
    pthread_mutex_lock(&l->mutex);
    while (!l->stopping) {
        pthread_mutex_unlock(&l->mutex);
        step(l);
        int ms = atomic_load(&l->holds) ? PROVE_MS : TRY_MS;
        pthread_mutex_lock(&l->mutex);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += (long)ms * 1000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        if (!l->stopping)
            pthread_cond_timedwait(&l->wake, &l->mutex, &until);
    }
    pthread_mutex_unlock(&l->mutex);
    return NULL;
}

int leader_start(struct leader **ret, const struct pg_options *options, const char *schema,
                 struct err *err)
{
    struct leader *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "leader", "out of memory");
    struct pg_options own = *options;
    own.statement_timeout_ms = TIMEOUT_MS;
    own.connect_timeout_ms = TIMEOUT_MS;
    own.setup_sql = "SET idle_session_timeout = '2s'; SET tcp_user_timeout = '2s'";
    l->pg = pg_new(&own);
    l->schema = strdup(schema);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&l->mutex, NULL);
    if (l->pg == NULL || l->schema == NULL || pthread_create(&l->thread, NULL, run, l) != 0) {
        leader_stop(l);
        return err_set(err, ERR_RETRY, "no-memory", "leader", "no thread");
    }
    l->started = true;
    *ret = l;
    return 0;
}

struct leader *leader_stop(struct leader *l)
{
    if (l == NULL)
        return NULL;
    if (l->started) {
        pthread_mutex_lock(&l->mutex);
        l->stopping = true;
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->mutex);
        pthread_join(l->thread, NULL);
    }
    pg_free(l->pg);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->mutex);
    free(l->schema);
    free(l);
    return NULL;
}

bool leader_holds(const struct leader *l)
{
    return atomic_load(&l->holds);
}

unsigned leader_term(const struct leader *l)
{
    return atomic_load(&l->term);
}
