// SPDX-License-Identifier: Apache-2.0

#include "outbox/batch.h"

#include <inttypes.h>
#include <stdio.h>

#include "events/base/fault.h"
#include "outbox_sql.h"

enum { SNAPSHOT_MAX = 1 << 20 };
/* PostgreSQL's number of the type xid8[] (pg_type.dat). */
enum { OID_XID8_ARRAY = 271 };

/* No transaction has an xid below 3. */
#define SNAPSHOT_OF_NOTHING "3:3:"

void batch_init(struct outbox_batch *b)
{
    *b = (struct outbox_batch){0};
    buf_init(&b->prev.text, SNAPSHOT_MAX);
    buf_init(&b->cur.text, SNAPSHOT_MAX);
    buf_init(&b->stragglers, SNAPSHOT_MAX);
}

void batch_deinit(struct outbox_batch *b)
{
    buf_deinit(&b->prev.text);
    buf_deinit(&b->cur.text);
    buf_deinit(&b->stragglers);
}

static int check_memory(const struct outbox_batch *b, struct err *err)
{
    if (buf_failed(&b->prev.text) || buf_failed(&b->cur.text) || buf_failed(&b->stragglers))
        return err_set(err, ERR_RETRY, "no-memory", "batch", "a snapshot does not fit");
    return 0;
}

static void set_stragglers(struct outbox_batch *b, struct view text)
{
    buf_reset(&b->stragglers);
    buf_append_view(&b->stragglers, text);
}

bool batch_has_stragglers(const struct outbox_batch *b)
{
    return b->stragglers.n > 2;
}

static struct pg_param snapshot_param(const struct snapshot *s)
{
    return pg_snapshot(buf_view(&s->text));
}

static struct pg_param stragglers_param(const struct outbox_batch *b)
{
    return (struct pg_param){.data = b->stragglers.n > 0 ? b->stragglers.p : "{}",
                             .length = b->stragglers.n > 0 ? (int)b->stragglers.n : 2,
                             .type = OID_XID8_ARRAY};
}

int batch_newest(struct pg *pg, const char *stream, struct outbox_batch *ret, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(stream))};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, &sql_newest_batch, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    ret->noted = true;
    if (PQntuples(r) == 0) {
        ret->number = ret->n_rows = ret->first_id = ret->last_id = 0;
        ret->start_sequence = 0;
        ret->closed = true;
        snapshot_set(&ret->prev, VIEW_LIT(SNAPSHOT_OF_NOTHING), 3);
        snapshot_set(&ret->cur, VIEW_LIT(SNAPSHOT_OF_NOTHING), 3);
        set_stragglers(ret, VIEW_LIT("{}"));
        return check_memory(ret, err);
    }
    ret->number = pg_get_i64(r, 0, 0);
    snapshot_set(&ret->prev, pg_get_text(r, 0, 1), (uint64_t)pg_get_i64(r, 0, 2));
    snapshot_set(&ret->cur, pg_get_text(r, 0, 3), (uint64_t)pg_get_i64(r, 0, 4));
    set_stragglers(ret, pg_get_text(r, 0, 5));
    ret->first_id = pg_get_i64(r, 0, 6);
    ret->last_id = pg_get_i64(r, 0, 7);
    ret->n_rows = pg_get_i64(r, 0, 8);
    ret->start_sequence = (uint64_t)pg_get_i64(r, 0, 9);
    ret->closed = pg_get_bool(r, 0, 10);
    return check_memory(ret, err);
}

enum opened_column {
    OPENED_CUR = PAGE_CREATED + 1,
    OPENED_CUR_XMAX,
    OPENED_STRAGGLERS,
    OPENED_FIRST,
    OPENED_LAST,
    OPENED_ROWS,
    OPENED_OTHERS,
    LOOKED_XID /* of the row, in answers of look.sql */
};

/* "xmin:xmax:" */
static bool has_no_transactions(const struct snapshot *s)
{
    return s->text.n > 0 && s->text.p[s->text.n - 1] == ':';
}

/* The everyday statement first, when it may serve; it says so itself when it does not. */
static int ask_open(struct pg *pg, const char *stream, uint64_t start_sequence, int max_rows,
                    const struct outbox_batch *b, PGresult **ret, bool *ret_noted, struct err *err)
{
    const struct pg_param look[] = {pg_text(view_of(stream)), pg_xid8(b->cur.xmax),
                                    pg_i64(PAGE_BYTES)};
    if (has_no_transactions(&b->cur) || FAULT("stragglers-ignored")) {
        if (pg_query(pg, &sql_look, look, ARRAY_LEN(look), ret, err) < 0)
            return -1;
        *ret_noted = false;
        if (!pg_is_null(*ret, 0, OPENED_ROWS))
            return 0;
        PQclear(*ret);
        *ret = NULL;
    }
    const struct pg_param params[] = {look[0],
                                      snapshot_param(&b->cur),
                                      look[1],
                                      pg_i64(b->number + 1),
                                      pg_i64((int64_t)start_sequence),
                                      pg_i32(max_rows),
                                      look[2]};
    *ret_noted = true;
    return pg_query(pg, &sql_open_batch, params, ARRAY_LEN(params), ret, err);
}

int batch_open(struct pg *pg, const char *stream, uint64_t start_sequence, int max_rows,
               struct outbox_batch *b, PGresult **ret_page, int64_t *ret_others, struct err *err)
{
    PGresult *r CLEANUP(pg_clearp) = NULL;
    bool noted;
    *ret_page = NULL;
    if (ask_open(pg, stream, start_sequence, max_rows, b, &r, &noted, err) < 0)
        return -1;
    b->n_rows = pg_get_i64(r, 0, OPENED_ROWS);
    *ret_others = pg_get_i64(r, 0, OPENED_OTHERS);
    if (b->n_rows > 0) {
        b->number++;
        struct snapshot former = b->prev;
        b->prev = b->cur;
        b->cur = former;
        set_stragglers(b, pg_get_text(r, 0, OPENED_STRAGGLERS));
        b->first_id = pg_get_i64(r, 0, OPENED_FIRST);
        b->last_id = pg_get_i64(r, 0, OPENED_LAST);
        b->start_sequence = start_sequence;
        b->closed = false;
        b->noted = noted;
    }
    snapshot_set(&b->cur, pg_get_text(r, 0, OPENED_CUR),
                 (uint64_t)pg_get_i64(r, 0, OPENED_CUR_XMAX));
    if (check_memory(b, err) < 0)
        return -1;
    if (!pg_is_null(r, 0, PAGE_ID))
        *ret_page = STEAL(r);
    return 0;
}

int batch_cut(struct outbox_batch *b, const PGresult *page, struct err *err)
{
    uint64_t newest = 0;
    for (int i = 0; i < PQntuples(page); i++) {
        const uint64_t xid = (uint64_t)pg_get_i64(page, i, LOOKED_XID);
        newest = xid > newest ? xid : newest;
    }
    if (!FAULT("cur-not-cut") && !snapshot_cut(&b->cur, newest + 1))
        return err_set(err, ERR_FATAL, "internal", "batch", "a snapshot is not one");
    return check_memory(b, err);
}

int batch_note_ask(struct pg *pg, const char *stream, const struct outbox_batch *b, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(stream)), pg_i64(b->number),
                                      snapshot_param(&b->prev), snapshot_param(&b->cur),
                                      pg_i64(b->first_id),      pg_i64(b->last_id),
                                      pg_i64(b->n_rows),        pg_i64((int64_t)b->start_sequence)};
    return pg_send(pg, &sql_note_batch, params, ARRAY_LEN(params), err);
}

int batch_note_take(struct pg *pg, struct outbox_batch *b, struct err *err)
{
    b->noted = pg_receive(pg, &sql_note_batch, NULL, err) == 0;
    return b->noted ? 0 : -1;
}

int batch_note(struct pg *pg, const char *stream, struct outbox_batch *b, struct err *err)
{
    return batch_note_ask(pg, stream, b, err) < 0 ? -1 : batch_note_take(pg, b, err);
}

int batch_drop(struct pg *pg, const char *stream, const struct outbox_batch *b, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(stream)), pg_i64(b->number),
                                      pg_i64((int64_t)b->start_sequence)};
    return pg_query(pg, &sql_drop_batch, params, ARRAY_LEN(params), NULL, err);
}

int batch_looked_note(struct pg *pg, const char *stream, const struct outbox_batch *b,
                      struct err *err)
{
    char ahead[48];
    struct pg_param seen = snapshot_param(&b->cur);
    if (FAULT("looked-ahead")) {
        snprintf(ahead, sizeof(ahead), "%" PRIu64 ":%" PRIu64 ":", b->cur.xmax, b->cur.xmax);
        seen = pg_snapshot(view_of(ahead));
    }
    const struct pg_param params[] = {pg_text(view_of(stream)), seen, pg_i64(b->number)};
    return pg_query(pg, &sql_note_looked, params, ARRAY_LEN(params), NULL, err);
}

int batch_looked(struct pg *pg, const char *stream, struct outbox_batch *b, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(stream))};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, &sql_looked, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    if (PQntuples(r) == 0 || FAULT("looked-forgotten"))
        return 0;
    if (pg_get_i64(r, 0, 2) != b->number && !FAULT("looked-behind-any-batch"))
        return 0;
    snapshot_set(&b->cur, pg_get_text(r, 0, 0), (uint64_t)pg_get_i64(r, 0, 1));
    return check_memory(b, err);
}

int batch_page_ask(struct pg *pg, const char *stream, const struct outbox_batch *b, int64_t after,
                   int max_rows, struct err *err)
{
    const struct pg_param params[] = {
        pg_text(view_of(stream)), pg_i64(after),        pg_i64(b->last_id),
        pg_xid8(b->prev.xmax),    pg_xid8(b->cur.xmax), snapshot_param(&b->cur),
        pg_i32(max_rows),         pg_i64(PAGE_BYTES),   stragglers_param(b)};
    if (batch_has_stragglers(b))
        return pg_send(pg, &sql_page_late, params, ARRAY_LEN(params), err);
    return pg_send(pg, &sql_page, params, ARRAY_LEN(params) - 1, err);
}

int batch_page_take(struct pg *pg, const struct outbox_batch *b, PGresult **ret, struct err *err)
{
    return pg_receive(pg, batch_has_stragglers(b) ? &sql_page_late : &sql_page, ret, err);
}

int batch_nth(struct pg *pg, const char *stream, const struct outbox_batch *b, int64_t n,
              bool *ret_found, int64_t *ret_id, struct uuid *ret_event, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(stream)),
                                      pg_i64(b->first_id),
                                      pg_i64(b->last_id),
                                      pg_xid8(b->prev.xmax),
                                      pg_xid8(b->cur.xmax),
                                      snapshot_param(&b->cur),
                                      pg_i64(n),
                                      stragglers_param(b)};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, &sql_nth_row, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    *ret_found = PQntuples(r) > 0;
    if (*ret_found) {
        *ret_id = pg_get_i64(r, 0, 0);
        *ret_event = pg_get_uuid(r, 0, 1);
    }
    return 0;
}

int batch_row_event(struct pg *pg, const char *stream, int64_t id, bool *ret_found,
                    struct uuid *ret_event, struct err *err)
{
    const struct pg_param params[] = {pg_i64(id), pg_text(view_of(stream))};
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, &sql_row_event, params, ARRAY_LEN(params), &r, err) < 0)
        return -1;
    *ret_found = PQntuples(r) > 0;
    if (*ret_found)
        *ret_event = pg_get_uuid(r, 0, 0);
    return 0;
}

int batch_close(struct pg *pg, const char *stream, int64_t number, struct err *err)
{
    const struct pg_param params[] = {pg_text(view_of(stream)), pg_i64(number)};
    return pg_query(pg, &sql_close_batch, params, ARRAY_LEN(params), NULL, err);
}
