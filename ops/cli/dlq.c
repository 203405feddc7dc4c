// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/dlq.h"

#include <inttypes.h>

#include "contracts/field.h"
#include "contracts/json.h"
#include "events/base/clock.h"
#include "ops/cli/output.h"
#include "ops/cli/text.h"

#define JSON_MAX (64u << 20)

/* The request's strings are not written to. */
static char *text(const char *s)
{
    return (char *)(uintptr_t)s;
}

Echora__Ops__V1__DlqFilter *dlq_filter_message(const struct dlq_filter *filter, struct arena *arena)
{
    Echora__Ops__V1__DlqFilter *m =
        (Echora__Ops__V1__DlqFilter *)message_new(&echora__ops__v1__dlq_filter__descriptor, arena);
    if (!m)
        return NULL;
    m->consumer = text(filter->consumer);
    m->class_ = text(strcmp(filter->class, "any") == 0 ? "" : filter->class);
    m->code = text(filter->code);
    m->fingerprint = text(filter->fingerprint);
    m->entity = text(filter->entity);
    m->state = text(filter->state);
    m->from_sequence = (uint64_t)filter->from;
    m->to_sequence = (uint64_t)filter->to;
    m->parked = filter->parked;
    if (filter->since_ms > 0) {
        m->failed_from = (Google__Protobuf__Timestamp *)message_new(
            &google__protobuf__timestamp__descriptor, arena);
        if (!m->failed_from)
            return NULL;
        m->failed_from->seconds = (wall_us() / 1000 - filter->since_ms) / 1000;
    }
    return m;
}

bool dlq_filter_is_empty(const struct dlq_filter *f)
{
    return !*f->consumer && !*f->code && !*f->fingerprint && !*f->entity &&
           strcmp(f->class, "any") == 0 && f->from == 0 && f->to == 0 && f->since_ms == 0;
}

int dlq_print_json(const struct cli *cli, const ProtobufCMessage *message, struct err *err)
{
    CLEANUP(buf_deinit) struct buf json;
    json_t *document = NULL;

    buf_init(&json, JSON_MAX);
    if (json_encode(message, &json, err) < 0 || json_parse(buf_view(&json), &document, err) < 0)
        return -1;
    print_json(document, cli->config.json);
    json_decref(document);
    return 0;
}

static const char *when(const Google__Protobuf__Timestamp *t, char out[static TIME_TEXT])
{
    out[0] = '\0';
    if (t)
        time_text(t->seconds * 1000000 + t->nanos / 1000, out);
    return out;
}

void dlq_print_letters(const struct cli *cli, Echora__Ops__V1__DlqLetter *const letters[], size_t n)
{
    char time[TIME_TEXT];

    printf("%s%10s  %-19s  %-26s  %-15s  %-20s  %s%s\n", paint(cli->color, PAINT_BOLD), "SEQUENCE",
           "FAILED", "CONSUMER", "CLASS", "CODE", "REASON", paint_end(cli->color));
    for (size_t i = 0; i < n; i++) {
        const Echora__Ops__V1__DlqLetter *l = letters[i];
        bool closed = *l->state && strcmp(l->state, "open") != 0;
        printf("%10" PRIu64 "  %-19s  %-26s  %-15s  %-20s  %s%s%s%s%s%s\n", l->sequence,
               when(l->failed_at, time), l->consumer, l->class_, l->code,
               paint(cli->color, PAINT_DIM), closed ? "[" : "", closed ? l->state : "",
               closed ? "] " : "", l->reason, paint_end(cli->color));
    }
}

void dlq_print_groups(const struct cli *cli, Echora__Ops__V1__DlqGroup *const groups[], size_t n)
{
    char time[TIME_TEXT];

    printf("%s%8s  %-16s  %-19s  %-26s  %-15s  %-20s  %s%s\n", paint(cli->color, PAINT_BOLD),
           "LETTERS", "FINGERPRINT", "LAST FAILED", "CONSUMER", "CLASS", "CODE", "REASON",
           paint_end(cli->color));
    for (size_t i = 0; i < n; i++) {
        const Echora__Ops__V1__DlqGroup *g = groups[i];
        printf("%8" PRId64 "  %-16s  %-19s  %-26s  %-15s  %-20s  %s%s%s\n", g->letters,
               g->fingerprint, when(g->last_failed, time), g->consumer, g->class_, g->code,
               paint(cli->color, PAINT_DIM), g->reason, paint_end(cli->color));
    }
}

void dlq_print_plan(const struct cli *cli, const Echora__Ops__V1__DlqPlan *p)
{
    const struct {
        const char *what;
        int64_t n;
        enum paint paint;
    } counts[] = {
        {"waiting", p->waiting, PAINT_NONE},     {"sent, no outcome yet", p->sent, PAINT_YELLOW},
        {"enqueued", p->enqueued, PAINT_YELLOW}, {"done", p->done, PAINT_GREEN},
        {"failed", p->failed, PAINT_RED},        {"discarded", p->discarded, PAINT_NONE},
        {"skipped", p->skipped, PAINT_NONE},     {"gone", p->gone, PAINT_NONE},
    };
    const char *between = ": ";

    printf("%s %s of %" PRId64 " letters, %s%s%s", p->id, p->action, p->total, p->state,
           *p->reason ? " because " : "", p->reason);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        if (counts[i].n == 0)
            continue;
        printf("%s%s%" PRId64 " %s%s", between, paint(cli->color, counts[i].paint), counts[i].n,
               counts[i].what, paint_end(cli->color));
        between = ", ";
    }
    printf("\n");
}
