// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/jose.h"

#include <strings.h>

#include "workers/command_api/base64url.h"

enum { HEADER, PAYLOAD, SIGNATURE, PARTS };

static bool split(struct view token, struct view parts[static PARTS])
{
    struct view rest = token;
    size_t n = 0;

    while (n < PARTS && view_split(&rest, '.', &parts[n]))
        n++;
    return n == PARTS && rest.p == NULL;
}

/* jansson refuses what is no UTF-8, NUL characters, and what stands behind the object. */
static enum token_reason read_object(struct view part, json_t **ret)
{
    uint8_t text[TOKEN_MAX];
    size_t n;

    if (!base64url_decode(part, text, sizeof(text), &n))
        return TOKEN_BASE64;
    *ret = json_loadb((const char *)text, n, JSON_REJECT_DUPLICATES, NULL);
    return json_is_object(*ret) ? TOKEN_OK : TOKEN_JSON;
}

enum token_reason jose_read(struct view token, struct jose *ret)
{
    struct view parts[PARTS];
    enum token_reason reason = TOKEN_OK;

    *ret = (struct jose){.header = NULL};
    if (token.n == 0 || token.n > TOKEN_MAX)
        return TOKEN_LENGTH;
    if (!split(token, parts))
        return TOKEN_PARTS;
    ret->signed_text = (struct view){token.p, parts[HEADER].n + 1 + parts[PAYLOAD].n};
    if (!base64url_decode(parts[SIGNATURE], ret->signature, sizeof(ret->signature),
                          &ret->n_signature))
        reason = TOKEN_BASE64;
    if (reason == TOKEN_OK)
        reason = read_object(parts[HEADER], &ret->header);
    if (reason == TOKEN_OK)
        reason = read_object(parts[PAYLOAD], &ret->payload);
    if (reason != TOKEN_OK)
        jose_free(ret);
    return reason;
}

void jose_free(struct jose *jose)
{
    json_decref(jose->header);
    json_decref(jose->payload);
    jose->header = jose->payload = NULL;
}

/* Media types don't distinguish upper and lower case, and may leave "application/" out. */
static bool is_type(const char *typ, const char *wanted)
{
    static const char prefix[] = "application/";
    const size_t n = sizeof(prefix) - 1;

    return typ != NULL && strcasecmp(strncasecmp(typ, prefix, n) == 0 ? typ + n : typ, wanted) == 0;
}

enum token_reason jose_header_check(const json_t *header, const struct token_rules *rules,
                                    enum signing *ret_alg, const char **ret_kid)
{
    static const char *const extensions[] = {"crit", "b64", "zip"};
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const char *typ = json_string_value(json_object_get(header, "typ"));
    const json_t *kid = json_object_get(header, "kid");

    for (size_t i = 0; i < ARRAY_LEN(extensions); i++) {
        if (json_object_get(header, extensions[i]) != NULL)
            return TOKEN_EXTENSION;
    }
    if (!signing_find(view_of(alg), ret_alg) || (rules->algorithms & 1u << *ret_alg) == 0)
        return TOKEN_ALGORITHM;
    if (!is_type(typ, "at+jwt") && !(rules->typ_jwt && is_type(typ, "JWT")))
        return TOKEN_TYPE;
    if (kid != NULL && !json_is_string(kid))
        return TOKEN_JSON;
    *ret_kid = json_string_value(kid);
    return TOKEN_OK;
}
