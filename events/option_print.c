/* What the option table shows of itself: help, values in force, the reference. */
// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "events/base/buf.h"
#include "events/option.h"
#include "events/option_text.h"

#define HELP_COLUMN 28
#define HELP_WIDTH 80
#define LINE_MAX_BYTES 1024

void option_environment_name(const char *name, char out[static OPTION_ENVIRONMENT_MAX])
{
    char *p = out + snprintf(out, OPTION_ENVIRONMENT_MAX, "ECHORA_%.*s", OPTION_NAME_MAX, name);
    *p = '\0';
    for (p = out; *p; p++) {
        if (*p >= 'a' && *p <= 'z') {
            *p = (char)(*p - 'a' + 'A');
        } else if (*p == '-') {
            *p = '_';
        }
    }
}

void option_format_number(enum option_kind kind, int64_t v, char out[static 32])
{
    static const struct {
        const char *unit;
        int64_t factor;
    } durations[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}},
      sizes[] = {{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}};
    if (kind == OPT_DURATION) {
        for (size_t i = 0; v && i < ARRAY_LEN(durations); i++) {
            if (v % durations[i].factor == 0) {
                snprintf(out, 32, "%lld%s", (long long)(v / durations[i].factor),
                         durations[i].unit);
                return;
            }
        }
    }
    if (kind == OPT_SIZE) {
        for (size_t i = 0; v && i < ARRAY_LEN(sizes); i++) {
            if (v % sizes[i].factor == 0) {
                snprintf(out, 32, "%lld%s", (long long)(v / sizes[i].factor), sizes[i].unit);
                return;
            }
        }
    }
    snprintf(out, 32, "%lld", (long long)v);
}

bool option_has_range(const struct option *row)
{
    return row->min != 0 || row->max != 0;
}

static const char *placeholder(const struct option *row)
{
    static const char *const by_kind[] = {
        [OPT_STRING] = "TEXT",      [OPT_INT] = "N",     [OPT_BOOL] = "",
        [OPT_DURATION] = "TIME",    [OPT_SIZE] = "SIZE", [OPT_ENUM] = NULL,
        [OPT_SECRET_FILE] = "FILE",
    };
    if (row->placeholder) {
        return row->placeholder;
    }
    return row->kind == OPT_ENUM ? row->choices : by_kind[row->kind];
}

static void put_range(struct buf *out, const struct option *row)
{
    char least[32], most[32];
    option_format_number(row->kind, row->min, least);
    option_format_number(row->kind, row->max, most);
    buf_printf(out, "%s to %s", least, most);
}

/* Prints text with words wrapped; the cursor stands in column at and new lines begin in column
 * indent. */
static void wrap(FILE *out, struct view text, size_t at, size_t indent)
{
    struct view word;
    size_t column = at;
    bool first = true;
    while (view_split(&text, ' ', &word)) {
        if (!word.n) {
            continue;
        }
        if (!first && column + 1 + word.n > HELP_WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", VIEW_ARG(word));
        column += word.n;
        first = false;
    }
    fputc('\n', out);
}

static void print_entry(FILE *out, const char *flag, struct view help)
{
    int n = fprintf(out, "  %s", flag);
    if (n < 0) {
        return;
    }
    if (n + 2 > HELP_COLUMN) {
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    } else {
        fprintf(out, "%*s", HELP_COLUMN - n, "");
    }
    wrap(out, help, HELP_COLUMN, HELP_COLUMN);
}

static void print_row(FILE *out, const struct option *row)
{
    char flag[256];
    const char *value = placeholder(row);
    snprintf(flag, sizeof flag, "--%s%s%s", row->name, value[0] ? "=" : "", value);
    struct buf help CLEANUP(buf_deinit) = {.max = LINE_MAX_BYTES};
    buf_puts(&help, row->help);
    if (row->kind == OPT_ENUM && value != row->choices) {
        struct view choices = view_of(row->choices), choice;
        for (const char *before = " One of "; view_split(&choices, '|', &choice); before = ", ") {
            buf_puts(&help, before);
            buf_append_view(&help, choice);
        }
        buf_putc(&help, '.');
    }
    if (option_has_range(row)) {
        buf_putc(&help, ' ');
        put_range(&help, row);
        buf_putc(&help, '.');
    }
    if (row->default_text && row->default_text[0] && row->kind != OPT_BOOL) {
        buf_printf(&help, " Default %s.", row->default_text);
    }
    print_entry(out, flag, buf_view(&help));
}

void options_print_help(const struct option_set sets[], size_t n_sets, FILE *out)
{
    for (size_t i = 0; i < n_sets; i++) {
        for (size_t k = 0; k < sets[i].n; k++) {
            print_row(out, &sets[i].rows[k]);
        }
    }
    print_entry(out, "--config=FILE", VIEW_LIT("Read name = value lines from this file."));
    print_entry(out, "--print-config", VIEW_LIT("Print the values in force and leave."));
    print_entry(out, "--print-reference", VIEW_LIT("Print all options as a Markdown table."));
    print_entry(out, "--version", VIEW_LIT("Print the version."));
    print_entry(out, "-h, --help", VIEW_LIT("Print this help."));
    wrap(out,
         VIEW_LIT("Each option may also be set in the environment as ECHORA_<NAME> (upper case, "
                  "underscores for dashes). The command line wins over the environment, that "
                  "over the file, that over the default."),
         0, 0);
}

/* A URL's password is not shown: scheme://user:***@host. */
static void print_string(FILE *out, const char *text)
{
    const char *authority = strstr(text, "://");
    const char *end = authority ? authority + 3 + strcspn(authority + 3, "/?#") : NULL;
    const char *at = end ? memrchr(authority + 3, '@', (size_t)(end - authority - 3)) : NULL;
    const char *colon = at ? memchr(authority + 3, ':', (size_t)(at - authority - 3)) : NULL;
    if (colon) {
        fprintf(out, "%.*s:***%s\n", (int)(colon - text), text, at);
    } else {
        fprintf(out, "%s\n", text);
    }
}

static void print_value(FILE *out, const struct option *row, const char *target)
{
    const char *text = NULL;
    int64_t number = 0;
    bool flag = false;
    char formatted[32];
    switch (row->kind) {
    case OPT_STRING:
    case OPT_ENUM:
    case OPT_SECRET_FILE:
        memcpy(&text, target, sizeof text);
        if (row->kind == OPT_SECRET_FILE) {
            fprintf(out, "# %s = %s\n", row->name, text && text[0] ? "(secret)" : "(unset)");
            return;
        }
        fprintf(out, "%s = ", row->name);
        print_string(out, text ? text : "");
        return;
    case OPT_BOOL:
        memcpy(&flag, target, sizeof flag);
        fprintf(out, "%s = %s\n", row->name, flag ? "true" : "false");
        return;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
        memcpy(&number, target, sizeof number);
        option_format_number(row->kind, number, formatted);
        fprintf(out, "%s = %s\n", row->name, formatted);
    }
}

void options_print(const struct option_set sets[], size_t n_sets, FILE *out)
{
    for (size_t i = 0; i < n_sets; i++) {
        for (size_t k = 0; k < sets[i].n; k++) {
            const struct option *row = &sets[i].rows[k];
            print_value(out, row, (const char *)sets[i].target + row->offset);
        }
    }
}

/* A table cell: bars are escaped. */
static void print_cell(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '|') {
            fputc('\\', out);
        }
        fputc(*text, out);
    }
}

static void print_reference_row(FILE *out, const struct option *row)
{
    char name[OPTION_ENVIRONMENT_MAX];
    option_environment_name(row->name, name);
    if (row->not_in_environment)
        fprintf(out, "| `--%s` | | ", row->name);
    else
        fprintf(out, "| `--%s` | `%s` | ", row->name, name);
    if (row->kind == OPT_ENUM) {
        print_cell(out, row->choices);
    } else {
        fputs(row->kind == OPT_BOOL ? "true, false" : placeholder(row), out);
    }
    if (option_has_range(row)) {
        struct buf range CLEANUP(buf_deinit) = {.max = LINE_MAX_BYTES};
        put_range(&range, row);
        fprintf(out, ", %s", buf_cstr(&range));
    }
    fputs(" | ", out);
    if (row->default_text && row->default_text[0]) {
        fputc('`', out);
        print_cell(out, row->default_text);
        fputc('`', out);
    }
    fputs(" | ", out);
    print_cell(out, row->help);
    fputs(" |\n", out);
}

void options_print_reference(const struct option_set sets[], size_t n_sets, FILE *out)
{
    fputs("| option | environment | value | default | meaning |\n|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < n_sets; i++) {
        for (size_t k = 0; k < sets[i].n; k++) {
            print_reference_row(out, &sets[i].rows[k]);
        }
    }
}
