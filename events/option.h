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
    OPT_BOOL,        /* bool: true or false; a bare --name is true */
    OPT_DURATION,    /* int64_t milliseconds */
    OPT_SIZE,        /* int64_t bytes */
    OPT_ENUM,        /* const char *, one of choices ("a|b|c") */
    OPT_SECRET_FILE, /* const char *: content of the file; "" when unset */
};

struct option {
    const char *name; /* "pg-url" */
    enum option_kind kind;
    size_t offset;            /* of the target member in the config struct */
    const char *default_text; /* as a person would write it; NULL = "", 0 or false */
    int64_t min, max;         /* OPT_INT, OPT_DURATION, OPT_SIZE; both 0 = any */
    const char *choices;
    const char *placeholder; /* "URL" in --help */
    const char *help;        /* one sentence */
    bool not_in_environment; /* its variable would mean something else there */
};

/* What the command line asks for instead of a run. These flags (and --config FILE) belong to every
 * program and stand in no table; options_load passes over them. */
enum option_wish {
    OPTIONS_RUN,
    OPTIONS_HELP,      /* --help, -h */
    OPTIONS_VERSION,   /* --version */
    OPTIONS_PRINT,     /* --print-config */
    OPTIONS_REFERENCE, /* --print-reference */
};

/* A set of rows with the struct they fill. Several sets share one command line. */
struct option_set {
    const struct option *rows;
    size_t n;
    void *target;
};

/* The first wish among the flags; OPTIONS_RUN when there is none. Looks only as far as options_load
 * would, and never fails: what is wrong is left to options_load. */
enum option_wish options_wish(const struct option_set sets[], size_t n_sets, int argc, char **argv);
/* Fills every target; they are untouched on failure. Strings live as long as the process, secrets
 * outlive a change of their file. Code config (ERR_FATAL); the text names the option and where it
 * was set. argv[0] is skipped. Parsing stops behind "--" or at the first non-option; *ret_rest (may
 * be NULL) is the index of what follows. Configuration files have at most 1 MiB, secrets 64 KiB. */
MUST_CHECK int options_load(const struct option_set sets[], size_t n_sets, int argc, char **argv,
                            int *ret_rest, struct err *err);
/* What options_load found doubtful, such as a secret that others may read; NULL behind the last.
 * For the program to log once it can. */
const char *options_warning(unsigned index);
/* Columns of at most 80 characters. */
void options_print_help(const struct option_set sets[], size_t n_sets, FILE *out);
/* name = value lines that --config reads back; secrets as "(secret)" behind a #, passwords in URLs
 * as "***". */
void options_print(const struct option_set sets[], size_t n_sets, FILE *out);
/* Markdown table, for the generated reference. */
void options_print_reference(const struct option_set sets[], size_t n_sets, FILE *out);
