// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>

#include "outbox/batch.h"

void snapshot_set(struct snapshot *s, struct view text, uint64_t xmax)
{
    buf_reset(&s->text);
    buf_append_view(&s->text, text);
    s->xmax = xmax;
}

struct parts {
    int64_t xmin, xmax;
    struct view in_progress; /* "xip,xip" */
};

static bool parse(struct view text, struct parts *ret)
{
    struct view part;
    int64_t xip;
    if (!view_split(&text, ':', &part) || !view_to_i64(part, 3, INT64_MAX, &ret->xmin) ||
        !view_split(&text, ':', &part) || !view_to_i64(part, ret->xmin, INT64_MAX, &ret->xmax) ||
        text.p == NULL)
        return false;
    ret->in_progress = text;
    if (text.n > 0)
        for (int64_t least = ret->xmin; view_split(&text, ',', &part); least = xip + 1)
            if (!view_to_i64(part, least, ret->xmax - 1, &xip))
                return false;
    return true;
}

bool snapshot_parse(struct view text, struct snapshot *ret)
{
    struct parts parts;
    if (!parse(text, &parts))
        return false;
    snapshot_set(ret, text, (uint64_t)parts.xmax);
    return true;
}

bool snapshot_cut(struct snapshot *s, uint64_t xmax)
{
    struct parts parts;
    struct view part;
    int64_t xip;
    if (!parse(buf_view(&s->text), &parts))
        return false;
    if ((uint64_t)parts.xmax <= xmax)
        return true;
    struct buf cut CLEANUP(buf_deinit);
    buf_init(&cut, s->text.max);
    buf_printf(&cut, "%" PRIu64 ":%" PRIu64 ":",
               (uint64_t)parts.xmin < xmax ? (uint64_t)parts.xmin : xmax, xmax);
    const char *comma = "";
    while (parts.in_progress.n > 0 && view_split(&parts.in_progress, ',', &part) &&
           view_to_i64(part, 0, INT64_MAX, &xip) && (uint64_t)xip < xmax) {
        buf_puts(&cut, comma);
        buf_append_view(&cut, part);
        comma = ",";
    }
    snapshot_set(s, buf_view(&cut), xmax);
    s->text.failed |= cut.failed;
    return true;
}
