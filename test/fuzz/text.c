/* Properties of the small parsers of text from outside: whatever is given, they end, stay inside
 * it, and what they take comes out again as they write it. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "events/base/buf.h"
#include "events/base/clock.h"
#include "events/base/uuid.h"
#include "events/trace.h"
#include "outbox/bounds.h"
#include "outbox/resume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void demand(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static void check_trace(struct view text)
{
    struct trace_context c, again;
    struct view rest = text, parent;
    view_split(&rest, '|', &parent);
    if (!trace_parse(parent, rest, &c)) {
        return;
    }
    char out[TRACEPARENT_MAX];
    trace_format(&c, out);
    demand(strlen(c.state) < TRACESTATE_MAX, "the state fits");
    demand(trace_parse(view_of(out), view_of(c.state), &again), "a written context is read");
    demand(memcmp(&c.trace_id, &again.trace_id, 16) == 0 && strcmp(c.state, again.state) == 0,
           "and is the same");
}

static void check_time(struct view text)
{
    int64_t seconds, seconds_again;
    int32_t nanos, nanos_again;
    if (rfc3339_parse(text, &seconds, &nanos)) {
        char out[RFC3339_MAX];
        rfc3339_format(seconds, nanos, out);
        demand(rfc3339_parse(view_of(out), &seconds_again, &nanos_again) &&
                   seconds == seconds_again && nanos == nanos_again,
               "a written time is read as the same");
    }
}

static void check_uuid(struct view text)
{
    struct uuid id, again;
    if (uuid_parse(text, &id)) {
        char out[UUID_TEXT];
        uuid_format(id, out);
        demand(uuid_parse(view_of(out), &again) && uuid_cmp(id, again) == 0,
               "a written uuid is read as the same");
    }
}

static void check_utf8(struct view text)
{
    char *out = malloc(text.n * 3 + 4);
    demand(out != NULL, "memory");
    struct view clean = utf8_clean(text, out, text.n * 3 + 4);
    demand(memchr(clean.p, 0, clean.n) || utf8_is_valid(bytes_of(clean)), "clean text is UTF-8");
    demand(!utf8_is_valid(bytes_of(text)) || view_eq(clean, text), "valid text stays as it is");
    struct view cut = utf8_clean(text, out, 4 + text.n / 2);
    demand(cut.n <= 4 + text.n / 2, "a cut text fits");
    demand(memchr(cut.p, 0, cut.n) || utf8_is_valid(bytes_of(cut)), "a cut text is UTF-8");
    free(out);
}

static void check_numbers(struct view text)
{
    int64_t v;
    if (view_to_i64(text, INT64_MIN, INT64_MAX, &v)) {
        struct buf b;
        int64_t again;
        buf_init(&b, 64);
        buf_put_i64(&b, v);
        demand(view_to_i64(buf_view(&b), v, v, &again), "a written number is read as the same");
        buf_deinit(&b);
    }
    demand(!view_to_duration_ms(text, &v) || v >= 0, "durations are not negative");
    demand(!view_to_size(text, &v) || v >= 0, "sizes are not negative");
}

static void check_position(struct view text)
{
    int64_t batch, id, batch_again, id_again;
    if (position_parse(text, &batch, &id)) {
        char out[POSITION_MAX];
        position_format(batch, id, out);
        demand(position_parse(view_of(out), &batch_again, &id_again) && batch == batch_again &&
                   id == id_again,
               "a written position is read as the same");
    }
}

static void check_bounds(struct view text)
{
    struct outbox_batch b, again;
    char out[BOUNDS_MAX], out_again[BOUNDS_MAX];
    batch_init(&b);
    batch_init(&again);
    if (bounds_parse(text, &b) && bounds_format(&b, out))
        demand(bounds_parse(view_of(out), &again) && bounds_format(&again, out_again) &&
                   strcmp(out, out_again) == 0,
               "written bounds are read as the same");
    batch_deinit(&b);
    batch_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct view text = {(const char *)data, n};
    check_trace(text);
    check_time(text);
    check_uuid(text);
    check_utf8(text);
    check_numbers(text);
    check_position(text);
    check_bounds(text);
    return 0;
}
