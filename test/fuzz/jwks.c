/* Hostile key sets and client tables.
 *
 * The first byte chooses which. Properties of a set that is taken: 1 to 32 keys, each for one
 * algorithm that fits its type, RSA of 2048 bits or more, names that differ, and reading it again
 * gives the same. Of a table: clients are found by their ids alone, limits are positive. */
// SPDX-License-Identifier: Apache-2.0

#include <openssl/evp.h>

#include "test/fuzz/demand.h"
#include "workers/command_api/clients.h"
#include "workers/command_api/jwks.h"

static void check_key(const struct key *key)
{
    const int type = EVP_PKEY_get_base_id(key->pkey);

    demand(key->alg < SIGNINGS, "an algorithm", NULL);
    if (key->alg == SIGN_ES256)
        demand(type == EVP_PKEY_EC && EVP_PKEY_get_bits(key->pkey) == 256, "P-256", NULL);
    else if (key->alg == SIGN_EDDSA)
        demand(type == EVP_PKEY_ED25519, "Ed25519", NULL);
    else
        demand(type == EVP_PKEY_RSA && EVP_PKEY_get_bits(key->pkey) >= 2048, "RSA", NULL);
    demand(memchr(key->kid, '\0', sizeof(key->kid)) != NULL, "a name", NULL);
}

static void check_set(struct view text)
{
    struct err err = ERR_INIT;
    struct keyset *set = NULL, *again = NULL;

    if (jwks_parse(text, &set, &err) < 0) {
        demand(set == NULL && strcmp(err.code, "bad-keys") == 0, "refused as such", &err);
        return;
    }
    demand(set->n >= 1 && set->n <= KEYS_MAX, "1 to 32 keys", NULL);
    demand((set->refused == 0) == (set->refusal == NULL), "a reason", NULL);
    for (size_t i = 0; i < set->n; i++) {
        check_key(&set->keys[i]);
        if (set->keys[i].has_kid)
            demand(keyset_find(set, set->keys[i].kid, SIGN_RS256) == &set->keys[i], "names", NULL);
    }
    demand(jwks_parse(text, &again, &err) == 0 && again->n == set->n &&
               again->refused == set->refused,
           "the same again", &err);
    keyset_unref(again);
    keyset_unref(set);
}

static void check_table(struct view text)
{
    struct err err = ERR_INIT;
    struct clients *clients = NULL;

    if (clients_parse(text, &clients, &err) < 0) {
        demand(clients == NULL && strcmp(err.code, "config") == 0, "refused as such", &err);
        return;
    }
    demand(clients_count(clients) <= CLIENTS_MAX, "a bounded table", NULL);
    demand(clients_find(clients, VIEW_LIT("")) == NULL, "no empty id", NULL);
    const struct client *c = clients_find(clients, VIEW_LIT("n8n"));
    if (c != NULL)
        demand(strcmp(c->id, "n8n") == 0 && c->scopes <= 7 && c->limits.read > 0 &&
                   c->limits.execute > 0 && c->limits.approve > 0,
               "a client", NULL);
    clients_unref(clients);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    const struct view text = {(const char *)data + 1, n - 1};
    if (data[0] % 2 == 0)
        check_set(text);
    else
        check_table(text);
    return 0;
}
