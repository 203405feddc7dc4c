/* The peers' job (peers/go/writer, peers/python/writer.py, peers/bento/writer.yaml) as a worker of
 * our runtime: one inbox row and one upsert of the whole payload per message, acknowledged after
 * the commit.
 *
 * Configuration: batches of up to `fetch-size`; per batch one transaction of two statements over
 * arrays, an INSERT of all inbox rows that tells which were new, and an upsert of those. A message
 * whose id the inbox has, or that came before in its batch, changes nothing. One statement can't
 * touch a row twice, so of an entity the newest message of the batch is written, and its rev counts
 * them all. One lane: several would take batches out of turn, and the table has nothing to tell an
 * older payload by. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "events/worker.h"

enum { ARRAY_BYTES = 64 << 20 };

static const struct pg_statement note = {
    "bench_note", "INSERT INTO public.bench_inbox (event_id) SELECT unnest($1::text[]) "
                  "ON CONFLICT DO NOTHING RETURNING event_id"};
static const struct pg_statement save = {
    "bench_save",
    "INSERT INTO public.bench_item AS item (id, data, rev) "
    "SELECT id, data, times FROM unnest($1::text[], $2::bytea[], $3::bigint[]) "
    "AS came (id, data, times) ON CONFLICT (id) DO UPDATE "
    "SET data = excluded.data, rev = item.rev + excluded.rev"};

struct context {
    struct pg *pg;
    struct pg_array events, entities, payloads, times;
};

struct item {
    struct view entity;
    size_t i; /* in the batch */
};

static int open_context(struct lane *lane, void **ret, struct err *err)
{
    struct context *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return err_set(err, ERR_FATAL, "no-memory", "open", "out of memory");
    c->pg = lane_pg(lane);
    pg_array_init(&c->events, PG_TEXTS, ARRAY_BYTES);
    pg_array_init(&c->entities, PG_TEXTS, ARRAY_BYTES);
    pg_array_init(&c->payloads, PG_BYTEAS, ARRAY_BYTES);
    pg_array_init(&c->times, PG_I64S, ARRAY_BYTES);
    *ret = c;
    return 0;
}

static void close_context(void *context)
{
    struct context *c = context;

    pg_array_deinit(&c->events);
    pg_array_deinit(&c->entities);
    pg_array_deinit(&c->payloads);
    pg_array_deinit(&c->times);
    free(c);
}

/* By entity, then in the stream's order. */
static int compare(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    const size_t shorter = x->entity.n < y->entity.n ? x->entity.n : y->entity.n;
    const int order = memcmp(x->entity.p, y->entity.p, shorter);

    if (order != 0)
        return order;
    if (x->entity.n != y->entity.n)
        return x->entity.n < y->entity.n ? -1 : 1;
    return x->i < y->i ? -1 : 1;
}

/* Inbox rows of all; items of those that were new. */
static int note_events(struct context *c, const struct batch *batch, struct item items[],
                       size_t *ret_n, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *r = NULL;
    int row = 0;

    pg_array_reset(&c->events);
    for (size_t i = 0; i < batch->n; i++)
        pg_array_text(&c->events, view_of(event_header(&batch->events[i], "Nats-Msg-Id")));
    const struct pg_param param = pg_array_param(&c->events);
    if (pg_query(c->pg, &note, &param, 1, &r, err) < 0)
        return -1;
    *ret_n = 0;
    for (size_t i = 0; i < batch->n && row < PQntuples(r); i++) {
        const struct event *e = &batch->events[i];

        if (!view_eq(pg_get_text(r, row, 0), view_of(event_header(e, "Nats-Msg-Id"))))
            continue;
        row++;
        items[(*ret_n)++] = (struct item){view_of(event_header(e, "Bench-Entity")), i};
    }
    return 0;
}

static int save_items(struct context *c, const struct batch *batch, struct item items[], size_t n,
                      struct err *err)
{
    int64_t times = 0;

    qsort(items, n, sizeof(*items), compare);
    pg_array_reset(&c->entities);
    pg_array_reset(&c->payloads);
    pg_array_reset(&c->times);
    for (size_t i = 0; i < n; i++) {
        times++;
        if (i + 1 < n && view_eq(items[i].entity, items[i + 1].entity))
            continue;
        pg_array_text(&c->entities, items[i].entity);
        pg_array_bytea(&c->payloads, batch->events[items[i].i].payload);
        pg_array_i64(&c->times, times);
        times = 0;
    }
    const struct pg_param params[] = {pg_array_param(&c->entities), pg_array_param(&c->payloads),
                                      pg_array_param(&c->times)};
    return pg_query(c->pg, &save, params, 3, NULL, err);
}

static int write_batch(struct context *c, const struct batch *batch, struct err *err)
{
    struct item *items = arena_array(batch->arena, batch->n, sizeof(*items));
    size_t n;

    if (items == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "write batch", "the arena is full");
    if (pg_begin(c->pg, err) < 0 || note_events(c, batch, items, &n, err) < 0 ||
        save_items(c, batch, items, n, err) < 0 || pg_commit(c->pg, err) < 0) {
        pg_rollback(c->pg);
        return -1;
    }
    return 0;
}

static void handle(void *context, struct batch *batch)
{
    struct err err = ERR_INIT;

    if (write_batch(context, batch, &err) < 0)
        batch_fail_rest(batch, &err);
    else
        batch_set_rest(batch, (struct verdict){.kind = VERDICT_DONE});
}

/* Raw: the peers decode nothing, either. */
static const struct consumer_spec consumers[] = {
    {.durable = "bench",
     .filter = "bench.>",
     .stream = "BENCH",
     .raw = true,
     .max_ack_pending = 10000,
     .handle = handle},
};

int main(int argc, char **argv)
{
    static const struct worker_spec spec = {
        .name = "plain-writer",
        .summary = "does what the peers of the benchmark do",
        .consumers = consumers,
        .n_consumers = ARRAY_LEN(consumers),
        .needs = 1u << DEP_POSTGRES,
        .open = open_context,
        .close = close_context,
    };

    return worker_main(&spec, argc, argv);
}
