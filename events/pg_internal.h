/* Inside of pg.h: the connection, for pg.c (connections, transactions) and pg_statement.c. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/pg.h"

struct pg {
    char *url, *password, *application_name, *setup_sql;
    int64_t connect_timeout_ms, statement_timeout_ms;
    bool (*patient)(void *ctx, const char *op, int64_t waited_ms);
    void *patient_ctx;
    bool connects_when_asked;
    PGconn *conn;
    unsigned generation;
    bool in_transaction;
    bool stale; /* prepared statements no longer fit the schema: connect anew when possible */
    const char **prepared; /* names, static text */
    size_t n_prepared, prepared_capacity;
    struct buf scratch;   /* text parameters, NUL-terminated or with jsonb's version */
    const char *deferred; /* name of the statement whose answer was not taken yet; NULL = none */
    PGresult *deferred_result; /* the answer, for pg_deferred */
};

/* Before a statement: pg_ensure, unless only the caller may do so. */
MUST_CHECK int pg_ready(struct pg *pg, struct err *err);
/* Closes the connection; a transaction stays one that is open and lost. */
void pg_drop(struct pg *pg);
/* Completes a command that was sent (sent = libpq's answer), and before it the deferred statement:
 * an error of that one is the command's. *ret may be NULL. */
MUST_CHECK int pg_complete(struct pg *pg, const char *op, int sent, PGresult **ret,
                           struct err *err);
/* Takes the deferred statement's answer, if there is one to wait for. */
MUST_CHECK int pg_settle(struct pg *pg, struct err *err);
