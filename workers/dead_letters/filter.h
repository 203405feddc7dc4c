/* Which letters a request means: the same filter as SQL parameters and as a test of one letter. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/letter.h"

enum { FILTER_PARAMS = 11 };

/* ERR_REJECT bad-filter. f may be NULL: no limits. */
MUST_CHECK int filter_check(const DlqFilter *f, struct err *err);
/* $1 to $11 of the statements that filter. They point into the filter. */
void filter_params(const DlqFilter *f, struct pg_param out[static FILTER_PARAMS]);
/* The state is left out: the stream doesn't know it. */
bool filter_matches(const DlqFilter *f, const struct letter *letter);
