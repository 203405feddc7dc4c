/* A token's three parts and its header (RFC 7515), before anything of it is believed. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "workers/command_api/token.h"

struct jose {
    struct view signed_text;  /* of the token: header, dot, payload */
    json_t *header, *payload; /* objects */
    uint8_t signature[SIGNATURE_MAX];
    size_t n_signature;
};

/* TOKEN_OK, then *ret is the caller's to free; else why not. */
enum token_reason jose_read(struct view token, struct jose *ret);
void jose_free(struct jose *jose);
/* alg and typ, as the rules allow; *ret_kid lives as long as the header, NULL when it has none. */
enum token_reason jose_header_check(const json_t *header, const struct token_rules *rules,
                                    enum signing *ret_alg, const char **ret_kid);
