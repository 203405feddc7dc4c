// SPDX-License-Identifier: Apache-2.0

#include "outbox/relayed.h"

#include "events/stream.h"
#include "outbox/resume.h"

enum { HEADERS_MAX = 128 << 10 };

int relayed_look(struct bus *bus, const char *stream, uint64_t sequence, struct relayed *ret,
                 struct err *err)
{
    *ret = (struct relayed){0};
    buf_init(&ret->headers, HEADERS_MAX);
    if (stream_headers(bus, stream, sequence, &ret->headers, &ret->kept, err) < 0)
        return -1;
    const struct view all = buf_view(&ret->headers);
    ret->has_position =
        position_parse(stream_header(all, "Echora-Position"), &ret->batch, &ret->id);
    ret->event_id = stream_header(all, "Echora-Event-Id");
    ret->bounds = stream_header(all, "Echora-Batch");
    return 0;
}

void relayed_deinit(struct relayed *r)
{
    buf_deinit(&r->headers);
}
