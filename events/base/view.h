/* Text and bytes by pointer and length: passed by value, never owned, never assumed terminated. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "events/base/attr.h"

struct view {
    const char *p;
    size_t n;
};

struct bytes {
    const uint8_t *p;
    size_t n;
};

/* For "%.*s": clamps the length to int. */
#define VIEW_ARG(v) ((int)((v).n > 4096 ? 4096 : (v).n)), ((v).p ? (v).p : "")
#define VIEW_LIT(s) ((struct view){(s), sizeof(s) - 1})

static inline struct view view_of(const char *s)
{
    return (struct view){s, s ? strlen(s) : 0};
}

static inline struct bytes bytes_of(struct view v)
{
    return (struct bytes){(const uint8_t *)v.p, v.n};
}

static inline struct view view_of_bytes(struct bytes b)
{
    return (struct view){(const char *)b.p, b.n};
}

static inline bool view_eq(struct view a, struct view b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

static inline bool view_is(struct view v, const char *s)
{
    return view_eq(v, view_of(s));
}

bool view_starts_with(struct view v, const char *prefix);
/* Takes everything up to sep off the front of *rest; false when *rest is spent (its p is NULL). So
 * "a,," has three parts and "" has one, all but the first empty. */
bool view_split(struct view *rest, char sep, struct view *ret_part);
struct view view_trim(struct view v);
/* Whole view as a decimal number within [min, max]; false (and *ret untouched) otherwise. */
MUST_CHECK bool view_to_i64(struct view v, int64_t min, int64_t max, int64_t *ret);
/* "250ms", "30s", "5m", "24h", "7d" or plain milliseconds, to milliseconds. */
MUST_CHECK bool view_to_duration_ms(struct view v, int64_t *ret);
/* "64KiB", "8MiB", "1GiB" or plain bytes. */
MUST_CHECK bool view_to_size(struct view v, int64_t *ret);
/* Valid UTF-8 without NUL, surrogates or overlong forms (RFC 3629). */
bool utf8_is_valid(struct bytes text);
/* Copies text into out (size ≥ 4 bytes, not terminated) as valid UTF-8: what is not becomes U+FFFD,
 * what does not fit is replaced by an ellipsis. NUL bytes are kept. Returns the copy. */
struct view utf8_clean(struct view text, char *out, size_t size);
