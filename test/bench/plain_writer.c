/* The peers' job (peers/go/writer, peers/python/writer.py, peers/bento/writer.yaml) as a worker of
 * our runtime: one inbox row and one upsert of the whole payload per message, acknowledged after
 * the commit.
 *
 * Configuration: batches of up to `fetch-size`; per batch one transaction of two statements over
 * arrays, an INSERT of all inbox rows that tells which were new, and an upsert of those. A message
 * whose id the inbox has, or that came before in its batch, changes nothing. One statement can't
 * touch a row twice, so of an entity the newest message of the batch is written, and its rev counts
 * them all. One lane unless ECHORA_LANES says otherwise: several take batches out of turn, and the
 * table has nothing to tell an older payload by. */
// SPDX-License-Identifier: Apache-2.0

#include <stdlib.h>

#include "events/worker.h"

enum { ARRAY_BYTES = 64 << 20 };

static const struct pg_statement note = {
    "bench_note", "INSERT INTO public.bench_inbox (event_id) SELECT unnest($1::text[]) "
                  "ON CONFLICT DO NOTHING RETURNING event_id"};
static const struct pg_statement save = {
    "bench_save", "INSERT INTO public.bench_item AS item (id, data, rev) "
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

static void add_item(struct context *c, const struct batch *batch, const struct item *item,
                     int64_t times)
{
    pg_array_text(&c->entities, item->entity);
    pg_array_bytea(&c->payloads, batch->events[item->i].payload);
    pg_array_i64(&c->times, times);
}

/* Parameters of `save`: of each entity its newest payload. */
static void add_items(struct context *c, const struct batch *batch, const struct item items[],
                      size_t n)
{
    size_t first = 0;

    pg_array_reset(&c->entities);
    pg_array_reset(&c->payloads);
    pg_array_reset(&c->times);
    for (size_t i = 0; i < n; i++) {
        if (i + 1 < n && view_eq(items[i].entity, items[i + 1].entity))
            continue;
        add_item(c, batch, &items[i], (int64_t)(i + 1 - first));
        first = i + 1;
    }
}

/* Leaves out items whose ids the inbox had; `noted` holds those it had not, in the batch's order.
 * Returns how many stay. */
static size_t leave_out_known(const struct batch *batch, const PGresult *noted, struct item items[],
                              size_t n, bool fresh[])
{
    size_t kept = 0;
    int row = 0;

    for (size_t i = 0; i < batch->n; i++) {
        const struct view id = view_of(event_header(&batch->events[i], "Nats-Msg-Id"));

        fresh[i] = row < PQntuples(noted) && view_eq(pg_get_text(noted, row, 0), id);
        row += fresh[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (fresh[items[i].i])
            items[kept++] = items[i];
    }
    return kept;
}

static int note_and_save(struct context *c, const struct batch *batch, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *noted = NULL;
    struct item *items = arena_array(batch->arena, batch->n, sizeof(*items));
    bool *fresh = arena_array(batch->arena, batch->n, sizeof(*fresh));

    if (items == NULL || fresh == NULL)
        return err_set(err, ERR_RETRY, "no-memory", "write batch", "the arena is full");
    pg_array_reset(&c->events);
    for (size_t i = 0; i < batch->n; i++) {
        const struct event *e = &batch->events[i];

        pg_array_text(&c->events, view_of(event_header(e, "Nats-Msg-Id")));
        items[i] = (struct item){view_of(event_header(e, "Bench-Entity")), i};
    }
    const struct pg_param ids = pg_array_param(&c->events);
    if (pg_send(c->pg, &note, &ids, 1, err) < 0)
        return -1;
    /* While the server is at it: most often all are new. */
    qsort(items, batch->n, sizeof(*items), compare);
    add_items(c, batch, items, batch->n);
    if (pg_receive(c->pg, &note, &noted, err) < 0)
        return -1;
    if ((size_t)PQntuples(noted) < batch->n)
        add_items(c, batch, items, leave_out_known(batch, noted, items, batch->n, fresh));
    const struct pg_param params[] = {pg_array_param(&c->entities), pg_array_param(&c->payloads),
                                      pg_array_param(&c->times)};
    return pg_query(c->pg, &save, params, 3, NULL, err);
}

static int write_batch(struct context *c, const struct batch *batch, struct err *err)
{
    if (pg_begin(c->pg, err) == 0 && note_and_save(c, batch, err) == 0 &&
        pg_commit(c->pg, err) == 0)
        return 0;
    pg_rollback(c->pg);
    return -1;
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
