// SPDX-License-Identifier: Apache-2.0
#include "workers/dead_letters/index.h"

#include <stdio.h>

#include "events/log.h"
#include "workers/dead_letters/letter.h"
#include "workers/dead_letters/sql.h"

enum { COLUMNS = 19, COLUMN_MAX = 1 << 20 };

static const enum pg_array_kind kinds[COLUMNS] = {
    PG_TEXTS, PG_I64S,  PG_TEXTS, PG_TEXTS,      PG_TEXTS,     PG_I64S, PG_TEXTS,
    PG_TEXTS, PG_TEXTS, PG_TEXTS, PG_TEXTS,      PG_TEXTS,     PG_I32S, PG_I32S,
    PG_I32S,  PG_BOOLS, PG_TEXTS, PG_TIMESTAMPS, PG_TIMESTAMPS};

/* In the order of index_letters.sql. */
static void put_row(struct pg_array columns[COLUMNS], const struct letter *l)
{
    const char *const texts[COLUMNS] = {
        [0] = l->id,      [2] = l->stream,  [3] = l->consumer,  [4] = l->subject,
        [6] = l->class,   [7] = l->code,    [8] = l->reason,    [9] = l->fingerprint,
        [10] = l->entity, [11] = l->worker, [16] = l->replay_id};
    const int64_t numbers[COLUMNS] = {
        [1] = (int64_t)l->sequence, [5] = l->stream_sequence, [12] = l->hop,
        [13] = l->deliveries,       [14] = l->size,           [17] = l->first_seen_us,
        [18] = l->failed_at_us};
    for (int c = 0; c < COLUMNS; c++) {
        if (kinds[c] == PG_TEXTS)
            pg_array_text(&columns[c], view_of(texts[c]));
        else if (kinds[c] == PG_BOOLS)
            pg_array_bool(&columns[c], l->parked);
        else if (kinds[c] == PG_TIMESTAMPS)
            pg_array_timestamp(&columns[c], numbers[c]);
        else
            pg_array_i64(&columns[c], numbers[c]);
    }
}

static int read_batch(const struct batch *batch, struct pg_array columns[COLUMNS], size_t *ret_n,
                      struct err *err)
{
    *ret_n = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const struct event *e = &batch->events[i];
        struct stored_message m = {.subject = event_came_on(e),
                                   .sequence = e->stream_sequence,
                                   .stored_us = e->stored_us,
                                   .payload = e->payload};
        struct letter l;
        if (event_headers(e, batch->arena, &m.headers, &m.n_headers) < 0)
            return dlq_no_memory(err);
        if (letter_read(&m, batch->arena, &l, err) < 0)
            return -1;
        if (strcmp(l.consumer, INDEX_CONSUMER) == 0)
            continue;
        put_row(columns, &l);
        ++*ret_n;
    }
    return 0;
}

void index_letters(void *context, struct batch *batch)
{
    struct dead_letters *dl = context;
    struct pg_array columns[COLUMNS];
    struct pg_param params[COLUMNS];
    struct err err = ERR_INIT;
    size_t n;
    for (int c = 0; c < COLUMNS; c++)
        pg_array_init(&columns[c], kinds[c], COLUMN_MAX);
    int rc = read_batch(batch, columns, &n, &err);
    for (int c = 0; c < COLUMNS; c++)
        params[c] = pg_array_param(&columns[c]);
    if (rc == 0 && n > 0)
        rc = pg_query(dl->pg, &sql_index_letters, params, COLUMNS, NULL, &err);
    for (int c = 0; c < COLUMNS; c++)
        pg_array_deinit(&columns[c]);
    /* Its place is taken by a letter of a stream that was there before: index_follow_stream. */
    if (rc < 0 && strcmp(err.code, "pg-23505") == 0)
        err.class = ERR_RETRY;
    if (rc < 0 && err.class != ERR_REJECT) {
        batch_fail_rest(batch, &err);
        return;
    }
    if (rc < 0) {
        log_err(LOG_LEVEL_ERROR, "letters can't be indexed, they are in the stream alone", &err);
        batch_set_rest(batch, (struct verdict){.kind = VERDICT_SKIP});
        return;
    }
    batch_set_rest(batch, (struct verdict){.kind = VERDICT_DONE});
}

int index_follow_stream(struct dead_letters *dl, struct err *err)
{
    struct stream_state state;
    if (stream_state(dl->bus, "ANIME_DLQ", &state, err) < 0)
        return -1;
    struct pg_param param = pg_text(view_of(state.created));
    if (pg_query(dl->pg, &sql_index_of, &param, 1, NULL, err) < 0)
        return -1;
    param = pg_i64((int64_t)state.first_sequence);
    return pg_query(dl->pg, &sql_forget_gone, &param, 1, NULL, err);
}
