/* Configuration: one table row per option; the same rows feed parsing, --help, --print-config, the
 * generated reference and its drift test.
 *
 * Order, later wins: default, file (`name = value` lines, # comments), environment (ECHORA_<NAME>,
 * upper case, dashes to underscores), command line (--name=value or --name value). Unknown names
 * are errors that propose the nearest one. An option of kind OPT_SECRET_FILE names a file; its
 * content (trailing newline cut) is the value and is never printed. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "events/base/err.h"
#include "events/base/view.h"

enum option_kind {
    OPT_STRING,      /* const char * */
    OPT_INT,         /* int64_t, within min..max */
    OPT_BOOL,        /* bool */
    OPT_DURATION,    /* int64_t milliseconds */
    OPT_SIZE,        /* int64_t bytes */
    OPT_ENUM,        /* const char *, one of choices ("a|b|c") */
    OPT_SECRET_FILE, /* const char *: content of the file; "" when unset */
};

struct option {
    const char *name; /* "pg-url" */
    enum option_kind kind;
    size_t offset; /* of the target member in the config struct */
    const char *default_text;
    int64_t min, max; /* OPT_INT, OPT_DURATION, OPT_SIZE; both 0 = any */
    const char *choices;
    const char *placeholder; /* "URL" in --help */
    const char *help;        /* one sentence */
};

/* A set of rows with the struct they fill. Several sets share one command line. */
struct option_set {
    const struct option *rows;
    size_t n;
    void *target;
};

/* Fills every target. Strings live as long as the process. Code config (ERR_FATAL).
 * argv[0] is skipped. Parsing stops at "--" or the first non-option; *ret_rest is its index. */
MUST_CHECK int options_load(const struct option_set sets[], size_t n_sets, int argc, char **argv,
                            int *ret_rest, struct err *err);
void options_print_help(const struct option_set sets[], size_t n_sets, FILE *out);
/* name = value, secrets as "(secret)". */
void options_print(const struct option_set sets[], size_t n_sets, FILE *out);
/* Markdown table, for the generated reference. */
void options_print_reference(const struct option_set sets[], size_t n_sets, FILE *out);
