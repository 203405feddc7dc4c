/* What a receiver said, as the log of attempts may keep it: a line for people, in which nothing of
 * our secrets and signatures stands and nothing that a terminal obeys. Pure. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

#define EXCERPT_MAX 256
/* Of an answer's first bytes at most EXCERPT_MAX: printable ASCII, other bytes as '.', and '*' for
 * each character of any EXCERPT_SECRET in a row that stand in `hidden` too (upper or lower case),
 * and for what looks like a secret or a signature, whoever's it is. Answers that are longer should
 * be given with some more bytes than fit, so that what is cut is known for what it is. */
#define EXCERPT_SECRET 8
void excerpt_make(struct view answer, const struct view hidden[], size_t n_hidden,
                  char out[static EXCERPT_MAX + 1]);
