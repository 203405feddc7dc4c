/* What a token says, once its signature is good. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "workers/command_api/token.h"

/* *ret is filled when it is TOKEN_OK. */
enum token_reason claims_check(const json_t *payload, const struct token_rules *rules,
                               int64_t now_s, struct caller *ret);
