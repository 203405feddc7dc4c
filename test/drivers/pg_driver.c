/* Drives events/pg.h from a test: one command a line on standard input, one answer a line.
 *
 * usage: pg_driver URL PASSWORD STATEMENT-TIMEOUT-MS [asked]
 * asked: only "ensure" connects.
 * ensure | begin | commit | rollback | ping | run SQL | int SQL (prepared, one int8 back) | defer
 * SQL (as int) | deferred | wide N, defer-wide N (a parameter of N bytes) | json TEXT | generation
 * | tx. Answers "ok [value]" or "class code text". */
// SPDX-License-Identifier: Apache-2.0

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/pg.h"

static const char *rest_of(const char *line, const char *command)
{
    size_t n = strlen(command);
    return strncmp(line, command, n) == 0 ? line + n : NULL;
}

static const struct pg_statement *statement_of(const char *sql)
{
    static struct pg_statement statements[64];
    static size_t n;
    size_t i = 0;
    while (i < n && strcmp(statements[i].sql, sql) != 0)
        i++;
    if (i == n) {
        char name[16];
        snprintf(name, sizeof(name), "s%zu", n);
        statements[n++] = (struct pg_statement){strdup(name), strdup(sql)};
    }
    return &statements[i];
}

static int64_t answered(const PGresult *r)
{
    return PQntuples(r) > 0 && PQnfields(r) > 0 ? pg_get_i64(r, 0, 0) : 0;
}

static int query(struct pg *pg, const char *sql, struct pg_param *param, int64_t *ret,
                 struct err *err)
{
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_query(pg, statement_of(sql), param, param != NULL, &r, err) < 0)
        return -1;
    *ret = answered(r);
    return 0;
}

static int deferred(struct pg *pg, int64_t *ret, struct err *err)
{
    PGresult *r CLEANUP(pg_clearp) = NULL;
    if (pg_deferred(pg, &r, err) < 0)
        return -1;
    *ret = answered(r);
    return 0;
}

/* defers: the statement is deferred instead. */
static int wide(struct pg *pg, size_t n, bool defers, int64_t *ret, struct err *err)
{
    static const char sql[] = "SELECT octet_length($1)::bigint";
    char *data = calloc(n, 1);
    struct pg_param param = pg_bytea((struct bytes){(const uint8_t *)data, n});
    int r =
        defers ? pg_defer(pg, statement_of(sql), &param, 1, err) : query(pg, sql, &param, ret, err);
    free(data);
    return r;
}

static int run(struct pg *pg, const char *line, int64_t *ret, struct err *err)
{
    const char *rest;
    if (strcmp(line, "begin") == 0)
        return pg_begin(pg, err);
    if (strcmp(line, "commit") == 0)
        return pg_commit(pg, err);
    if (strcmp(line, "rollback") == 0)
        return pg_rollback(pg), 0;
    if (strcmp(line, "ensure") == 0)
        return pg_ensure(pg, err);
    if (strcmp(line, "ping") == 0)
        return pg_ping(pg, err);
    if (strcmp(line, "generation") == 0)
        return *ret = pg_generation(pg), 0;
    if (strcmp(line, "tx") == 0)
        return *ret = pg_in_transaction(pg), 0;
    if ((rest = rest_of(line, "run ")) != NULL)
        return pg_run(pg, rest, err);
    if ((rest = rest_of(line, "int ")) != NULL)
        return query(pg, rest, NULL, ret, err);
    if ((rest = rest_of(line, "defer ")) != NULL)
        return pg_defer(pg, statement_of(rest), NULL, 0, err);
    if (strcmp(line, "deferred") == 0)
        return deferred(pg, ret, err);
    if ((rest = rest_of(line, "wide ")) != NULL)
        return wide(pg, strtoul(rest, NULL, 10), false, ret, err);
    if ((rest = rest_of(line, "defer-wide ")) != NULL)
        return wide(pg, strtoul(rest, NULL, 10), true, ret, err);
    if ((rest = rest_of(line, "json ")) != NULL) {
        struct pg_param p = pg_json(view_of(rest));
        return query(pg, "SELECT jsonb_array_length($1)", &p, ret, err);
    }
    return err_set(err, ERR_FATAL, "usage", "driver", "unknown command");
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    const struct pg_options options = {.url = argv[1],
                                       .password = argv[2],
                                       .application_name = "pg-driver",
                                       .statement_timeout_ms = (int)strtol(argv[3], NULL, 10),
                                       .connects_when_asked = argc > 4};
    struct pg *pg = pg_new(&options);
    static char line[65536];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        struct err err = ERR_INIT;
        int64_t value = 0;
        if (run(pg, line, &value, &err) == 0)
            printf("ok %" PRId64 "\n", value);
        else
            printf("%s %s %s\n", err_class_name(err.class), err.code, err.text);
        fflush(stdout);
    }
    pg_free(pg);
    return 0;
}
