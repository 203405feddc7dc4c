// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/claims.h"

#include "events/base/clock.h"
#include "events/base/fault.h"

static bool is_text(const json_t *value, const char *wanted)
{
    return json_is_string(value) && view_is(view_of(json_string_value(value)), wanted);
}

/* Text, or a list of texts alone, one of which is ours. */
static bool is_for_us(const json_t *aud, const char *audience)
{
    bool ours = is_text(aud, audience), texts = true;
    const json_t *one;
    size_t i;

    json_array_foreach(aud, i, one)
    {
        ours |= is_text(one, audience);
        texts &= json_is_string(one);
    }
    return (ours && texts) || FAULT("audience-unchecked");
}

static bool read_time(const json_t *value, int64_t *ret)
{
    *ret = json_integer_value(value);
    return json_is_integer(value) && *ret >= 0 && *ret <= RFC3339_MAX_SECONDS;
}

/* With the skew that is allowed. */
static enum token_reason check_times(const json_t *payload, int64_t now_s, int64_t *ret_from_s,
                                     int64_t *ret_until_s)
{
    const json_t *nbf = json_object_get(payload, "nbf");
    int64_t exp, iat, not_before = 0;

    if (!read_time(json_object_get(payload, "exp"), &exp) ||
        !read_time(json_object_get(payload, "iat"), &iat) ||
        (nbf != NULL && !read_time(nbf, &not_before)))
        return TOKEN_TIMES;
    if (exp <= iat || exp - iat > TOKEN_LIFETIME_S)
        return TOKEN_TIMES;
    *ret_from_s = (iat > not_before ? iat : not_before) - TOKEN_SKEW_S;
    *ret_until_s = exp + TOKEN_SKEW_S;
    if (now_s >= *ret_until_s && !FAULT("expiry-unchecked"))
        return TOKEN_EXPIRED;
    return now_s < *ret_from_s ? TOKEN_EARLY : TOKEN_OK;
}

/* client_id (RFC 9068) or azp (OpenID Connect); the same when both are there. */
static const struct client *find_client(const json_t *payload, const struct clients *clients)
{
    const json_t *id = json_object_get(payload, "client_id");
    const json_t *azp = json_object_get(payload, "azp");

    if (id != NULL && azp != NULL && !json_equal(id, azp))
        return NULL;
    id = id != NULL ? id : azp;
    return json_is_string(id) ? clients_find(clients, view_of(json_string_value(id))) : NULL;
}

static bool read_text(const json_t *value, char *out, size_t size)
{
    if (value == NULL)
        return true;
    if (!json_is_string(value) || json_string_length(value) >= size)
        return false;
    memcpy(out, json_string_value(value), json_string_length(value) + 1);
    return true;
}

/* Texts that name no scope of ours are somebody else's. */
static bool read_scopes(const json_t *scope, unsigned *ret)
{
    struct view rest = view_of(json_string_value(scope)), name;
    const json_t *one;
    size_t i;

    *ret = 0;
    if (scope != NULL && !json_is_string(scope) && !json_is_array(scope))
        return false;
    while (view_split(&rest, ' ', &name))
        *ret |= scope_find(name);
    json_array_foreach(scope, i, one)
    {
        if (!json_is_string(one))
            return false;
        *ret |= scope_find(view_of(json_string_value(one)));
    }
    return true;
}

static enum token_reason read_caller(const json_t *payload, const struct client *client,
                                     struct caller *ret)
{
    const json_t *jti = json_object_get(payload, "jti");
    struct caller caller = {.has_jti = jti != NULL, .limits = client->limits};

    if (!read_text(json_object_get(payload, "sub"), caller.sub, sizeof(caller.sub)) ||
        !read_scopes(json_object_get(payload, "scope"), &caller.scopes) ||
        (jti != NULL && !json_is_string(jti)))
        return TOKEN_CLAIMS;
    if (jti != NULL)
        sha256(bytes_of(view_of(json_string_value(jti))), caller.jti_sha256);
    memcpy(caller.client, client->id, sizeof(caller.client));
    if (!FAULT("client-scopes-unchecked"))
        caller.scopes &= client->scopes;
    *ret = caller;
    return TOKEN_OK;
}

enum token_reason claims_check(const json_t *payload, const struct token_rules *rules,
                               int64_t now_s, struct caller *ret)
{
    if (!is_text(json_object_get(payload, "iss"), rules->issuer))
        return TOKEN_ISSUER;
    if (!is_for_us(json_object_get(payload, "aud"), rules->audience))
        return TOKEN_AUDIENCE;
    int64_t from_s, until_s;
    enum token_reason reason = check_times(payload, now_s, &from_s, &until_s);
    if (reason != TOKEN_OK)
        return reason;
    const struct client *client = find_client(payload, rules->clients);
    if (client == NULL)
        return TOKEN_CLIENT;
    reason = read_caller(payload, client, ret);
    if (reason == TOKEN_OK) {
        ret->from_s = from_s;
        ret->until_s = until_s;
    }
    return reason;
}
