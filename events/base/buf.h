/* A growing byte buffer with a mandatory maximum.
 *
 * Overflow and allocation failure are sticky: later appends do nothing and buf_failed() tells. So a
 * writer appends freely and looks once at the end. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdarg.h>

#include "events/base/err.h"
#include "events/base/view.h"

struct buf {
    char *p;
    size_t n, capacity, max;
    bool failed, no_memory;
};

/* Embedded; max in bytes. No allocation yet. */
void buf_init(struct buf *b, size_t max);
/* Frees the memory; the buffer is empty and usable again with the same maximum. */
void buf_deinit(struct buf *b);
/* Empties it, keeps the memory, clears the sticky failure. */
void buf_reset(struct buf *b);
void buf_append(struct buf *b, const void *p, size_t n);
void buf_append_view(struct buf *b, struct view v);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Fewest digits that read back as the same float / double. Without a finite value the JSON strings
 * "NaN", "Infinity", "-Infinity", quotes included, as in proto3 JSON. */
void buf_put_float(struct buf *b, float v);
void buf_put_double(struct buf *b, double v);
void buf_put_i64(struct buf *b, int64_t v);
/* A JSON string with its quotes, escaped (RFC 8259); text must be valid UTF-8. */
void buf_put_json_string(struct buf *b, struct view text);
void buf_put_hex(struct buf *b, struct bytes data);
void buf_put_base64(struct buf *b, struct bytes data);
/* Room for n bytes at the end, to be filled by the caller; NULL when it failed. Counts as appended.
 */
void *buf_extend(struct buf *b, size_t n);
bool buf_failed(const struct buf *b);
/* It failed because the system gave no memory, not for its maximum. */
bool buf_no_memory(const struct buf *b);
/* Why it failed: no-memory (ERR_RETRY), or too-large (ERR_REJECT) when what would pass its maximum.
 * Returns -1. */
int buf_error(const struct buf *b, const char *op, const char *what, struct err *err);
static inline struct view buf_view(const struct buf *b)
{
    return (struct view){b->p, b->n};
}
/* NUL behind the content (not counted); "" when empty or failed. */
const char *buf_cstr(struct buf *b);
