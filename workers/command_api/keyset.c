// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/keyset.h"

#include <openssl/evp.h>
#include <stdlib.h>

struct keyset *keyset_new(void)
{
    struct keyset *set = calloc(1, sizeof(*set));

    if (set != NULL)
        atomic_init(&set->references, 1);
    return set;
}

struct keyset *keyset_ref(struct keyset *set)
{
    atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
    return set;
}

struct keyset *keyset_unref(struct keyset *set)
{
    if (set == NULL || atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel) > 1)
        return NULL;
    for (size_t i = 0; i < set->n; i++)
        EVP_PKEY_free(set->keys[i].pkey);
    free(set);
    return NULL;
}

void keyset_unrefp(struct keyset **set)
{
    *set = keyset_unref(*set);
}

static const struct key *find_named(const struct keyset *set, const char *kid)
{
    for (size_t i = 0; i < set->n; i++) {
        if (set->keys[i].has_kid && strcmp(set->keys[i].kid, kid) == 0)
            return &set->keys[i];
    }
    return NULL;
}

const struct key *keyset_find(const struct keyset *set, const char *kid, enum signing alg)
{
    const struct key *found = NULL;

    if (kid != NULL)
        return find_named(set, kid);
    for (size_t i = 0; i < set->n; i++) {
        if (set->keys[i].alg != alg)
            continue;
        if (found != NULL)
            return NULL;
        found = &set->keys[i];
    }
    return found;
}
