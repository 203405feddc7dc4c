// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/token.h"

#include "events/base/fault.h"
#include "workers/command_api/claims.h"
#include "workers/command_api/jose.h"

const char *token_reason_text(enum token_reason reason)
{
    static const char *const texts[TOKEN_REASONS] = {
        [TOKEN_OK] = "ok",
        [TOKEN_ABSENT] = "absent",
        [TOKEN_LENGTH] = "length",
        [TOKEN_PARTS] = "parts",
        [TOKEN_BASE64] = "base64",
        [TOKEN_JSON] = "json",
        [TOKEN_EXTENSION] = "extension",
        [TOKEN_ALGORITHM] = "algorithm",
        [TOKEN_TYPE] = "type",
        [TOKEN_KEYS_AWAY] = "keys-away",
        [TOKEN_KEY_UNKNOWN] = "key-unknown",
        [TOKEN_SIGNATURE] = "signature",
        [TOKEN_ISSUER] = "issuer",
        [TOKEN_AUDIENCE] = "audience",
        [TOKEN_TIMES] = "times",
        [TOKEN_EXPIRED] = "expired",
        [TOKEN_EARLY] = "early",
        [TOKEN_CLIENT] = "client",
        [TOKEN_CLAIMS] = "claims",
    };

    return (unsigned)reason < TOKEN_REASONS ? texts[reason] : "unknown";
}

static enum token_reason check_signature(const struct jose *jose, const struct token_rules *rules,
                                         const struct keyset *keys)
{
    enum signing alg;
    const char *kid;
    const enum token_reason header = jose_header_check(jose->header, rules, &alg, &kid);

    if (header != TOKEN_OK)
        return header;
    if (keys == NULL)
        return TOKEN_KEYS_AWAY;
    const struct key *key = keyset_find(keys, kid, alg);
    if (key == NULL)
        return TOKEN_KEY_UNKNOWN;
    if (key->alg != alg && !FAULT("algorithm-unbound"))
        return TOKEN_ALGORITHM;
    return signature_is_good(alg, key->pkey, jose->signed_text,
                             (struct bytes){jose->signature, jose->n_signature})
               ? TOKEN_OK
               : TOKEN_SIGNATURE;
}

enum token_reason token_verify(const struct token_rules *rules, const struct keyset *keys,
                               struct view token, int64_t now_s, struct caller *ret)
{
    struct jose jose;
    enum token_reason reason = jose_read(token, &jose);

    if (reason != TOKEN_OK)
        return reason;
    reason = check_signature(&jose, rules, keys);
    if (reason == TOKEN_OK)
        reason = claims_check(jose.payload, rules, now_s, ret);
    jose_free(&jose);
    return reason;
}
