/* How heavy a JSON text will be once it is parsed: an empty object of two bytes takes some two
 * hundred, so the number of bytes alone bounds nothing. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

/* Of a request: 1,000 decisions with two dozen edits each. Of a reply: 1,000 conflicts of 50 rules,
 * twice. */
#define REQUEST_VALUES_MAX 32768
#define REPLY_VALUES_MAX 131072

/* Pure: the values that the text has at most, if it is JSON. */
size_t json_values_most(struct view text);
