/* Calls to the search index (Qdrant's REST API, the collection behind the alias). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "ops/cli/cli.h"

#define INDEX_ALIAS "anime_database"

/* path: behind the collection's name, "/points/query". *ret: the reply's "result"; caller owns. */
MUST_CHECK int points_call(struct cli *cli, const char *method, const char *path, struct view body,
                           json_t **ret, struct err *err);
/* Any path; *ret is the whole reply. */
MUST_CHECK int points_get(struct cli *cli, const char *path, json_t **ret, struct err *err);
