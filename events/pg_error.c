/* Mechanism: rows of whole SQLSTATEs first, then rows of classes, then ERR_RETRY: what is unknown
 * is tried again a few times and then dead-lettered, which loses nothing. */
// SPDX-License-Identifier: Apache-2.0

#include "events/pg_error.h"

#include "events/base/fault.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* The header shadows these for the static analyser. */
#undef pg_err_result
#undef pg_err_connection

static const struct {
    const char *state; /* whole code, or its first two characters */
    enum err_class class;
} table[] = {
    /* Whole codes that differ from their class. */
    {"08007", ERR_UNCERTAIN},   /* transaction resolution unknown */
    {"40003", ERR_UNCERTAIN},   /* statement completion unknown */
    {"25006", ERR_UNAVAILABLE}, /* read-only transaction: connected to a standby, or a failover */
    {"55P03", ERR_RETRY},       /* lock not available */
    {"57014", ERR_RETRY},       /* cancelled, mostly by statement_timeout */
    {"57P04", ERR_FATAL},       /* the database was dropped */
    /* Classes. */
    {"08", ERR_UNAVAILABLE}, /* connection */
    {"22", ERR_REJECT},      /* data exception */
    {"23", ERR_REJECT},      /* integrity constraint */
    {"28", ERR_FATAL},       /* authorization */
    {"3D", ERR_FATAL},       /* database name */
    {"3F", ERR_FATAL},       /* schema name */
    {"40", ERR_RETRY},       /* rollback: serialization failure, deadlock */
    {"42", ERR_FATAL},       /* syntax, access rule: the schema is not the one we were made for */
    {"53", ERR_UNAVAILABLE}, /* resources: disk, memory, connections */
    {"57", ERR_UNAVAILABLE}, /* operator intervention: shutdown, crash, start-up */
    {"58", ERR_UNAVAILABLE}, /* system error outside PostgreSQL: I/O */
};

enum err_class pg_sqlstate_class(const char *sqlstate)
{
    if (sqlstate == NULL || strlen(sqlstate) != 5)
        return ERR_UNAVAILABLE;
    if (strncmp(sqlstate, "53", 2) == 0 && FAULT("pg-full-rejects"))
        return ERR_REJECT;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        if (strncmp(sqlstate, table[i].state, strlen(table[i].state)) == 0)
            return table[i].class;
    return ERR_RETRY;
}

static bool is_sqlstate(const char *p)
{
    for (int i = 0; i < 5; i++)
        if (!isdigit((unsigned char)p[i]) && !(p[i] >= 'A' && p[i] <= 'Z'))
            return false;
    return true;
}

bool pg_sqlstate_in_message(const char *message, char ret[static 6])
{
    /* The severity before it is translated, the two spaces and the colon behind it are not. */
    for (const char *p = message; p != NULL && (p = strstr(p, ":  ")) != NULL; p += 3)
        if (is_sqlstate(p + 3) && p[8] == ':') {
            memcpy(ret, p + 3, 5);
            ret[5] = '\0';
            return true;
        }
    return false;
}

/* PostgreSQL's messages end in newlines; errors are one line. */
static int first_line(const char *text)
{
    return (int)strcspn(text, "\n");
}

static const char *field(const PGresult *result, int code)
{
    const char *s = result != NULL ? PQresultErrorField(result, code) : NULL;
    return s != NULL ? s : "";
}

int pg_err_result(struct err *err, const char *op, const PGconn *conn, const PGresult *result)
{
    const char *state = field(result, PG_DIAG_SQLSTATE);
    if (state[0] == '\0')
        return pg_err_connection(err, op, conn);

    char code[16];
    snprintf(code, sizeof(code), "pg-%.5s", state);
    enum err_class class = pg_sqlstate_class(state);
    if (class == ERR_REJECT)
        return err_set_dep(err, class, DEP_POSTGRES, code, op,
                           "PostgreSQL refuses the data: SQLSTATE %s, table \"%s\", column \"%s\", "
                           "constraint \"%s\"",
                           state, field(result, PG_DIAG_TABLE_NAME),
                           field(result, PG_DIAG_COLUMN_NAME),
                           field(result, PG_DIAG_CONSTRAINT_NAME));
    const char *text = field(result, PG_DIAG_MESSAGE_PRIMARY);
    return err_set_dep(err, class, DEP_POSTGRES, code, op, "%.*s", first_line(text), text);
}

int pg_err_connection(struct err *err, const char *op, const PGconn *conn)
{
    const char *text = conn != NULL ? PQerrorMessage(conn) : "no connection";
    char state[6];
    if (pg_sqlstate_in_message(text, state)) {
        char code[16];
        snprintf(code, sizeof(code), "pg-%.5s", state);
        return err_set_dep(err, pg_sqlstate_class(state), DEP_POSTGRES, code, op, "%.*s",
                           first_line(text), text);
    }
    if (text[0] == '\0')
        text = "the connection broke";
    return err_set_dep(err, ERR_UNAVAILABLE, DEP_POSTGRES, "pg-connection", op, "%.*s",
                       first_line(text), text);
}
