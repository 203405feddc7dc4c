/* JetStream's own API by raw requests: one function for all calls, so that only fields that every
 * supported server knows are sent, and what it answers is read by name. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "ops/cli/cli.h"

/* subject: below "$JS.API.". request may be NULL. Caller owns *ret. An error of the server is
 * err with code nats-<err_code>. */
MUST_CHECK int jetstream_call(struct cli *cli, struct bus *bus, const char *subject,
                              const json_t *request, json_t **ret, struct err *err);
/* 0 for servers before 2.11. */
MUST_CHECK int jetstream_api_level(struct cli *cli, struct bus *bus, int64_t *ret, struct err *err);
