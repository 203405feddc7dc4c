// SPDX-License-Identifier: Apache-2.0
#include "events/progress.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/clock.h"

struct progress {
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    struct lease head; /* circular list */
    unsigned n;
    int64_t wakes_at_ms; /* INT64_MAX = sleeps until told */
    int64_t limit_ms;
    bool stopping;
    progress_send_fn *send;
    void *ctx;
};

/* Reports what is due; returns when the next one is. What is past its end has none, though it may
 * be due: after a stop of the whole process both lie behind. */
static int64_t report_due(struct progress *p, int64_t now)
{
    int64_t next = INT64_MAX;

    for (struct lease *l = p->head.next; l != &p->head; l = l->next) {
        if (l->due_ms <= now && now < l->until_ms) {
            p->send(p->ctx, l->ack_subject);
            l->due_ms = now + l->every_ms;
        }
        if (now < l->until_ms && l->due_ms < l->until_ms && l->due_ms < next)
            next = l->due_ms;
    }
    return next;
}

static void *run(void *arg)
{
    struct progress *p = arg;

    pthread_mutex_lock(&p->mutex);
    while (!p->stopping) {
        p->wakes_at_ms = report_due(p, mono_ms());
        if (p->wakes_at_ms == INT64_MAX) {
            pthread_cond_wait(&p->cond, &p->mutex);
        } else {
            const struct timespec until = {.tv_sec = p->wakes_at_ms / 1000,
                                           .tv_nsec = p->wakes_at_ms % 1000 * 1000000};

            pthread_cond_timedwait(&p->cond, &p->mutex, &until);
        }
    }
    pthread_mutex_unlock(&p->mutex);
    return NULL;
}

int progress_start(struct progress **ret, int64_t limit_ms, progress_send_fn *send, void *ctx,
                   struct err *err)
{
    struct progress *p = calloc(1, sizeof(*p));
    pthread_condattr_t attr;

    if (p == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "start progress", "out of memory");
    p->head.next = p->head.prev = &p->head;
    p->wakes_at_ms = INT64_MAX;
    p->limit_ms = limit_ms;
    p->send = send;
    p->ctx = ctx;
    pthread_mutex_init(&p->mutex, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->cond, &attr);
    pthread_condattr_destroy(&attr);
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        free(p);
        return err_set(err, ERR_RETRY, "no-memory", "start progress", "no thread");
    }
    *ret = p;
    return 0;
}

struct progress *progress_stop(struct progress *p)
{
    if (p == NULL)
        return NULL;
    pthread_mutex_lock(&p->mutex);
    p->stopping = true;
    pthread_cond_signal(&p->cond);
    pthread_mutex_unlock(&p->mutex);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->cond);
    pthread_mutex_destroy(&p->mutex);
    free(p);
    return NULL;
}

void progress_add(struct progress *p, struct lease *lease, const char *ack_subject, int64_t now_ms,
                  int64_t ack_wait_ms)
{
    lease->ack_subject = ack_subject;
    lease->every_ms = ack_wait_ms >= 3 ? ack_wait_ms / 3 : 1;
    lease->due_ms = now_ms + lease->every_ms;
    lease->until_ms = now_ms + p->limit_ms;
    pthread_mutex_lock(&p->mutex);
    lease->prev = p->head.prev;
    lease->next = &p->head;
    p->head.prev->next = lease;
    p->head.prev = lease;
    p->n++;
    /* The thread sleeps until the earliest report it knew of; a stream of short-lived leases wakes
     * it once per period, not once per event. */
    if (lease->due_ms < p->wakes_at_ms) {
        p->wakes_at_ms = lease->due_ms;
        pthread_cond_signal(&p->cond);
    }
    pthread_mutex_unlock(&p->mutex);
}

void progress_set_end(struct progress *p, struct lease *lease, int64_t until_ms)
{
    pthread_mutex_lock(&p->mutex);
    lease->until_ms = until_ms;
    if (lease->due_ms < until_ms && lease->due_ms < p->wakes_at_ms) {
        p->wakes_at_ms = lease->due_ms;
        pthread_cond_signal(&p->cond);
    }
    pthread_mutex_unlock(&p->mutex);
}

void progress_remove(struct progress *p, struct lease *lease)
{
    pthread_mutex_lock(&p->mutex);
    if (lease->next != NULL) {
        lease->prev->next = lease->next;
        lease->next->prev = lease->prev;
        lease->prev = lease->next = NULL;
        p->n--;
    }
    pthread_mutex_unlock(&p->mutex);
}

unsigned progress_count(struct progress *p)
{
    pthread_mutex_lock(&p->mutex);
    unsigned n = p->n;
    pthread_mutex_unlock(&p->mutex);
    return n;
}
