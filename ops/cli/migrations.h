/* The migrations that this build carries (ops/migrations, by ops/tools/migrations2c.py). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stddef.h>

#include "events/base/err.h"

struct migration {
    const char *name; /* "0001_init": number, underscore, name */
    const char *sql;
};

extern const struct migration migrations[]; /* in order */
extern const size_t n_migrations;

struct cli;
struct pg;
struct migrate_state {
    size_t total, missing;
};
/* How far the database is; code migration when it does not fit these migrations. */
MUST_CHECK int migrate_look(struct cli *cli, struct pg *pg, struct migrate_state *ret,
                            struct err *err);
