/* SQLSTATEs to error classes: the one table, and errors made from libpq's results.
 *
 * The class follows from the SQLSTATE's first two characters unless the whole code has a row of its
 * own (PostgreSQL documentation, appendix A "PostgreSQL Error Codes"). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <libpq-fe.h>

#include "events/base/err.h"

/* NULL, empty or malformed = no SQLSTATE, that is a broken connection: ERR_UNAVAILABLE. */
enum err_class pg_sqlstate_class(const char *sqlstate);

/* Finds the SQLSTATE in a connection's verbose error message ("FATAL:  28P01: ..."), which is the
 * only place where libpq shows it for a refused connection. False when there is none. */
bool pg_sqlstate_in_message(const char *message, char ret[static 6]);

/* Fills *err with code pg-<SQLSTATE> (or pg-connection) and returns -1. The text of data errors
 * (classes 22 and 23) is composed of names of schema objects, never of PostgreSQL's message, which
 * quotes values. result may be NULL. */
int pg_err_result(struct err *err, const char *op, const PGconn *conn, const PGresult *result);
/* The same for a connection that could not be made or has broken. */
int pg_err_connection(struct err *err, const char *op, const PGconn *conn);

#ifdef __clang_analyzer__ /* as in err.h */
#define pg_err_result(...) ((void)pg_err_result(__VA_ARGS__), -1)
#define pg_err_connection(...) ((void)pg_err_connection(__VA_ARGS__), -1)
#endif
