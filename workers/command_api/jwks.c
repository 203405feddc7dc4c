// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/jwks.h"

#include <jansson.h>
#include <openssl/evp.h>

#include "workers/command_api/jwk.h"

static const char op[] = "read keys";

static int bad(struct err *err, const char *what)
{
    return err_set(err, ERR_RETRY, "bad-keys", op, "%s", what);
}

/* Skipped keys have no say, whatever they are called. */
static bool is_taken(const struct keyset *set, const char refused[][KID_MAX + 1], const char *kid)
{
    bool taken = false;

    for (size_t i = 0; i < set->n; i++)
        taken |= set->keys[i].has_kid && strcmp(set->keys[i].kid, kid) == 0;
    for (unsigned i = 0; i < set->refused; i++)
        taken |= strcmp(refused[i], kid) == 0;
    return taken;
}

static int read_name(const json_t *jwk, struct key *ret, struct err *err)
{
    const json_t *kid = json_object_get(jwk, "kid");

    *ret = (struct key){.has_kid = kid != NULL};
    if (kid == NULL)
        return 0;
    if (!json_is_string(kid) || json_string_length(kid) == 0 || json_string_length(kid) > KID_MAX)
        return bad(err, "a kid is no text of 1 to 255 bytes");
    memcpy(ret->kid, json_string_value(kid), json_string_length(kid));
    return 0;
}

static int read_keys(const json_t *list, struct keyset *set, struct err *err)
{
    char refused[KEYS_MAX][KID_MAX + 1];
    const char *refusal = NULL;
    const json_t *jwk;
    size_t i;

    json_array_foreach(list, i, jwk)
    {
        struct key key;

        if (!json_is_object(jwk))
            return bad(err, "a key is no object");
        if (read_name(jwk, &key, err) < 0)
            return -1;
        const enum jwk_state state = jwk_read(jwk, &key, &refusal);
        const bool twice = state != JWK_SKIPPED && key.has_kid && is_taken(set, refused, key.kid);
        if (state == JWK_TAKEN && !twice) {
            set->keys[set->n++] = key;
        } else if (state == JWK_TAKEN) {
            EVP_PKEY_free(key.pkey);
        } else if (state == JWK_REFUSED) {
            memcpy(refused[set->refused++], key.kid, sizeof(key.kid));
            set->refusal = set->refusal != NULL ? set->refusal : refusal;
        } else {
            set->skipped++;
        }
        if (twice)
            return bad(err, "two keys have the same kid");
    }
    return set->n > 0 ? 0 : bad(err, refusal != NULL ? refusal : "no key to verify tokens with");
}

int jwks_parse(struct view text, struct keyset **ret, struct err *err)
{
    json_t *root =
        text.n <= JWKS_MAX ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    const json_t *list = json_object_get(root, "keys");
    struct keyset *set = NULL;
    int rc = -1;

    if (text.n > JWKS_MAX)
        (void)bad(err, "the set has more than 64 KiB");
    else if (!json_is_array(list))
        (void)bad(err, "the set is no JSON object with a list of keys, or has a member twice");
    else if (json_array_size(list) > KEYS_MAX)
        (void)bad(err, "the set has more than 32 keys");
    else if ((set = keyset_new()) == NULL)
        (void)err_set(err, ERR_RETRY, "no-memory", op, "out of memory");
    else
        rc = read_keys(list, set, err);
    json_decref(root);
    if (rc == 0)
        *ret = set;
    else
        (void)keyset_unref(set);
    return rc;
}
