// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/keyring.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/log.h"
#include "events/metrics.h"
#include "workers/command_api/keysource.h"

#define REFRESH_MS (10 * INT64_C(60000))
#define RETRY_MS INT64_C(30000)
#define BETWEEN_MS INT64_C(30000)
#define STALE_MS (24 * INT64_C(3600000))
#define WAIT_MS INT64_C(3000)
/* How often the age is told. */
#define AGE_MS INT64_C(5000)

struct keyring {
    struct keyring_options options;
    struct keysource *source;
    _Atomic int64_t give_up_at; /* for the source's calls: set when it is to end */
    pthread_t thread;
    bool started;
    struct metric *age, *failures, *keys;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool stopping;
    struct keyset *current;
    int64_t loaded_ms; /* monotonic; of current */
    int64_t asked_ms;  /* last look for an unknown kid; 0 = none */
    int64_t next_ms;   /* when to look again */
    bool looking;      /* the thread is about it */
    bool once_more;    /* told to look since the last one began */
    uint64_t looks;    /* that are over */
    unsigned in_a_row; /* failures */
};

static const struct metric_def age_def = {"echora_jwks_age_seconds", METRIC_GAUGE,
                                          "Since the issuer's keys were last read; -1 = never.", "",
                                          NULL};
static const struct metric_def failures_def = {"echora_jwks_failures_total", METRIC_COUNTER,
                                               "Failed tries to read the issuer's keys.", "", NULL};
static const struct metric_def keys_def = {"echora_jwks_keys", METRIC_GAUGE,
                                           "Keys of the issuer that are in use.", "", NULL};

/* Under the lock. */
static bool is_usable(const struct keyring *k, int64_t now)
{
    return k->current != NULL &&
           (now - k->loaded_ms < k->options.stale_ms || FAULT("stale-keys-served"));
}

static void tell_age(struct keyring *k, int64_t now)
{
    metric_set(k->age, k->current != NULL ? (double)(now - k->loaded_ms) / 1000 : -1);
}

/* At most until the monotonic time; under the lock. */
static void wait_until(struct keyring *k, int64_t at_ms)
{
    const struct timespec t = {.tv_sec = at_ms / 1000, .tv_nsec = at_ms % 1000 * 1000000};

    pthread_cond_timedwait(&k->changed, &k->lock, &t);
}

static void log_loaded(const struct keyset *set, bool again)
{
    if (set->refused > 0)
        log_warn("some keys of the issuer are refused", LF_I64("refused", set->refused),
                 LF_STR("first", set->refusal));
    log_info(again ? "keys of the issuer are read again" : "keys of the issuer are read",
             LF_I64("keys", (int64_t)set->n), LF_I64("skipped", set->skipped));
}

/* Whether there is nothing to tell: as many keys, in whatever order, under the same names. */
static bool same_names(const struct keyset *a, const struct keyset *b)
{
    if (a->n != b->n || a->refused != b->refused)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        const struct key *key = &a->keys[i];

        if (key->has_kid && keyset_find(b, key->kid, key->alg) == NULL)
            return false;
    }
    return true;
}

/* Under the lock. Takes the set over; NULL is a failure. */
static void note_look(struct keyring *k, struct keyset *set, const struct err *err)
{
    const int64_t now = mono_ms();

    k->looking = false;
    k->looks++;
    if (set != NULL) {
        if (k->current == NULL || k->in_a_row > 0 || !same_names(k->current, set))
            log_loaded(set, k->current != NULL);
        keyset_unref(k->current);
        k->current = set;
        k->loaded_ms = now;
        k->in_a_row = 0;
        metric_set(k->keys, (double)set->n);
    } else if (!k->stopping) {
        metric_add(k->failures, 1);
        if (k->in_a_row++ == 0)
            log_err(LOG_LEVEL_WARN, "keys of the issuer can't be read", err);
    }
    k->next_ms = now + (set != NULL ? k->options.refresh_ms : k->options.retry_ms);
    if (k->once_more)
        k->next_ms = now;
    tell_age(k, now);
    pthread_cond_broadcast(&k->changed);
}

static void *run(void *arg)
{
    struct keyring *k = arg;

    pthread_mutex_lock(&k->lock);
    while (!k->stopping) {
        const int64_t now = mono_ms();

        tell_age(k, now);
        if (now < k->next_ms) {
            wait_until(k, k->next_ms < now + AGE_MS ? k->next_ms : now + AGE_MS);
            continue;
        }
        struct err err = ERR_INIT;
        struct keyset *set = NULL;
        k->looking = true;
        k->once_more = false;
        pthread_mutex_unlock(&k->lock);
        const bool good = keysource_read(k->source, &set, &err) == 0;
        pthread_mutex_lock(&k->lock);
        note_look(k, good ? set : NULL, &err);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

static int64_t or_usual(int64_t given, int64_t usual)
{
    return given > 0 ? given : usual;
}

static struct keyring *make(const struct keyring_options *options)
{
    struct keyring *k = calloc(1, sizeof(*k));
    pthread_condattr_t monotonic;

    if (k == NULL)
        return NULL;
    k->options = (struct keyring_options){.refresh_ms = or_usual(options->refresh_ms, REFRESH_MS),
                                          .retry_ms = or_usual(options->retry_ms, RETRY_MS),
                                          .between_ms = or_usual(options->between_ms, BETWEEN_MS),
                                          .stale_ms = or_usual(options->stale_ms, STALE_MS),
                                          .wait_ms = or_usual(options->wait_ms, WAIT_MS)};
    k->age = metric_series(&age_def, NULL);
    k->failures = metric_series(&failures_def, NULL);
    k->keys = metric_series(&keys_def, NULL);
    pthread_mutex_init(&k->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&k->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    tell_age(k, 0);
    return k;
}

/* Signals are for the main thread: the new one inherits a full mask. */
static int start_thread(struct keyring *k, struct err *err)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    k->started = pthread_create(&k->thread, NULL, run, k) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return k->started ? 0
                      : err_set(err, ERR_RETRY, "no-memory", "open keys", "no thread can be made");
}

static int open_source(struct keyring *k, const struct keyring_options *options, struct err *err)
{
    struct keyset *set = NULL;
    struct err cause = ERR_INIT;

    k->source =
        keysource_open(options->source, options->ca_file, k->options.wait_ms, &k->give_up_at, err);
    if (k->source == NULL)
        return -1;
    if (!keysource_is_file(k->source))
        return 0;
    if (keysource_read(k->source, &set, &cause) < 0)
        return err_set(err, ERR_FATAL, "config", "open keys", "%s", cause.text);
    note_look(k, set, NULL);
    return 0;
}

int keyring_open(struct keyring **ret, const struct keyring_options *options, struct err *err)
{
    struct keyring *k = make(options);

    if (k == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "open keys", "out of memory");
    if (open_source(k, options, err) < 0 || start_thread(k, err) < 0) {
        keyring_close(k);
        return -1;
    }
    *ret = k;
    return 0;
}

struct keyring *keyring_close(struct keyring *k)
{
    if (k == NULL)
        return NULL;
    pthread_mutex_lock(&k->lock);
    k->stopping = true;
    atomic_store(&k->give_up_at, mono_ms());
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    if (k->started)
        pthread_join(k->thread, NULL);
    keysource_close(k->source);
    keyset_unref(k->current);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    free(k);
    return NULL;
}

struct keyset *keyring_get(struct keyring *k)
{
    struct keyset *set = NULL;

    pthread_mutex_lock(&k->lock);
    if (is_usable(k, mono_ms()))
        set = keyset_ref(k->current);
    pthread_mutex_unlock(&k->lock);
    return set;
}

/* Under the lock: a look that is under way will do; else there must be one to spend. */
static bool may_look(struct keyring *k, int64_t now)
{
    if (k->looking)
        return true;
    if (k->asked_ms != 0 && now - k->asked_ms < k->options.between_ms && !FAULT("looks-unlimited"))
        return k->next_ms <= now; /* asked for by somebody else, about to begin */
    k->asked_ms = now;
    k->next_ms = now;
    pthread_cond_broadcast(&k->changed);
    return true;
}

bool keyring_renew(struct keyring *k, const struct keyset *than)
{
    pthread_mutex_lock(&k->lock);
    const int64_t end = mono_ms() + k->options.wait_ms;
    const uint64_t looks = k->looks;

    if (k->current == than && may_look(k, mono_ms())) {
        while (!k->stopping && k->looks == looks && mono_ms() < end)
            wait_until(k, end);
    }
    const bool other = k->current != than;
    pthread_mutex_unlock(&k->lock);
    return other;
}

void keyring_refresh(struct keyring *k)
{
    pthread_mutex_lock(&k->lock);
    k->once_more = true;
    k->next_ms = mono_ms();
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

bool keyring_ready(struct keyring *k)
{
    pthread_mutex_lock(&k->lock);
    const bool ready = is_usable(k, mono_ms());
    pthread_mutex_unlock(&k->lock);
    return ready;
}
