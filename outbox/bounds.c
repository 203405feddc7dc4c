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

/* "xmin:xmax:xip,xip" with numbers that rise. */
static bool parse_snapshot(struct view text, struct snapshot *ret)
{
    struct view rest = text, part;
    int64_t xmin, xmax, xip;
    if (!view_split(&rest, ':', &part) || !view_to_i64(part, 3, INT64_MAX, &xmin) ||
        !view_split(&rest, ':', &part) || !view_to_i64(part, xmin, INT64_MAX, &xmax) ||
        rest.p == NULL)
        return false;
    if (rest.n > 0)
        for (int64_t least = xmin; view_split(&rest, ',', &part); least = xip + 1)
            if (!view_to_i64(part, least, xmax - 1, &xip))
                return false;
    snapshot_set(ret, text, (uint64_t)xmax);
    return !buf_failed(&ret->text);
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
    return parse_snapshot(prev, &ret->prev) && parse_snapshot(text, &ret->cur);
}
