/* The events of a file: one JSON document, or one after the other (NDJSON). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <jansson.h>

#include "events/base/err.h"
#include "events/base/view.h"

struct documents {
    struct view rest;
    unsigned number; /* of the document that documents_next gave last, from 1 */
};
void documents_start(struct documents *d, struct view text);
/* 1 and *ret (caller owns), 0 at the end, -1 for what is no JSON. */
int documents_next(struct documents *d, json_t **ret, struct err *err);
