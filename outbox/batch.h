/* Batches of one stream's rows in PostgreSQL: open, page through, look up. No NATS here.
 *
 * A batch is what snapshot cur sees and snapshot prev does not, ordered by id (PgQ's algorithm): no
 * committed row is skipped however late it commits, and rows of one entity keep their order,
 * because the second change of an entity can only begin when the first has committed. Its bounds
 * are stored when it is opened, or noted later when it is small (relay_lane.h). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/base/buf.h"
#include "events/pg.h"

/* A snapshot as PostgreSQL writes it, "xmin:xmax:xip,xip"; its length grows with the number of
 * open transactions. */
struct snapshot {
    struct buf text;
    uint64_t xmax;
};

void snapshot_set(struct snapshot *s, struct view text, uint64_t xmax);
/* "xmin:xmax:xip,xip" with numbers that rise. False, *ret untouched, when it is not that. */
MUST_CHECK bool snapshot_parse(struct view text, struct snapshot *ret);
/* Sees no xid from xmax on any more. False when it is no snapshot. */
MUST_CHECK bool snapshot_cut(struct snapshot *s, uint64_t xmax);

struct outbox_batch {
    int64_t number; /* 0 = none yet */
    struct snapshot prev, cur;
    struct buf stragglers; /* an xid8[] as text; "{}" = none */
    int64_t first_id, last_id, n_rows;
    uint64_t start_sequence;
    bool closed; /* shared streams only */
    bool noted;  /* its bounds are in the database */
};

void batch_init(struct outbox_batch *b);
void batch_deinit(struct outbox_batch *b);
bool batch_has_stragglers(const struct outbox_batch *b);

/* The newest stored batch of the stream; number 0 when there is none, then cur is the snapshot that
 * sees nothing. */
MUST_CHECK int batch_newest(struct pg *pg, const char *stream, struct outbox_batch *ret,
                            struct err *err);

/* Pages of rows, in the order of id. No row of a page begins beyond PAGE_BYTES. */
enum { PAGE_BYTES = 512 << 10 };
enum page_column { PAGE_ID, PAGE_EVENT, PAGE_SUBJECT, PAGE_HEADERS, PAGE_PAYLOAD, PAGE_CREATED };

/* Opens batch number b->number + 1: its prev is b->cur. With rows, b becomes it, and the first page
 * comes along in *ret_page, at most max_rows; NULL when it must be asked for. Few rows (they all
 * come along) are only looked at: b->noted is false, and batch_note stores the bounds; else they
 * are stored and committed. With no rows, b->n_rows is 0 and only b->cur moves on, in memory.
 * *ret_others counts new rows of other streams. Code pg-23505 means that another relay opened it
 * first. */
MUST_CHECK int batch_open(struct pg *pg, const char *stream, uint64_t start_sequence, int max_rows,
                          struct outbox_batch *b, PGresult **ret_page, int64_t *ret_others,
                          struct err *err);
/* Before the bounds of a batch that was only looked at leave the database: cur ends behind the
 * newest xid of its rows. Those are committed, so no server that has them gives a lower xid again;
 * what else the look saw may be lost in a crash or a failover, and its xids be given anew. The
 * batch's rows stay the same. */
MUST_CHECK int batch_cut(struct outbox_batch *b, const PGresult *page, struct err *err);
/* Stores the bounds of a batch that was only looked at. Code pg-23505: there are some already. */
MUST_CHECK int batch_note(struct pg *pg, const char *stream, struct outbox_batch *b,
                          struct err *err);
/* Its two halves, to publish while the database works. */
MUST_CHECK int batch_note_ask(struct pg *pg, const char *stream, const struct outbox_batch *b,
                              struct err *err);
MUST_CHECK int batch_note_take(struct pg *pg, struct outbox_batch *b, struct err *err);
/* Takes stored bounds out that begin where b begins: nothing was ever published by them. */
MUST_CHECK int batch_drop(struct pg *pg, const char *stream, const struct outbox_batch *b,
                          struct err *err);

/* After looks that found nothing: notes b->cur, so that whoever goes on behind this batch begins
 * there. The stream must hold all of the batch. */
MUST_CHECK int batch_looked_note(struct pg *pg, const char *stream, const struct outbox_batch *b,
                                 struct err *err);
/* Moves b->cur on to where somebody has looked behind this batch, if that is noted. */
MUST_CHECK int batch_looked(struct pg *pg, const char *stream, struct outbox_batch *b,
                            struct err *err);

/* Asks for the next rows behind id after; batch_page_take waits for them. */
MUST_CHECK int batch_page_ask(struct pg *pg, const char *stream, const struct outbox_batch *b,
                              int64_t after, int max_rows, struct err *err);
MUST_CHECK int batch_page_take(struct pg *pg, const struct outbox_batch *b, PGresult **ret,
                               struct err *err);

/* Row number n (from 0) of the batch. */
MUST_CHECK int batch_nth(struct pg *pg, const char *stream, const struct outbox_batch *b, int64_t n,
                         bool *ret_found, int64_t *ret_id, struct uuid *ret_event, struct err *err);
/* A row by its id. */
MUST_CHECK int batch_row_event(struct pg *pg, const char *stream, int64_t id, bool *ret_found,
                               struct uuid *ret_event, struct err *err);
/* Shared streams: everything of it is acknowledged. */
MUST_CHECK int batch_close(struct pg *pg, const char *stream, int64_t number, struct err *err);
