/* Mechanism: libpq's asynchronous calls with poll(2), so that every wait has a deadline of its own
 * even when the server's host vanishes. A connection whose reply did not come in time is dropped,
 * because nobody can know what it would still answer.
 *
 * Invariants: in_transaction stays true from BEGIN until pg_commit, pg_rollback or pg_reset, also
 * when the connection breaks between them: no statement of a transaction ever runs on a new
 * connection, outside of it. The list of prepared statements belongs to the live connection. */
// SPDX-License-Identifier: Apache-2.0

#include "events/pg_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "events/base/clock.h"
#include "events/base/fault.h"
#include "events/pg_error.h"

enum {
    CONNECT_TIMEOUT_MS = 3000,
    STATEMENT_TIMEOUT_MS = 20000,
    /* The client waits this much longer than the server's statement_timeout, a quarter of it at
       most. */
    GRACE_MS = 2000,
    /* A process that was stopped inside a transaction frees its locks after this many timeouts. */
    IDLE_IN_TRANSACTION_TIMEOUTS = 3,
    PATIENCE_EVERY_MS = 1000,
};

static char *copy(const char *s)
{
    return strdup(s != NULL ? s : "");
}

static int64_t client_limit_ms(const struct pg *pg)
{
    const int64_t quarter = pg->statement_timeout_ms / 4;

    return pg->statement_timeout_ms + (quarter < GRACE_MS ? quarter : GRACE_MS);
}

struct pg *pg_new(const struct pg_options *options)
{
    struct pg *pg = calloc(1, sizeof(*pg));
    if (pg == NULL)
        return NULL;
    buf_init(&pg->scratch, 256u << 20);
    pg->url = copy(options->url);
    pg->password = copy(options->password);
    pg->application_name = copy(options->application_name);
    pg->setup_sql = copy(options->setup_sql);
    pg->connect_timeout_ms =
        options->connect_timeout_ms > 0 ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    pg->statement_timeout_ms =
        options->statement_timeout_ms > 0 ? options->statement_timeout_ms : STATEMENT_TIMEOUT_MS;
    pg->patient = options->patient;
    pg->patient_ctx = options->patient_ctx;
    pg->connects_when_asked = options->connects_when_asked;
    if (pg->url == NULL || pg->password == NULL || pg->application_name == NULL ||
        pg->setup_sql == NULL)
        return pg_free(pg);
    return pg;
}

struct pg *pg_free(struct pg *pg)
{
    if (pg == NULL)
        return NULL;
    pg_reset(pg);
    buf_deinit(&pg->scratch);
    free(pg->prepared);
    free(pg->url);
    if (pg->password != NULL)
        explicit_bzero(pg->password, strlen(pg->password));
    free(pg->password);
    free(pg->application_name);
    free(pg->setup_sql);
    free(pg);
    return NULL;
}

void pg_drop(struct pg *pg)
{
    if (pg->conn != NULL && !FAULT("connection-not-closed"))
        PQfinish(pg->conn);
    pg->conn = NULL;
    pg->n_prepared = 0;
    pg->stale = false;
    pg->deferred = NULL;
    pg_clearp(&pg->deferred_result);
}

void pg_reset(struct pg *pg)
{
    pg_drop(pg);
    pg->in_transaction = false;
}

bool pg_in_transaction(const struct pg *pg)
{
    return pg->in_transaction;
}

unsigned pg_generation(const struct pg *pg)
{
    return pg->generation;
}

PGconn *pg_conn(struct pg *pg)
{
    return pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_OK ? pg->conn : NULL;
}

/* Waits for the events on the connection's socket. False when the deadline passes. */
static bool wait_socket(PGconn *conn, short events, int64_t deadline)
{
    for (;;) {
        int64_t left = deadline - mono_ms();
        if (left < 0)
            return false;
        struct pollfd p = {.fd = PQsocket(conn), .events = events};
        int n = poll(&p, 1, (int)left);
        if (n > 0)
            return true;
        /* A bad descriptor reads as ready: libpq then says what is wrong with it. */
        if (n < 0 && errno != EINTR)
            return true;
    }
}

static void ignore_notice(void *context, const PGresult *result)
{
}

/* Refuses what would put a secret on the command line or cannot be parsed. */
static int check_url(const struct pg *pg, struct err *err)
{
    char *message = NULL;
    PQconninfoOption *options = PQconninfoParse(pg->url, &message);
    if (options == NULL) {
        /* The message may quote parts of the URL. */
        PQfreemem(message);
        return err_set_dep(err, ERR_FATAL, DEP_POSTGRES, "config", "pg-url",
                           "not a PostgreSQL connection URL");
    }
    bool secret = false;
    for (const PQconninfoOption *o = options; o->keyword != NULL; o++)
        if (o->val != NULL && (strcmp(o->keyword, "password") == 0))
            secret = true;
    PQconninfoFree(options);
    if (secret)
        return err_set_dep(err, ERR_FATAL, DEP_POSTGRES, "config", "pg-url",
                           "the URL holds a password: give it by a secret file");
    return 0;
}

static int run_now(struct pg *pg, const char *sql, struct err *err);

static int connect_now(struct pg *pg, struct err *err)
{
    if (check_url(pg, err) < 0)
        return -1;

    /* What stands before the URL is a default that it may change. GSS costs a round trip and pulls
     * Kerberos into memory. */
    const char *keywords[] = {"gssencmode",
                              "dbname",
                              "password",
                              "application_name",
                              "client_encoding",
                              "keepalives_idle",
                              "keepalives_interval",
                              "keepalives_count",
                              "tcp_user_timeout",
                              NULL};
    const char *values[] = {"disable",
                            pg->url,
                            pg->password[0] != '\0' ? pg->password : NULL,
                            pg->application_name,
                            "UTF8",
                            "5",
                            "2",
                            "3",
                            "10000",
                            NULL};
    int64_t deadline = mono_ms() + pg->connect_timeout_ms;
    pg->conn = PQconnectStartParams(keywords, values, 1);
    if (pg->conn == NULL)
        return err_set_dep(err, ERR_RETRY, DEP_POSTGRES, "no-memory", "connect", "out of memory");
    /* Verbose messages carry the SQLSTATE of a refusal. */
    PQsetErrorVerbosity(pg->conn, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(pg->conn, ignore_notice, NULL);

    PostgresPollingStatusType status = PGRES_POLLING_WRITING;
    while (PQstatus(pg->conn) != CONNECTION_BAD && status != PGRES_POLLING_OK &&
           status != PGRES_POLLING_FAILED) {
        if (!wait_socket(pg->conn, status == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline)) {
            pg_drop(pg);
            return err_set_dep(err, ERR_UNAVAILABLE, DEP_POSTGRES, "pg-timeout", "connect",
                               "no connection within %lld ms", (long long)pg->connect_timeout_ms);
        }
        status = PQconnectPoll(pg->conn);
    }
    if (PQstatus(pg->conn) != CONNECTION_OK || PQsetnonblocking(pg->conn, 1) != 0) {
        pg_err_connection(err, "connect", pg->conn);
        pg_drop(pg);
        return -1;
    }
    pg->generation++;

    char sql[160];
    snprintf(sql, sizeof(sql),
             "SET statement_timeout = %lld; SET idle_in_transaction_session_timeout = %lld",
             (long long)pg->statement_timeout_ms,
             (long long)(pg->statement_timeout_ms * IDLE_IN_TRANSACTION_TIMEOUTS));
    if (run_now(pg, sql, err) < 0 ||
        (pg->setup_sql[0] != '\0' && run_now(pg, pg->setup_sql, err) < 0)) {
        pg_drop(pg);
        return -1;
    }
    return 0;
}

/* Has the server closed an idle connection (restart, kill)? Costs one poll without a wait. What an
 * idle server sends is a notice, a changed setting, or its last error before it hangs up. */
static bool went_away(PGconn *conn)
{
    struct pollfd p = {.fd = PQsocket(conn), .events = POLLIN};
    if (poll(&p, 1, 0) == 0)
        return false;
    char type;
    if (!PQsslInUse(conn)) {
        ssize_t n = recv(PQsocket(conn), &type, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n == 0 || (n == 1 && type == 'E'))
            return true;
    }
    return PQconsumeInput(conn) == 0 || PQisBusy(conn) || PQstatus(conn) != CONNECTION_OK;
}

int pg_ensure(struct pg *pg, struct err *err)
{
    bool live = pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_OK;
    if (pg->in_transaction) {
        if (live)
            return 0;
        return err_set_dep(err, ERR_UNAVAILABLE, DEP_POSTGRES, "pg-connection", "transaction",
                           "the connection was lost inside a transaction");
    }
    if (live && !pg->stale && !went_away(pg->conn))
        return 0;
    pg_drop(pg);
    return connect_now(pg, err);
}

int pg_ready(struct pg *pg, struct err *err)
{
    if (!pg->connects_when_asked)
        return pg_ensure(pg, err);
    if (pg_conn(pg) != NULL)
        return 0;
    return err_set_dep(err, ERR_UNAVAILABLE, DEP_POSTGRES, "pg-connection", "statement",
                       "the connection was lost");
}

/* As wait_socket, for the reply to a statement since start; whoever waits is asked whether to go
 * on.
 */
static bool wait_reply(struct pg *pg, const char *op, short events, int64_t start)
{
    const int64_t deadline = start + client_limit_ms(pg);
    if (pg->patient == NULL)
        return wait_socket(pg->conn, events, deadline);
    for (;;) {
        int64_t slice = mono_ms() + PATIENCE_EVERY_MS;
        if (wait_socket(pg->conn, events, slice < deadline ? slice : deadline))
            return true;
        int64_t now = mono_ms();
        if (now > deadline || !pg->patient(pg->patient_ctx, op, now - start))
            return false;
    }
}

/* Takes the last result of what was sent, in pipeline mode up to its synchronisation. Earlier ones
 * are dropped, but for the first that failed. NULL: err is set and the connection is gone. */
static PGresult *finish(struct pg *pg, const char *op, struct err *err)
{
    CLEANUP(pg_clearp) PGresult *kept = NULL;
    const int64_t start = mono_ms();
    /* Between a statement's result and its synchronisation there is one NULL. */
    bool more = PQpipelineStatus(pg->conn) != PQ_PIPELINE_OFF;
    for (;;) {
        int flushing;
        while ((flushing = PQflush(pg->conn)) > 0 || PQisBusy(pg->conn)) {
            short events = flushing > 0 ? POLLIN | POLLOUT : POLLIN;
            if (!wait_reply(pg, op, events, start)) {
                pg_drop(pg);
                err_set_dep(err, ERR_UNAVAILABLE, DEP_POSTGRES, "pg-timeout", op,
                            "no reply within %lld ms", (long long)(mono_ms() - start));
                return NULL;
            }
            /* libpq reads 16 KiB at a time: what has come is taken before poll is asked again. A
             * failure shows in PQisBusy and in the next result. */
            for (int i = 0; i < 4 && PQconsumeInput(pg->conn) && PQisBusy(pg->conn); i++)
                ;
            if (PQstatus(pg->conn) != CONNECTION_OK && !PQisBusy(pg->conn))
                break;
        }
        PGresult *next = PQgetResult(pg->conn);
        if (next == NULL && more) {
            more = false;
            continue;
        }
        if (next == NULL)
            break;
        if (PQresultStatus(next) == PGRES_PIPELINE_SYNC) {
            PQclear(next);
            break;
        }
        if (kept != NULL && PQresultStatus(kept) == PGRES_FATAL_ERROR) {
            PQclear(next);
            continue;
        }
        PQclear(kept);
        kept = next;
        ExecStatusType status = PQresultStatus(kept);
        if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
            pg_drop(pg);
            err_set_dep(err, ERR_FATAL, DEP_POSTGRES, "internal", op, "COPY is not served here");
            return NULL;
        }
    }
    if (kept == NULL) {
        pg_err_connection(err, op, pg->conn);
        pg_drop(pg);
        return NULL;
    }
    return STEAL(kept);
}

/* The verdict on a result; a connection that broke is dropped. */
static int judge(struct pg *pg, const char *op, const PGresult *result, struct err *err)
{
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY)
        return 0;
    pg_err_result(err, op, pg->conn, result);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    /* 26000: the statement is not known any more; 0A000: its result type changed. */
    if (state != NULL && (strcmp(state, "26000") == 0 || strcmp(state, "0A000") == 0))
        pg->stale = true;
    if (PQstatus(pg->conn) != CONNECTION_OK)
        pg_drop(pg);
    return -1;
}

static int take_deferred(struct pg *pg, struct err *err)
{
    const char *op = pg->deferred;
    CLEANUP(pg_clearp) PGresult *result = finish(pg, op, err);
    pg->deferred = NULL;
    if (result == NULL || judge(pg, op, result, err) < 0)
        return -1;
    pg->deferred_result = STEAL(result);
    return 0;
}

/* Does nothing outside of one. */
static void leave_pipeline(struct pg *pg)
{
    if (pg->conn != NULL && !PQexitPipelineMode(pg->conn))
        pg_drop(pg); /* something that nobody has taken is still to come */
}

int pg_settle(struct pg *pg, struct err *err)
{
    if (pg->deferred == NULL)
        return 0;
    int r = take_deferred(pg, err);
    leave_pipeline(pg);
    return r;
}

int pg_complete(struct pg *pg, const char *op, int sent, PGresult **ret, struct err *err)
{
    if (!sent) {
        pg_err_connection(err, op, pg->conn);
        pg_drop(pg);
        return -1;
    }
    bool good = pg->deferred == NULL || take_deferred(pg, err) == 0;
    if (pg->conn == NULL)
        return -1;
    CLEANUP(pg_clearp) PGresult *result = finish(pg, op, good ? err : NULL);
    if (result == NULL)
        return -1;
    good = judge(pg, op, result, good ? err : NULL) == 0 && good;
    leave_pipeline(pg);
    if (pg->conn != NULL && PQtransactionStatus(pg->conn) != PQTRANS_IDLE)
        pg->in_transaction = true;
    if (!good)
        return -1;
    if (ret != NULL)
        *ret = STEAL(result);
    return 0;
}

/* On the connection that is there. One that is lost at once is not made anew in here: a server that
 * drops every fresh connection would have us do so for ever. */
static int run_now(struct pg *pg, const char *sql, struct err *err)
{
    if (pg_settle(pg, err) < 0)
        return -1;
    int sent = PQsendQuery(pg->conn, sql);
    if (pg_complete(pg, "sql", sent, NULL, err) < 0)
        return -1;
    pg->in_transaction = PQtransactionStatus(pg->conn) != PQTRANS_IDLE;
    if (!pg->in_transaction)
        pg_clearp(&pg->deferred_result);
    return 0;
}

int pg_run(struct pg *pg, const char *sql, struct err *err)
{
    return pg_ready(pg, err) < 0 ? -1 : run_now(pg, sql, err);
}

int pg_ping(struct pg *pg, struct err *err)
{
    return pg_run(pg, "SELECT 1", err);
}

int pg_begin(struct pg *pg, struct err *err)
{
    if (pg->in_transaction)
        return err_set_dep(err, ERR_FATAL, DEP_POSTGRES, "internal", "begin",
                           "a transaction is open already");
    return pg_run(pg, "BEGIN", err);
}

int pg_commit(struct pg *pg, struct err *err)
{
    if (pg_ensure(pg, err) < 0) {
        /* COMMIT was never sent: rolled back for certain. */
        pg_reset(pg);
        return -1;
    }
    if (!pg->in_transaction)
        return err_set_dep(err, ERR_FATAL, DEP_POSTGRES, "internal", "commit",
                           "no transaction is open");
    if (pg_settle(pg, err) < 0) {
        pg_rollback(pg);
        return -1;
    }
    CLEANUP(pg_clearp) PGresult *result = NULL;
    int sent = PQsendQuery(pg->conn, "COMMIT");
    if (pg_complete(pg, "commit", sent, &result, err) < 0) {
        if (pg->conn == NULL) {
            /* Sent, and nobody said what became of it. */
            if (err != NULL)
                err->class = ERR_UNCERTAIN;
            pg_reset(pg);
            if (FAULT("uncertain-commit-is-done"))
                return 0;
        } else {
            pg_rollback(pg);
        }
        return -1;
    }
    pg->in_transaction = false;
    pg_clearp(&pg->deferred_result);
    /* A failed transaction answers COMMIT with ROLLBACK, as a success. */
    if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
        return err_set_dep(err, ERR_RETRY, DEP_POSTGRES, "pg-25P02", "commit",
                           "the transaction had failed and was rolled back");
    return 0;
}

void pg_rollback(struct pg *pg)
{
    if (!pg->in_transaction)
        return;
    (void)!pg_settle(pg, NULL); /* its error would keep ROLLBACK from being sent */
    if (pg_conn(pg) == NULL || pg_run(pg, "ROLLBACK", NULL) < 0 || pg->in_transaction)
        pg_reset(pg);
}
