/* An OAuth2 issuer for developers and tests: client credentials for access tokens of ten minutes.
 *
 * Its ES256 key lives as long as the process. What it answers is decided here, without HTTP; the
 * verb (verb_dev_issuer.c) listens on loopback and hands requests over. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"

#define DEV_FORM_MAX ((size_t)8 << 10)
#define DEV_TOKEN_S 600

struct dev_key;

/* NULL when OpenSSL fails. */
struct dev_key *dev_key_new(void);
struct dev_key *dev_key_free(struct dev_key *key); /* takes NULL, returns NULL */
/* The JWKS document. */
void dev_key_publish(const struct dev_key *key, struct buf *out);
/* Header and claims, both JSON, become a token. */
MUST_CHECK int dev_key_sign(const struct dev_key *key, struct view claims, struct buf *out,
                            struct err *err);

/* Clients with their secrets. */
struct dev_secrets;
/* A file of lines `client secret`; # begins a comment. ERR_FATAL config or file. */
MUST_CHECK int dev_secrets_read(const char *path, struct dev_secrets **ret, struct err *err);
struct dev_secrets *dev_secrets_free(struct dev_secrets *secrets); /* takes NULL, returns NULL */
bool dev_secrets_fit(const struct dev_secrets *secrets, struct view client, struct view secret);

struct dev_issuer {
    const char *issuer, *audience;
    const struct dev_key *key;
    const struct dev_secrets *secrets;
};
/* Answers to POST /oauth2/token and GET /.well-known/oauth-authorization-server. authorization and
 * type: the headers, p NULL when absent. Returns the HTTP status; out gets JSON. */
unsigned dev_issuer_token(const struct dev_issuer *issuer, struct view authorization,
                          struct view type, struct view form, int64_t now_s, struct buf *out);
void dev_issuer_describe(const struct dev_issuer *issuer, struct buf *out);
