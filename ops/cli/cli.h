/* The `echora` command: a table of verbs, one file each.
 *
 * A verb is a row: its name ("get", "streams plan"), its options, its arguments and one function.
 * Parsing, --help, connections, error output and exit codes are done here once. A verb returns an
 * exit code, or -1 with *err, which cli_main prints and turns into one. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "events/base/arena.h"
#include "events/bus.h"
#include "events/http.h"
#include "events/option.h"
#include "events/pg.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_UNREACHABLE = 3,
};

struct cli_config {
    const char *nats_url, *nats_user, *nats_password;
    const char *pg_url, *pg_password;
    const char *qdrant_url, *qdrant_api_key;
    const char *color;
    bool json;
    int64_t timeout_ms;
};

struct cli {
    struct cli_config config;
    struct arena *arena; /* for replies; verbs that loop reset it */
    char **words;        /* the sorted command line; args point into it */
    void *options;       /* the verb's own, filled */
    int n_args;
    char **args;
    bool color; /* standard output may be coloured */
    /* Opened by cli_bus, cli_pg, cli_qdrant. */
    struct bus *bus;
    struct pg *pg;
    struct http *qdrant;
};

struct verb {
    const char *name;
    const char *args;       /* "SUBJECT [FILE...]" for the usage line; "" = none */
    const char *summary;    /* one line */
    const char *details;    /* paragraphs for --help; may be NULL */
    const char *example;    /* command lines for --help, one each */
    int min_args, max_args; /* -1 = any number */
    const struct option *options;
    size_t n_options;
    size_t options_size;
    int (*run)(struct cli *cli, struct err *err);
};

extern const struct verb *const cli_verbs[]; /* NULL-terminated, in the order of --help */
extern const struct option cli_options[];    /* global ones, filling struct cli_config */
extern const size_t n_cli_options;

int cli_main(int argc, char **argv);

/* Connected, or ERR_UNAVAILABLE within the timeout. Kept for the command's life. */
MUST_CHECK int cli_bus(struct cli *cli, struct bus **ret, struct err *err);
MUST_CHECK int cli_pg(struct cli *cli, struct pg **ret, struct err *err);
MUST_CHECK int cli_qdrant(struct cli *cli, struct http **ret, struct err *err);
/* Code usage (ERR_FATAL, exit 2). */
int cli_usage(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Reads a whole file, "-" = standard input, at most max bytes. The buffer is initialised here. */
MUST_CHECK int cli_read_file(const char *path, size_t max, struct buf *ret, struct err *err);
