/* PostgreSQL by libpq: one connection of one lane, prepared statements, classified errors.
 *
 * Statements stand in .sql files (ops/tools/sql2c.py makes the table), are prepared at first use on
 * a connection and kept. Results come in binary unless asked otherwise. SQLSTATEs are classified by
 * one table (pg_error.h): no SQLSTATE or class 08, 57P0x = ERR_UNAVAILABLE, 40001/40P01 =
 * ERR_RETRY, 53xxx = ERR_UNAVAILABLE, 22/23 = ERR_REJECT, 28/3D/42 = ERR_FATAL, else ERR_RETRY. A
 * connection that breaks during COMMIT makes ERR_UNCERTAIN. Every wait has a limit. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <libpq-fe.h>

#include "events/base/arena.h"
#include "events/base/buf.h"
#include "events/base/err.h"
#include "events/base/uuid.h"

struct pg;

struct pg_options {
    const char *url;              /* postgresql://role@host:port/database, no password in it */
    const char *password;         /* from a secret file; "" = none */
    const char *application_name; /* "echora-<worker>" */
    int64_t connect_timeout_ms;   /* default 3,000 */
    int64_t statement_timeout_ms; /* client and server side; default 20,000 */
    const char *setup_sql;        /* run on every new connection (SET ...); NULL = nothing */
    /* Asked each second that a statement (op) is waited for, in the thread that waits; false drops
     * the connection, with code pg-timeout. NULL = patient until the statement's timeout. */
    bool (*patient)(void *ctx, const char *op, int64_t waited_ms);
    void *patient_ctx;
    /* Only pg_ensure connects: what was learnt on one connection is never used on the next one
     * without the caller's knowing, which may lead to another server. */
    bool connects_when_asked;
};

struct pg_statement {
    const char *name; /* prepared-statement name, unique in the process */
    const char *sql;
};

/* A parameter in binary form. Make them with the pg_* functions below; data is not copied. */
struct pg_param {
    const void *data; /* NULL = SQL NULL */
    int length;
    Oid type;         /* 0 = let the server decide (then data is text) */
    int format;       /* 1 binary, 0 text */
    char inlined[16]; /* home of small values; data may point here only inside pg_query */
};
struct pg_param pg_null(void);
struct pg_param pg_i64(int64_t v);
struct pg_param pg_i32(int32_t v);
struct pg_param pg_bool(bool v);
struct pg_param pg_text(struct view v);
struct pg_param pg_bytea(struct bytes v);
struct pg_param pg_uuid(struct uuid v);
struct pg_param pg_timestamptz(int64_t wall_us);
struct pg_param pg_json(struct view v); /* jsonb, sent as text */
struct pg_param pg_xid8(uint64_t v);
struct pg_param pg_snapshot(struct view v); /* pg_snapshot, sent as text */

/* Does not connect. Options are copied. NULL when out of memory. */
struct pg *pg_new(const struct pg_options *options);
struct pg *pg_free(struct pg *pg); /* takes NULL, returns NULL */
/* Connects when there is no live connection; a new connection knows no prepared statements. */
MUST_CHECK int pg_ensure(struct pg *pg, struct err *err);
/* A round trip, for probes. Connects when needed. */
MUST_CHECK int pg_ping(struct pg *pg, struct err *err);
/* Drops the connection (after an error whose transaction state is unknown). */
void pg_reset(struct pg *pg);
bool pg_in_transaction(const struct pg *pg);
/* Counts connections made; rises when session state (locks, temp tables) was lost. */
unsigned pg_generation(const struct pg *pg);
/* For poll(2) on notifications and for pipeline mode; NULL when not connected. */
PGconn *pg_conn(struct pg *pg);

/* Runs one prepared statement. *ret (may be NULL when no rows matter) must be PQclear'ed: use
 * CLEANUP(pg_clearp). Connects when needed, but not inside a transaction. */
MUST_CHECK int pg_query(struct pg *pg, const struct pg_statement *statement,
                        const struct pg_param params[], int n_params, PGresult **ret,
                        struct err *err);
/* The two halves of pg_query, to work while the server does: nothing else may be called on this pg
 * between them. What pg_send copies of its parameters is the socket's: they may change after it. */
MUST_CHECK int pg_send(struct pg *pg, const struct pg_statement *statement,
                       const struct pg_param params[], int n_params, struct err *err);
MUST_CHECK int pg_receive(struct pg *pg, const struct pg_statement *statement, PGresult **ret,
                          struct err *err);
/* Inside a transaction: sends a statement whose answer the caller can do without for now. The next
 * statement goes out behind it, without a wait in between, and takes both answers; if this one
 * failed, that is the next one's error. One at a time: a second one waits for the first. */
MUST_CHECK int pg_defer(struct pg *pg, const struct pg_statement *statement,
                        const struct pg_param params[], int n_params, struct err *err);
/* What it answered, once; waits when no other statement has. Gone with the end of the transaction.
 * To be PQclear'ed. */
MUST_CHECK int pg_deferred(struct pg *pg, PGresult **ret, struct err *err);
/* Unprepared SQL without parameters, possibly several statements (migrations, BEGIN). */
MUST_CHECK int pg_run(struct pg *pg, const char *sql, struct err *err);
MUST_CHECK int pg_begin(struct pg *pg, struct err *err);
/* A lost reply is ERR_UNCERTAIN. */
MUST_CHECK int pg_commit(struct pg *pg, struct err *err);
/* Always leaves no open transaction (drops the connection when ROLLBACK fails). */
void pg_rollback(struct pg *pg);

static inline void pg_clearp(PGresult **r)
{
    PQclear(*r);
    *r = NULL; /* it may be called by hand before the end of the scope */
}

/* Binary result readers; the column's type is asserted. NULLs: false / 0 / empty view. */
bool pg_is_null(const PGresult *r, int row, int column);
int64_t pg_get_i64(const PGresult *r, int row, int column); /* int2, int4, int8, xid8 */
bool pg_get_bool(const PGresult *r, int row, int column);
struct view pg_get_text(const PGresult *r, int row,
                        int column); /* text, json; jsonb without its version byte */
struct bytes pg_get_bytea(const PGresult *r, int row, int column);
struct uuid pg_get_uuid(const PGresult *r, int row, int column);
int64_t pg_get_timestamp_us(const PGresult *r, int row, int column); /* wall_us */
double pg_get_double(const PGresult *r, int row, int column);        /* float4, float8 */

/* One-dimensional arrays in binary, for unnest(). Elements are appended in order. */
struct pg_array {
    struct buf buf;
    Oid element, array;
    int32_t n;
    bool has_null;
};
enum pg_array_kind {
    PG_UUIDS,
    PG_TEXTS,
    PG_I64S,
    PG_I32S,
    PG_BOOLS,
    PG_BYTEAS,
    PG_TIMESTAMPS,
    PG_JSONS,
    PG_FLOAT4S
};
void pg_array_init(struct pg_array *a, enum pg_array_kind kind, size_t max_bytes);
void pg_array_deinit(struct pg_array *a);
void pg_array_reset(struct pg_array *a);
void pg_array_null(struct pg_array *a);
void pg_array_uuid(struct pg_array *a, struct uuid v);
void pg_array_text(struct pg_array *a, struct view v); /* PG_TEXTS, PG_JSONS */
void pg_array_i64(struct pg_array *a, int64_t v);      /* PG_I64S, PG_I32S */
void pg_array_bool(struct pg_array *a, bool v);
void pg_array_bytea(struct pg_array *a, struct bytes v);
void pg_array_timestamp(struct pg_array *a, int64_t wall_us);
void pg_array_float(struct pg_array *a, float v);
/* The parameter; valid until the array changes. Fails (NULL data, negative length) when the buffer
 * did: pg_query then returns too-large (ERR_REJECT) or no-memory (ERR_RETRY). */
struct pg_param pg_array_param(struct pg_array *a);
