/* The issuer's public keys at one time: never changed once made, counted references.
 *
 * Each key is bound to one algorithm when it is made. A token chooses a key, never what is done
 * with it. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdatomic.h>

#include "workers/command_api/signature.h"

#define KEYS_MAX 32
#define KID_MAX 255

struct key {
    bool has_kid;
    char kid[KID_MAX + 1];
    enum signing alg;
    EVP_PKEY *pkey;
};

struct keyset {
    atomic_uint references;
    size_t n;
    unsigned skipped;    /* keys that are for something else */
    unsigned refused;    /* keys that nobody should use */
    const char *refusal; /* why the first of those, static text; NULL = none */
    struct key keys[KEYS_MAX];
};

/* Empty, with one reference; NULL when out of memory. */
struct keyset *keyset_new(void);
struct keyset *keyset_ref(struct keyset *set);
/* Takes NULL; returns NULL. Of any thread. */
struct keyset *keyset_unref(struct keyset *set);
void keyset_unrefp(struct keyset **set);

/* The key with this name, NULL when there is none. kid NULL: the only key for alg, NULL when there
 * are several or none. */
const struct key *keyset_find(const struct keyset *set, const char *kid, enum signing alg);
