/* Every source only leaves a text and its origin with the row; the texts are turned into values at
 * the end, once, so that an overridden mistake does no harm and a message can say where the value
 * came from. The targets are filled when all rows are good. */
// SPDX-License-Identifier: Apache-2.0
#include "events/option.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "events/base/buf.h"
#include "events/option_text.h"

#define FILE_MAX ((size_t)1 << 20)
#define SECRET_MAX ((size_t)64 << 10)
#define WARNINGS_MAX 8

enum origin { FROM_DEFAULT, FROM_FILE, FROM_ENVIRONMENT, FROM_FLAG };

/* One row while it is being filled. */
struct slot {
    const struct option *row;
    char *target; /* of the member */
    enum origin origin;
    const char *text;
    bool seen_in_file;
    union {
        int64_t number;
        bool flag;
        const char *string;
    } value;
};

struct loader {
    struct slot *slots;
    size_t n;
    const char *config_path;
};

/* Texts that targets point to. They live as long as the process; the list keeps them reachable. */
static struct kept {
    struct kept *next;
    char text[];
} * kept_texts;

static char warnings[WARNINGS_MAX][256];
static unsigned n_warnings;

static const char *const flags_of_all[] = {"help", "version", "print-config", "print-reference"};
static const enum option_wish wishes_of_all[] = {OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_PRINT,
                                                 OPTIONS_REFERENCE};

static char *keep(struct view text)
{
    struct kept *k = malloc(sizeof *k + text.n + 1);
    if (!k) {
        return NULL;
    }
    k->next = kept_texts;
    kept_texts = k;
    if (text.n) {
        memcpy(k->text, text.p, text.n);
    }
    k->text[text.n] = '\0';
    return k->text;
}

static int fail(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int fail(struct err *err, const char *fmt, ...)
{
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return err_set(err, ERR_FATAL, "config", "read configuration", "%s", text);
}

static int fail_memory(struct err *err)
{
    return err_set(err, ERR_FATAL, "no-memory", "read configuration", "out of memory");
}

const char *options_warning(unsigned index)
{
    return index < n_warnings ? warnings[index] : NULL;
}

static struct slot *find_slot(const struct loader *l, struct view name)
{
    for (size_t i = 0; i < l->n; i++) {
        if (view_is(name, l->slots[i].row->name)) {
            return &l->slots[i];
        }
    }
    return NULL;
}

/* Edits (insert, delete, replace, swap of neighbours) between two names of at most OPTION_NAME_MAX.
 */
static size_t edit_distance(struct view a, struct view b)
{
    size_t rows[3][OPTION_NAME_MAX + 1];
    size_t *before = rows[0], *last = rows[1], *row = rows[2];
    for (size_t k = 0; k <= b.n; k++) {
        last[k] = k;
    }
    for (size_t i = 1; i <= a.n; i++) {
        row[0] = i;
        for (size_t k = 1; k <= b.n; k++) {
            size_t best = last[k - 1] + (a.p[i - 1] != b.p[k - 1]);
            best = last[k] + 1 < best ? last[k] + 1 : best;
            best = row[k - 1] + 1 < best ? row[k - 1] + 1 : best;
            bool swapped = i > 1 && k > 1 && a.p[i - 1] == b.p[k - 2] && a.p[i - 2] == b.p[k - 1];
            if (swapped && before[k - 2] + 1 < best) {
                best = before[k - 2] + 1;
            }
            row[k] = best;
        }
        size_t *spare = before;
        before = last;
        last = row;
        row = spare;
    }
    return last[b.n];
}

/* The listed name that is nearest, when it is near enough to be what was meant; else NULL. */
static const char *nearest_name(const struct loader *l, struct view name)
{
    if (name.n == 0 || name.n > OPTION_NAME_MAX) {
        return NULL;
    }
    size_t limit = name.n / 3 > 2 ? name.n / 3 : 2, best = limit + 1;
    const char *found = NULL;
    for (size_t i = 0; i < l->n + ARRAY_LEN(flags_of_all) + 1; i++) {
        const char *candidate = i < l->n                             ? l->slots[i].row->name
                                : i - l->n < ARRAY_LEN(flags_of_all) ? flags_of_all[i - l->n]
                                                                     : "config";
        if (strlen(candidate) > OPTION_NAME_MAX) {
            continue;
        }
        size_t d = edit_distance(name, view_of(candidate));
        if (d < best && d < name.n) {
            best = d;
            found = candidate;
        }
    }
    return found;
}

static int fail_unknown(const struct loader *l, const char *where, const char *dashes,
                        struct view name, struct err *err)
{
    const char *near = nearest_name(l, name);
    if (!near) {
        return fail(err, "%sunknown option %s%.*s; see --help", where, dashes, VIEW_ARG(name));
    }
    return fail(err, "%sunknown option %s%.*s; did you mean %s%s?", where, dashes, VIEW_ARG(name),
                dashes, near);
}

/* Reads a regular file whole. what names it in messages. The result is freed by the caller. */
static int read_whole(const char *path, size_t max, struct buf *ret, mode_t *ret_mode,
                      const char *what, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        char text[128] = "";
        const char *reason = strerror_r(errno, text, sizeof text);
        if (fd >= 0) {
            close(fd);
        }
        return fail(err, "cannot read %s: %s", what, reason);
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return fail(err, "%s is not a regular file", what);
    }
    char chunk[4096];
    ssize_t got;
    buf_reset(ret);
    while ((got = read(fd, chunk, sizeof chunk)) > 0 || (got < 0 && errno == EINTR)) {
        buf_append(ret, chunk, got > 0 ? (size_t)got : 0);
        if (buf_failed(ret)) {
            break;
        }
    }
    explicit_bzero(chunk, sizeof chunk);
    close(fd);
    if (got < 0) {
        return fail(err, "cannot read %s", what);
    }
    if (buf_no_memory(ret)) {
        return fail_memory(err);
    }
    if (buf_failed(ret)) {
        return fail(err, "%s is larger than %zu bytes", what, max);
    }
    *ret_mode = st.st_mode;
    return 0;
}

static int set_from_line(struct loader *l, struct view line, unsigned number, struct err *err)
{
    struct view value = line, name;
    char where[64];
    snprintf(where, sizeof where, "configuration file, line %u: ", number);
    view_split(&value, '=', &name);
    name = view_trim(name);
    if (!value.p || !name.n) {
        return fail(err, "%sexpected name = value", where);
    }
    struct slot *slot = find_slot(l, name);
    if (!slot) {
        return fail_unknown(l, where, "", name, err);
    }
    if (slot->seen_in_file) {
        return fail(err, "%s%s is set twice", where, slot->row->name);
    }
    slot->seen_in_file = true;
    slot->origin = FROM_FILE;
    slot->text = keep(view_trim(value));
    return slot->text ? 0 : fail_memory(err);
}

static int read_config_text(struct loader *l, struct view text, struct err *err)
{
    if (text.n && !utf8_is_valid(bytes_of(text))) {
        return fail(err, "the configuration file is not UTF-8 text");
    }
    struct view line;
    for (unsigned number = 1; view_split(&text, '\n', &line); number++) {
        line = view_trim(line);
        if (line.n && line.p[0] != '#' && set_from_line(l, line, number, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_config_file(struct loader *l, struct err *err)
{
    if (!l->config_path || !l->config_path[0]) {
        return 0;
    }
    char what[200];
    snprintf(what, sizeof what, "the configuration file %s", l->config_path);
    struct buf text CLEANUP(buf_deinit) = {.max = FILE_MAX};
    mode_t mode;
    if (read_whole(l->config_path, FILE_MAX, &text, &mode, what, err) < 0) {
        return -1;
    }
    return read_config_text(l, buf_view(&text), err);
}

static int read_environment(struct loader *l, struct err *err)
{
    for (size_t i = 0; i < l->n; i++) {
        char name[OPTION_ENVIRONMENT_MAX];
        option_environment_name(l->slots[i].row->name, name);
        const char *text = l->slots[i].row->not_in_environment ? NULL : getenv(name);
        if (text) {
            l->slots[i].origin = FROM_ENVIRONMENT;
            l->slots[i].text = keep(view_of(text));
            if (!l->slots[i].text) {
                return fail_memory(err);
            }
        }
    }
    return 0;
}

/* One step over the command line. */
struct flag {
    struct view name;
    const char *value; /* NULL = none */
    struct slot *slot; /* NULL for config, the flags of all, and unknown names */
    enum option_wish wish;
    bool is_config;
};

/* Reads the flag at *index and moves behind it; false at the end of the flags. */
static bool next_flag(const struct loader *l, int argc, char **argv, int *index, struct flag *ret)
{
    if (*index >= argc) {
        return false;
    }
    const char *arg = argv[*index];
    if (strcmp(arg, "--") == 0) {
        ++*index;
        return false;
    }
    if (strcmp(arg, "-h") == 0) {
        arg = "--help";
    }
    if (arg[0] != '-' || arg[1] != '-') {
        return false;
    }
    ++*index;
    *ret = (struct flag){0};
    struct view value = view_of(arg + 2);
    view_split(&value, '=', &ret->name);
    ret->value = value.p;
    for (size_t i = 0; i < ARRAY_LEN(flags_of_all); i++) {
        ret->wish = view_is(ret->name, flags_of_all[i]) ? wishes_of_all[i] : ret->wish;
    }
    ret->is_config = view_is(ret->name, "config");
    ret->slot = find_slot(l, ret->name);
    bool takes_value = ret->is_config || (ret->slot && ret->slot->row->kind != OPT_BOOL);
    if (takes_value && !ret->value && *index < argc) {
        ret->value = argv[(*index)++];
    }
    return true;
}

static int read_flags(struct loader *l, int argc, char **argv, int *ret_rest, struct err *err)
{
    int index = 1;
    struct flag flag;
    while (next_flag(l, argc, argv, &index, &flag)) {
        if (flag.is_config || flag.wish != OPTIONS_RUN) {
            continue; /* seen by find_config and options_wish */
        }
        if (!flag.slot) {
            return fail_unknown(l, "", "--", flag.name, err);
        }
        bool is_bool = flag.slot->row->kind == OPT_BOOL;
        if (!flag.value && !is_bool) {
            return fail(err, "--%s needs a value", flag.slot->row->name);
        }
        flag.slot->origin = FROM_FLAG;
        flag.slot->text = flag.value ? flag.value : "true";
    }
    if (index < argc && argv[index][0] == '-' && argv[index][1] &&
        strcmp(argv[index - 1], "--") != 0) {
        return fail(err, "unknown option %.2s; options begin with --, see --help", argv[index]);
    }
    if (ret_rest) {
        *ret_rest = index;
    }
    return 0;
}

static int find_config(struct loader *l, int argc, char **argv, struct err *err)
{
    l->config_path = getenv("ECHORA_CONFIG");
    int index = 1;
    struct flag flag;
    while (next_flag(l, argc, argv, &index, &flag)) {
        if (flag.is_config && !flag.value) {
            return fail(err, "--config needs a value");
        }
        l->config_path = flag.is_config ? flag.value : l->config_path;
    }
    return 0;
}

/* "environment ECHORA_LANES: ", "--lanes: ", ... */
static void describe_origin(const struct slot *s, char *out, size_t size)
{
    char name[OPTION_ENVIRONMENT_MAX];
    switch (s->origin) {
    case FROM_DEFAULT:
        snprintf(out, size, "default of %s: ", s->row->name);
        return;
    case FROM_FILE:
        snprintf(out, size, "%s in the configuration file: ", s->row->name);
        return;
    case FROM_ENVIRONMENT:
        option_environment_name(s->row->name, name);
        snprintf(out, size, "%s in the environment: ", name);
        return;
    case FROM_FLAG:
        snprintf(out, size, "--%s: ", s->row->name);
    }
}

static int convert_number(struct slot *s, const char *where, struct err *err)
{
    const struct option *row = s->row;
    struct view text = view_of(s->text);
    bool ok = row->kind == OPT_INT ? view_to_i64(text, INT64_MIN, INT64_MAX, &s->value.number)
              : row->kind == OPT_DURATION ? view_to_duration_ms(text, &s->value.number)
                                          : view_to_size(text, &s->value.number);
    if (!ok) {
        const char *form = row->kind == OPT_INT ? "a whole number"
                           : row->kind == OPT_DURATION
                               ? "a duration such as 250ms, 30s, 5m, 24h, 7d"
                               : "a size such as 512, 64KiB, 8MiB, 1GiB";
        return fail(err, "%s\"%.*s\" is not %s", where, VIEW_ARG(text), form);
    }
    if (option_has_range(row) && (s->value.number < row->min || s->value.number > row->max)) {
        char least[32], most[32];
        option_format_number(row->kind, row->min, least);
        option_format_number(row->kind, row->max, most);
        return fail(err, "%s%.*s is not within %s to %s", where, VIEW_ARG(text), least, most);
    }
    return 0;
}

static int convert_enum(struct slot *s, const char *where, struct err *err)
{
    struct view choices = view_of(s->row->choices), choice;
    while (view_split(&choices, '|', &choice)) {
        if (view_is(choice, s->text)) {
            s->value.string = s->text;
            return 0;
        }
    }
    return fail(err, "%s\"%.64s\" is none of %s", where, s->text, s->row->choices);
}

static int convert_bool(struct slot *s, const char *where, struct err *err)
{
    s->value.flag = strcmp(s->text, "true") == 0;
    if (!s->value.flag && strcmp(s->text, "false") != 0) {
        return fail(err, "%s\"%.64s\" is neither true nor false", where, s->text);
    }
    return 0;
}

static void warn_open_secret(const struct slot *s, mode_t mode)
{
    if ((mode & 077) && n_warnings < WARNINGS_MAX) {
        snprintf(warnings[n_warnings++], sizeof warnings[0],
                 "the file of %s may be read by others (mode %03o); chmod 600 is enough",
                 s->row->name, (unsigned)mode & 0777);
    }
}

/* The path is named only when it looks like one: people do put the secret itself there. */
static int convert_secret(struct slot *s, const char *where, struct err *err)
{
    if (!s->text[0]) {
        s->value.string = "";
        return 0;
    }
    char what[320];
    if (s->text[0] == '/' || s->text[0] == '.') {
        snprintf(what, sizeof what, "the secret's file %.160s", s->text);
    } else {
        snprintf(what, sizeof what, "the secret's file (the value must be a path)");
    }
    struct buf content CLEANUP(buf_deinit) = {.max = SECRET_MAX};
    mode_t mode = 0;
    struct err cause = ERR_INIT;
    if (read_whole(s->text, SECRET_MAX, &content, &mode, what, &cause) < 0) {
        return fail(err, "%s%s", where, cause.text);
    }
    struct view v = buf_view(&content);
    if (v.n && v.p[v.n - 1] == '\n') {
        v.n--;
    }
    if (v.n && v.p[v.n - 1] == '\r') {
        v.n--;
    }
    const char *fault = !v.n ? "is empty" : memchr(v.p, 0, v.n) ? "holds a NUL byte" : NULL;
    int rc = 0;
    if (fault) {
        rc = fail(err, "%s%s %s", where, what, fault);
    } else if (!(s->value.string = keep(v))) {
        rc = fail_memory(err);
    } else {
        warn_open_secret(s, mode);
    }
    if (content.p) {
        explicit_bzero(content.p, content.n);
    }
    return rc;
}

static int convert(struct slot *s, struct err *err)
{
    char where[160] = "";
    describe_origin(s, where, sizeof where);
    if (!s->text) { /* no default */
        s->value.string = s->row->kind == OPT_STRING || s->row->kind == OPT_SECRET_FILE ? "" : NULL;
        return s->row->kind == OPT_ENUM ? fail(err, "%sa choice is missing", where) : 0;
    }
    switch (s->row->kind) {
    case OPT_STRING:
        s->value.string = s->text;
        return 0;
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
        return convert_number(s, where, err);
    case OPT_BOOL:
        return convert_bool(s, where, err);
    case OPT_ENUM:
        return convert_enum(s, where, err);
    case OPT_SECRET_FILE:
        return convert_secret(s, where, err);
    }
    return fail(err, "%sunknown kind of option", where);
}

static void store(const struct slot *s)
{
    switch (s->row->kind) {
    case OPT_INT:
    case OPT_DURATION:
    case OPT_SIZE:
        memcpy(s->target, &s->value.number, sizeof s->value.number);
        break;
    case OPT_BOOL:
        memcpy(s->target, &s->value.flag, sizeof s->value.flag);
        break;
    case OPT_STRING:
    case OPT_ENUM:
    case OPT_SECRET_FILE:
        memcpy(s->target, &s->value.string, sizeof s->value.string);
        break;
    }
}

/* Slots of every row, with their defaults. */
static int make_slots(struct loader *l, const struct option_set sets[], size_t n_sets,
                      struct err *err)
{
    size_t n = 0;
    for (size_t i = 0; i < n_sets; i++) {
        n += sets[i].n;
    }
    l->slots = calloc(n ? n : 1, sizeof *l->slots);
    if (!l->slots) {
        return fail_memory(err);
    }
    for (size_t i = 0; i < n_sets; i++) {
        for (size_t k = 0; k < sets[i].n; k++) {
            const struct option *row = &sets[i].rows[k];
            if (find_slot(l, view_of(row->name))) {
                return err_set(err, ERR_FATAL, "internal", "read configuration", "two rows for %s",
                               row->name);
            }
            l->slots[l->n++] = (struct slot){.row = row,
                                             .target = (char *)sets[i].target + row->offset,
                                             .text = row->default_text};
        }
    }
    return 0;
}

static int load(struct loader *l, int argc, char **argv, int *ret_rest, struct err *err)
{
    if (find_config(l, argc, argv, err) < 0 || read_config_file(l, err) < 0 ||
        read_environment(l, err) < 0 || read_flags(l, argc, argv, ret_rest, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < l->n; i++) {
        if (convert(&l->slots[i], err) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < l->n; i++) {
        store(&l->slots[i]);
    }
    return 0;
}

int options_load(const struct option_set sets[], size_t n_sets, int argc, char **argv,
                 int *ret_rest, struct err *err)
{
    struct loader l = {0};
    n_warnings = 0;
    int rc = make_slots(&l, sets, n_sets, err);
    if (rc == 0) {
        rc = load(&l, argc, argv, ret_rest, err);
    }
    free(l.slots);
    return rc;
}

enum option_wish options_wish(const struct option_set sets[], size_t n_sets, int argc, char **argv)
{
    struct loader l = {0};
    struct err err = ERR_INIT;
    struct flag flag;
    enum option_wish wish = OPTIONS_RUN;
    int index = 1;
    if (make_slots(&l, sets, n_sets, &err) == 0) {
        while (wish == OPTIONS_RUN && next_flag(&l, argc, argv, &index, &flag)) {
            wish = flag.wish;
        }
    }
    free(l.slots);
    return wish;
}
