/* Time. Wall time is microseconds since 1970 (UTC), spans are milliseconds of the monotonic clock.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

int64_t wall_us(void);
int64_t mono_ms(void);
int64_t mono_us(void);

#define RFC3339_MAX 40
/* "2026-11-21T06:00:00.123456Z"; fraction of 0, 3, 6 or 9 digits as needed (proto3 JSON). */
void rfc3339_format(int64_t seconds, int32_t nanos, char out[static RFC3339_MAX]);
/* Any RFC 3339 text with offset, years 0001 to 9999. */
MUST_CHECK bool rfc3339_parse(struct view text, int64_t *ret_seconds, int32_t *ret_nanos);
