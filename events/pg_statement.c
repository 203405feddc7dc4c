/* Mechanism: a statement is prepared at its first use on a connection. A deferred one is sent in
 * libpq's pipeline mode with a synchronisation of its own, and so is the next one behind it: the
 * server runs them one after the other, as if each answer had been waited for. Then the pipeline is
 * left, for BEGIN and COMMIT are plain queries.
 *
 * Invariant: at most one statement is deferred, and nothing but a prepared statement is sent behind
 * it before its answer is taken. */
// SPDX-License-Identifier: Apache-2.0

#include <assert.h>
#include <stdlib.h>

#include "events/pg_error.h"
#include "events/pg_internal.h"
#include "events/pg_types.h"

enum { MAX_PARAMS = 64 };

static bool is_prepared(const struct pg *pg, const char *name)
{
    for (size_t i = 0; i < pg->n_prepared; i++)
        if (pg->prepared[i] == name)
            return true;
    /* The same .sql file included by two sources has two addresses. */
    for (size_t i = 0; i < pg->n_prepared; i++)
        if (strcmp(pg->prepared[i], name) == 0)
            return true;
    return false;
}

static int prepare(struct pg *pg, const struct pg_statement *statement,
                   const struct pg_param params[], int n_params, struct err *err)
{
    if (is_prepared(pg, statement->name))
        return 0;
    if (pg->n_prepared == pg->prepared_capacity) {
        size_t capacity = pg->prepared_capacity > 0 ? pg->prepared_capacity * 2 : 32;
        const char **grown = reallocarray(pg->prepared, capacity, sizeof(*grown));
        if (grown == NULL)
            return err_set(err, ERR_RETRY, "no-memory", statement->name, "out of memory");
        pg->prepared = grown;
        pg->prepared_capacity = capacity;
    }
    Oid types[MAX_PARAMS];
    for (int i = 0; i < n_params; i++)
        types[i] = params[i].type;
    int sent = PQsendPrepare(pg->conn, statement->name, statement->sql, n_params, types);
    if (pg_complete(pg, statement->name, sent, NULL, err) < 0)
        return -1;
    pg->prepared[pg->n_prepared++] = statement->name;
    return 0;
}

/* libpq wants text parameters NUL-terminated, and jsonb in binary begins with its version: both are
 * copied, one extra byte each. */
static bool needs_copy(const struct pg_param *p)
{
    return p->format == 0 && p->data != NULL;
}

static int bind_params(struct pg *pg, const struct pg_statement *statement,
                       const struct pg_param params[], int n_params, const char *values[],
                       int lengths[], int formats[], struct err *err)
{
    size_t total = 0;
    for (int i = 0; i < n_params; i++) {
        if (params[i].length == PG_NO_MEMORY)
            return err_set(err, ERR_RETRY, "no-memory", statement->name, "parameter %d", i + 1);
        if (params[i].length < 0)
            return err_set(err, ERR_REJECT, "too-large", statement->name,
                           "parameter %d passes its maximum", i + 1);
        if (needs_copy(&params[i]))
            total += (size_t)params[i].length + 1;
    }
    buf_reset(&pg->scratch);
    char *out = total > 0 ? buf_extend(&pg->scratch, total) : NULL;
    if (total > 0 && out == NULL)
        return buf_error(&pg->scratch, statement->name, "the list of text parameters", err);
    for (int i = 0; i < n_params; i++) {
        const struct pg_param *p = &params[i];
        size_t n = (size_t)p->length;
        values[i] = p->data != NULL ? p->data : n > 0 ? p->inlined : NULL;
        lengths[i] = p->length;
        formats[i] = p->format;
        if (!needs_copy(p))
            continue;
        values[i] = out;
        if (p->type == PG_OID_JSONB) {
            *out++ = PG_JSONB_VERSION; // NOLINT(clang-analyzer-core.NullDereference): total > 0
            formats[i] = 1;
            lengths[i] = p->length + 1;
        }
        memcpy(out, p->data, n); // NOLINT(clang-analyzer-core.NonNullParamChecker)
        out += n;
        if (p->type != PG_OID_JSONB)
            *out++ = '\0';
    }
    return 0;
}

/* Bound and sent, not waited for. */
static int send_bound(struct pg *pg, const struct pg_statement *statement,
                      const struct pg_param params[], int n_params, bool piped, struct err *err)
{
    assert(n_params >= 0 && n_params <= MAX_PARAMS);
    const char *values[MAX_PARAMS];
    int lengths[MAX_PARAMS], formats[MAX_PARAMS];
    if (bind_params(pg, statement, params, n_params, values, lengths, formats, err) < 0)
        return -1;
    if (pg_ready(pg, err) < 0)
        return -1;
    /* To prepare takes a wait for the answer. */
    if (!is_prepared(pg, statement->name) &&
        (pg_settle(pg, err) < 0 || prepare(pg, statement, params, n_params, err) < 0))
        return -1;
    piped = piped || pg->deferred != NULL;
    if ((piped && !PQenterPipelineMode(pg->conn)) ||
        !PQsendQueryPrepared(pg->conn, statement->name, n_params, values, lengths, formats, 1) ||
        (piped && !PQpipelineSync(pg->conn)) || PQflush(pg->conn) < 0) {
        pg_err_connection(err, statement->name, pg->conn);
        pg_drop(pg);
        return -1;
    }
    return 0;
}

int pg_send(struct pg *pg, const struct pg_statement *statement, const struct pg_param params[],
            int n_params, struct err *err)
{
    return send_bound(pg, statement, params, n_params, false, err);
}

int pg_receive(struct pg *pg, const struct pg_statement *statement, PGresult **ret, struct err *err)
{
    return pg_complete(pg, statement->name, pg->conn != NULL, ret, err);
}

int pg_query(struct pg *pg, const struct pg_statement *statement, const struct pg_param params[],
             int n_params, PGresult **ret, struct err *err)
{
    if (pg_send(pg, statement, params, n_params, err) < 0)
        return -1;
    return pg_receive(pg, statement, ret, err);
}

int pg_defer(struct pg *pg, const struct pg_statement *statement, const struct pg_param params[],
             int n_params, struct err *err)
{
    if (!pg->in_transaction)
        return err_set_dep(err, ERR_FATAL, DEP_POSTGRES, "internal", statement->name,
                           "deferred outside of a transaction");
    if (pg_settle(pg, err) < 0)
        return -1;
    pg_clearp(&pg->deferred_result);
    if (send_bound(pg, statement, params, n_params, true, err) < 0)
        return -1;
    pg->deferred = statement->name;
    return 0;
}

int pg_deferred(struct pg *pg, PGresult **ret, struct err *err)
{
    *ret = NULL;
    if (pg_settle(pg, err) < 0)
        return -1;
    if (pg->deferred_result == NULL)
        return err_set_dep(err, ERR_FATAL, DEP_POSTGRES, "internal", "deferred",
                           "no statement was deferred");
    *ret = STEAL(pg->deferred_result);
    return 0;
}
