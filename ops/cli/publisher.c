// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/publisher.h"

#include <stdlib.h>

#include "events/base/clock.h"
#include "ops/cli/event_input.h"
#include "ops/cli/output.h"
#include "ops/cli/stamp.h"

#define WINDOW 512
#define WINDOW_BYTES (16u << 20)
#define ARENA_MAX (256u << 20)
#define TRIES 6
#define FIRST_PAUSE_MS 200

struct item {
    const struct subject_def *def;
    const char *event_id, *entity_id, *trace_id;
    uint64_t tag;
};

struct publisher {
    struct cli *cli;
    struct bus *bus;
    published_fn *report;
    void *ctx;
    struct arena *arena;
    struct publisher_counts counts;
    size_t n, bytes;
    struct item items[WINDOW];
    struct bus_message messages[WINDOW];
    struct bus_ack acks[WINDOW];
    struct err errs[WINDOW];
};

int publisher_new(struct publisher **ret, struct cli *cli, published_fn *report, void *ctx,
                  struct err *err)
{
    struct publisher *p = calloc(1, sizeof(*p));

    if (!p || !(p->arena = arena_new(ARENA_MAX))) {
        free(p);
        return err_set(err, ERR_RETRY, "no-memory", "publish", "out of memory");
    }
    p->cli = cli;
    p->report = report;
    p->ctx = ctx;
    if (cli_bus(cli, &p->bus, err) < 0) {
        (void)publisher_free(p);
        return -1;
    }
    *ret = p;
    return 0;
}

struct publisher *publisher_free(struct publisher *p)
{
    if (p) {
        (void)arena_free(p->arena);
        free(p);
    }
    return NULL;
}

struct publisher_counts publisher_counts(const struct publisher *p)
{
    return p->counts;
}

int publisher_add(struct publisher *p, const struct subject_def *def,
                  const ProtobufCMessage *message, uint64_t tag, struct err *err)
{
    struct trace_context trace;
    struct envelope envelope;
    struct bytes payload;
    struct item *item = &p->items[p->n];

    trace_start_root(&trace);
    if (event_encode(message, p->arena, &payload, err) < 0 ||
        stamp_event(def, message, payload, &trace, p->arena, &p->messages[p->n], err) < 0)
        return -1;
    envelope_read(def, message, &envelope);
    char *trace_id = arena_alloc(p->arena, 33);
    *item = (struct item){.def = def,
                          .event_id = arena_strdup(p->arena, envelope.event_id),
                          .entity_id = arena_strdup(p->arena, envelope.entity_id),
                          .trace_id = trace_id,
                          .tag = tag};
    if (!item->event_id || !item->entity_id || !trace_id)
        return err_set(err, ERR_REJECT, "too-large", "publish", "out of memory");
    for (size_t i = 0; i < 16; i++)
        (void)snprintf(trace_id + 2 * i, 3, "%02x", trace.trace_id[i]);
    p->n++;
    p->bytes += payload.n;
    if (p->n == WINDOW || p->bytes >= WINDOW_BYTES)
        return publisher_flush(p, err);
    return 0;
}

static bool may_work_later(const struct err *e)
{
    return e->class == ERR_UNAVAILABLE || e->class == ERR_UNCERTAIN || e->class == ERR_RETRY;
}

static void settle(struct publisher *p, size_t i)
{
    const struct bus_ack *ack = &p->acks[i];
    const struct err *e = &p->errs[i];
    struct published event = {.def = p->items[i].def,
                              .event_id = p->items[i].event_id,
                              .entity_id = p->items[i].entity_id,
                              .trace_id = p->items[i].trace_id,
                              .tag = p->items[i].tag,
                              .ack = ack,
                              .err = e};

    if (e->class != ERR_NONE) {
        p->counts.refused++;
    } else {
        p->counts.duplicates += ack->duplicate;
        p->counts.stored += !ack->duplicate;
        if (ack->sequence > p->counts.last_sequence)
            p->counts.last_sequence = ack->sequence;
    }
    p->report(p->ctx, &event);
}

int publisher_flush(struct publisher *p, struct err *err)
{
    int64_t pause = FIRST_PAUSE_MS;

    for (unsigned try = 1; p->n > 0; try++) {
        size_t left = 0;
        struct err last = ERR_INIT;
        memset(p->errs, 0, p->n * sizeof(p->errs[0]));
        int r = bus_publish_many(p->bus, p->messages, p->n, p->acks, p->errs, &last);
        for (size_t i = 0; i < p->n; i++) {
            if (r < 0 || may_work_later(&p->errs[i])) {
                if (r == 0)
                    last = p->errs[i];
                p->items[left] = p->items[i];
                p->messages[left++] = p->messages[i];
            } else {
                settle(p, i);
            }
        }
        p->n = left;
        if (left > 0 && (try == TRIES || !wait_ms(pause))) {
            *err = last;
            return -1;
        }
        pause *= 2;
    }
    p->bytes = 0;
    arena_reset(p->arena);
    return 0;
}
