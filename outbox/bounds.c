// SPDX-License-Identifier: Apache-2.0

#include "outbox/bounds.h"

#include <inttypes.h>
#include <stdio.h>

bool bounds_format(const struct outbox_batch *b, char out[static BOUNDS_MAX])
{
    if (batch_has_stragglers(b) || b->prev.text.n + b->cur.text.n >= BOUNDS_MAX)
        return false;
    const struct view prev = buf_view(&b->prev.text), cur = buf_view(&b->cur.text);
    int n = snprintf(out, BOUNDS_MAX, "%" PRId64 " %" PRId64 " %" PRId64 " %.*s %.*s", b->n_rows,
                     b->first_id, b->last_id, VIEW_ARG(prev), VIEW_ARG(cur));
    return n > 0 && n < BOUNDS_MAX;
}

bool bounds_parse(struct view text, struct outbox_batch *ret)
{
    struct view rows, first, last, prev;
    if (!view_split(&text, ' ', &rows) || !view_to_i64(rows, 1, INT64_MAX, &ret->n_rows) ||
        !view_split(&text, ' ', &first) || !view_to_i64(first, 1, INT64_MAX, &ret->first_id) ||
        !view_split(&text, ' ', &last) ||
        !view_to_i64(last, ret->first_id, INT64_MAX, &ret->last_id) ||
        !view_split(&text, ' ', &prev))
        return false;
    buf_reset(&ret->stragglers);
    buf_puts(&ret->stragglers, "{}");
    return snapshot_parse(prev, &ret->prev) && snapshot_parse(text, &ret->cur);
}
