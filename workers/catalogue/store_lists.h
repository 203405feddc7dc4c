/* The tables made from lists of an anime: relations, companies, source materials, and the edges of
 * all three. A list that changed replaces its rows. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/work.h"

/* After entities and references are written. */
MUST_CHECK int store_lists(struct work *w, struct err *err);
