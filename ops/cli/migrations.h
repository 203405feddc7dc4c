/* The migrations that this build carries (ops/migrations, by ops/tools/migrations2c.py). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stddef.h>

struct migration {
    const char *name; /* "0001_init": number, underscore, name */
    const char *sql;
};

extern const struct migration migrations[]; /* in order */
extern const size_t n_migrations;
