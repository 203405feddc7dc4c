/* Access tokens: JWTs of one issuer, for one audience, of clients that are listed (RFC 9068, 8725).
 *
 * Pure: no I/O, no clock, nothing kept. What can be refused without a key is refused before one is
 * looked up: more than 8 kB, not three parts, base64url that is not canonical, a member that
 * stands there twice, an extension that must be understood. Of the header only alg, kid and typ are
 * read; keys that it carries or points to (jwk, jku, x5c, x5u) are never looked at. Claims are
 * believed only when the signature is good. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/hash.h"
#include "workers/command_api/clients.h"
#include "workers/command_api/keyset.h"

#define TOKEN_MAX 8192
#define SUBJECT_MAX 255
/* Of clocks that differ; and the most between a token's iat and exp. */
#define TOKEN_SKEW_S 60
#define TOKEN_LIFETIME_S 3600

enum token_reason {
    TOKEN_OK = 0,
    TOKEN_ABSENT,      /* no token came at all */
    TOKEN_LENGTH,      /* empty, or more than TOKEN_MAX bytes */
    TOKEN_PARTS,       /* not three parts */
    TOKEN_BASE64,      /* a part is not canonical base64url */
    TOKEN_JSON,        /* header or payload is no object, or has a member twice */
    TOKEN_EXTENSION,   /* crit, b64 or zip */
    TOKEN_ALGORITHM,   /* not switched on, or not the key's */
    TOKEN_TYPE,        /* typ */
    TOKEN_KEYS_AWAY,   /* no keys of the issuer are at hand, or they are too old */
    TOKEN_KEY_UNKNOWN, /* no key has its kid; or it has none and not exactly one key fits */
    TOKEN_SIGNATURE,   /* wrong signature */
    TOKEN_ISSUER,      /* iss */
    TOKEN_AUDIENCE,    /* aud */
    TOKEN_TIMES,       /* exp, iat or nbf is missing or no time, or the lifetime is too long */
    TOKEN_EXPIRED,     /* exp is over */
    TOKEN_EARLY,       /* nbf or iat lies ahead */
    TOKEN_CLIENT,      /* client_id or azp is missing, contradictory or not in the table */
    TOKEN_CLAIMS,      /* sub, jti or scope has a wrong type */
    TOKEN_REASONS,
};
/* Stable, lower case with hyphens: for logs and as a label. */
const char *token_reason_text(enum token_reason reason);

/* Whose call it is. */
struct caller {
    char client[CLIENT_ID_MAX + 1];
    char sub[SUBJECT_MAX + 1]; /* "" when the token has none */
    unsigned scopes;           /* bits of SCOPE_*: what both the token and the table give */
    bool has_jti;
    uint8_t jti_sha256[SHA256_SIZE]; /* zeros without one */
    struct client_limits limits;
    int64_t from_s, until_s; /* seconds since 1970 when its token is good, until_s no more */
};

struct token_rules {
    const char *issuer, *audience; /* both exact */
    unsigned algorithms;           /* bit set of 1u << enum signing */
    bool typ_jwt;                  /* typ JWT will do, besides at+jwt */
    const struct clients *clients;
};

/* now_s: seconds since 1970. keys NULL: TOKEN_KEYS_AWAY. *ret is filled only when it is TOKEN_OK.
 */
enum token_reason token_verify(const struct token_rules *rules, const struct keyset *keys,
                               struct view token, int64_t now_s, struct caller *ret);
