/* Who calls: what the HTTP worker asks of everything that has to do with tokens.
 *
 * Options become rules, a keyring and the client table; auth_check may be called by any thread. The
 * worker adds AUTH_OPTIONS to its own option rows:
 *
 *     struct settings { struct auth_settings auth; ... };
 *     static const struct option rows[] = { AUTH_OPTIONS(struct settings, auth), ... }; */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/option.h"
#include "workers/command_api/keyring.h"
#include "workers/command_api/token.h"

struct auth_settings {
    const char *issuer, *audience;
    const char *jwks, *jwks_ca_file, *clients, *algorithms;
    bool typ_jwt, dev;
};

/* clang-format off */
#define AUTH_OPTIONS(type, member)                                                                 \
    {.name = "issuer", .kind = OPT_STRING, .offset = offsetof(type, member.issuer),                \
     .default_text = "", .placeholder = "URL",                                                     \
     .help = "Issuer of access tokens, exactly as their iss has it; https."},                      \
    {.name = "audience", .kind = OPT_STRING, .offset = offsetof(type, member.audience),            \
     .default_text = "echora-command-api", .placeholder = "NAME",                                  \
     .help = "What must stand in the aud of a token."},                                            \
    {.name = "jwks", .kind = OPT_STRING, .offset = offsetof(type, member.jwks),                    \
     .default_text = "", .placeholder = "URL|FILE",                                                \
     .help = "The issuer's public keys (JWKS), an https URL or a file; read again every 10 "       \
             "minutes and at SIGHUP."},                                                            \
    {.name = "jwks-ca-file", .kind = OPT_STRING, .offset = offsetof(type, member.jwks_ca_file),    \
     .default_text = "", .placeholder = "FILE",                                                    \
     .help = "Authorities that the certificate of the JWKS URL is checked with, PEM; empty: the "  \
             "system's."},                                                                         \
    {.name = "clients", .kind = OPT_STRING, .offset = offsetof(type, member.clients),              \
     .default_text = "", .placeholder = "FILE",                                                    \
     .help = "Table of clients that may call, JSON, with their scopes and limits; read again at "  \
             "SIGHUP."},                                                                           \
    {.name = "algorithms", .kind = OPT_STRING, .offset = offsetof(type, member.algorithms),        \
     .default_text = "RS256,ES256", .placeholder = "NAMES",                                        \
     .help = "Signatures that are accepted, of RS256, ES256, PS256 and EdDSA."},                   \
    {.name = "typ-jwt", .kind = OPT_BOOL, .offset = offsetof(type, member.typ_jwt),                \
     .default_text = "false",                                                                      \
     .help = "Tokens of typ JWT are accepted, besides at+jwt: for issuers older than RFC 9068."},  \
    {.name = "dev", .kind = OPT_BOOL, .offset = offsetof(type, member.dev),                        \
     .default_text = "false",                                                                      \
     .help = "issuer and jwks may be plain http on loopback, as of `echora dev-issuer`."}
/* clang-format on */

struct auth;

/* pace: of the keyring, NULL = the usual one. ERR_FATAL config when an option or the client table
 * is wrong. curl_global_init must have run. */
MUST_CHECK int auth_open(struct auth **ret, const struct auth_settings *settings,
                         const struct keyring_options *pace, struct err *err);
struct auth *auth_close(struct auth *a); /* takes NULL, returns NULL; nobody may be inside */

/* Any thread. authorization: the value of the header, its p NULL when there was none; a scheme
 * other than Bearer is TOKEN_ABSENT. Waits for keys at most once, 3 s, and only for an unknown kid.
 * Counts its outcome in echora_tokens_total. */
enum token_reason auth_check(struct auth *a, struct view authorization, struct caller *ret);
/* Keys are there. */
bool auth_ready(struct auth *a);
/* Any thread. Reads the client table again, on -1 the old one stays; asks for keys without waiting
 * for them. */
MUST_CHECK int auth_reload(struct auth *a, struct err *err);
