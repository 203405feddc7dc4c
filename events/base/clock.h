/* Time. Wall time is microseconds since 1970 (UTC), spans are milliseconds of the monotonic clock.
 */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/view.h"

int64_t wall_us(void);
int64_t mono_ms(void);
int64_t mono_us(void);

#define RFC3339_MAX 40
/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z */
#define RFC3339_MIN_SECONDS INT64_C(-62135596800)
#define RFC3339_MAX_SECONDS INT64_C(253402300799)
/* "2026-11-21T06:00:00.123456Z"; fraction of 0, 3, 6 or 9 digits as needed (proto3 JSON).
 * Seconds beyond the two limits are written as the nearest limit. */
void rfc3339_format(int64_t seconds, int32_t nanos, char out[static RFC3339_MAX]);
/* Any RFC 3339 text with offset, years 0001 to 9999. Digits beyond nanoseconds are cut, a leap
 * second counts as the second after it. Untouched results when it returns false. */
MUST_CHECK bool rfc3339_parse(struct view text, int64_t *ret_seconds, int32_t *ret_nanos);
