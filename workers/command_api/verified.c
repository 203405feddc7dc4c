/* A table of fixed size, in which a token has one place; whoever comes later takes it. The keys and
 * clients are held by references, so that no others can ever have their addresses. */
// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/verified.h"

#include <pthread.h>
#include <stdlib.h>

#include "events/base/fault.h"

/* A client needs one token at a time. */
#define PLACES 64

struct place {
    bool used;
    uint8_t hash[SHA256_SIZE];
    struct caller caller;
};

struct verified {
    pthread_mutex_t lock;
    struct keyset *keys; /* NULL at first, then owned; so is clients */
    struct clients *clients;
    struct place places[PLACES];
};

struct verified *verified_new(void)
{
    struct verified *v = calloc(1, sizeof(*v));

    if (v != NULL)
        pthread_mutex_init(&v->lock, NULL);
    return v;
}

struct verified *verified_free(struct verified *v)
{
    if (v == NULL)
        return NULL;
    keyset_unref(v->keys);
    clients_unref(v->clients);
    pthread_mutex_destroy(&v->lock);
    free(v);
    return NULL;
}

/* Under the lock. */
static void forget_all(struct verified *v, struct keyset *keys, struct clients *clients)
{
    keyset_unref(v->keys);
    clients_unref(v->clients);
    v->keys = keyset_ref(keys);
    v->clients = clients_ref(clients);
    for (size_t i = 0; i < PLACES; i++)
        v->places[i].used = false;
}

static struct place *place_of(struct verified *v, const uint8_t hash[static SHA256_SIZE])
{
    return &v->places[hash[0] % PLACES];
}

bool verified_find(struct verified *v, const uint8_t hash[static SHA256_SIZE], struct keyset *keys,
                   struct clients *clients, int64_t now_s, struct caller *ret)
{
    const struct place *p = place_of(v, hash);

    pthread_mutex_lock(&v->lock);
    if ((v->keys != keys || v->clients != clients) &&
        (v->keys == NULL || !FAULT("verified-for-ever")))
        forget_all(v, keys, clients);
    const bool found = p->used && memcmp(p->hash, hash, SHA256_SIZE) == 0 &&
                       now_s >= p->caller.from_s && now_s < p->caller.until_s;
    if (found)
        *ret = p->caller;
    pthread_mutex_unlock(&v->lock);
    return found;
}

void verified_keep(struct verified *v, const uint8_t hash[static SHA256_SIZE],
                   const struct keyset *keys, const struct clients *clients,
                   const struct caller *caller)
{
    struct place *p = place_of(v, hash);

    pthread_mutex_lock(&v->lock);
    if (v->keys == keys && v->clients == clients) {
        p->used = true;
        memcpy(p->hash, hash, SHA256_SIZE);
        p->caller = *caller;
    }
    pthread_mutex_unlock(&v->lock);
}
