/* Dispatch: finds the verb's row, sorts options from arguments, runs it, prints what went wrong.
 *
 * Options may stand anywhere on the line; those that take a value take the next word or follow '='.
 * "--" ends them. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/cli.h"

#include <curl/curl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include "ops/cli/fleet.h"
#include "ops/cli/output.h"

#define ARENA_MAX (256u << 20)
#define COL(member) offsetof(struct cli_config, member)

const struct option cli_options[] = {
    {"nats-url", OPT_STRING, COL(nats_url), "nats://127.0.0.1:4222", 0, 0, NULL, "URL",
     "Address of nats-server."},
    {"nats-user", OPT_STRING, COL(nats_user), "", 0, 0, NULL, "NAME",
     "User on NATS; empty for none."},
    {"nats-password-file", OPT_SECRET_FILE, COL(nats_password), "", 0, 0, NULL, "FILE",
     "File with the password of the NATS user."},
    {"pg-url", OPT_STRING, COL(pg_url), "", 0, 0, NULL, "URL",
     "PostgreSQL, as postgresql://role@host:port/database."},
    {"pg-password-file", OPT_SECRET_FILE, COL(pg_password), "", 0, 0, NULL, "FILE",
     "File with the password of the PostgreSQL role."},
    {"qdrant-url", OPT_STRING, COL(qdrant_url), "http://127.0.0.1:6333", 0, 0, NULL, "URL",
     "Address of Qdrant's REST API."},
    {"qdrant-api-key-file", OPT_SECRET_FILE, COL(qdrant_api_key), "", 0, 0, NULL, "FILE",
     "File with the API key of Qdrant."},
    {"timeout", OPT_DURATION, COL(timeout_ms), "5s", 1, 3600000, NULL, "TIME",
     "Limit of each connection and request."},
    {"json", OPT_BOOL, COL(json), "false", 0, 0, NULL, NULL, "Answers as JSON, for machines."},
    {"color", OPT_ENUM, COL(color), "auto", 0, 0, "auto|always|never", "WHEN",
     "Coloured output; auto: on a terminal."},
};
const size_t n_cli_options = ARRAY_LEN(cli_options);

int cli_usage(struct err *err, const char *fmt, ...)
{
    char text[sizeof(err->text)];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return err_set(err, ERR_FATAL, "usage", "read the command line", "%s", text);
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static void print_overview(FILE *out)
{
    fprintf(out,
            "echora %s: hands on the event backbone\n\nusage: echora VERB [OPTION...] "
            "[ARGUMENT...]\n\n",
            ECHORA_VERSION);
    for (const struct verb *const *v = cli_verbs; *v; v++)
        fprintf(out, "  %-22s %s\n", (*v)->name, (*v)->summary);
    fputs("\nGlobal options (also as ECHORA_<NAME> in the environment):\n", out);
    struct option_set set = {cli_options, n_cli_options, NULL};
    options_print_help(&set, 1, out);
    fputs("\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 a server can't be reached.\n"
          "`echora VERB --help` tells more and shows an example.\n",
          out);
}

static void print_help(const struct verb *v, FILE *out)
{
    fprintf(out, "echora %s: %s\n\nusage: echora %s%s%s [OPTION...]\n", v->name, v->summary,
            v->name, *v->args ? " " : "", v->args);
    if (v->details)
        fprintf(out, "\n%s\n", v->details);
    fputs("\nExample:\n", out);
    struct view rest = view_of(v->example), line;
    while (view_split(&rest, '\n', &line))
        fprintf(out, "  %.*s\n", VIEW_ARG(line));
    fputs("\nOptions:\n", out);
    struct option_set sets[] = {{v->options, v->n_options, NULL},
                                {cli_options, n_cli_options, NULL}};
    options_print_help(sets, 2, out);
}

/* Verbs whose name starts with this word ("streams" → plan, apply, check). second: a word that
 * makes none of them, or NULL. */
static bool print_family(const char *word, const char *second, FILE *out)
{
    size_t n = strlen(word);
    const char *found = NULL;

    for (const struct verb *const *v = cli_verbs; *v; v++)
        if (strncmp((*v)->name, word, n) == 0 && (*v)->name[n] == ' ') {
            if (second && !found)
                fprintf(out, "echora: no verb \"%s %s\"; there are\n", word, second);
            fprintf(out, "  echora %-22s %s\n", (*v)->name, (*v)->summary);
            found = (*v)->name;
        }
    if (found)
        fprintf(out, "Arguments, options and an example of each: echora %s --help\n", found);
    return found != NULL;
}

/* Takes the verb's words off the front of argv; *ret_used is how many they are. */
static const struct verb *find_verb(int argc, char **argv, int *ret_used)
{
    for (const struct verb *const *v = cli_verbs; *v; v++) {
        struct view rest = view_of((*v)->name), word;
        int used = 0;
        bool same = true;
        while (same && view_split(&rest, ' ', &word)) {
            same = used < argc && view_is(word, argv[used]);
            used++;
        }
        if (same) {
            *ret_used = used;
            return *v;
        }
    }
    return NULL;
}

/* How many letters to add, drop or change; words of 24 letters at most, else far. */
static unsigned distance(const char *a, const char *b)
{
    unsigned row[25], far = 99;
    size_t n = strlen(b);

    if (n >= ARRAY_LEN(row))
        return far;
    for (unsigned k = 0; k <= n; k++)
        row[k] = k;
    for (unsigned i = 1; a[i - 1]; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (size_t k = 1; k <= n; k++) {
            unsigned change = corner + (a[i - 1] != b[k - 1]);
            corner = row[k];
            unsigned step = 1 + (row[k - 1] < row[k] ? row[k - 1] : row[k]);
            row[k] = change < step ? change : step;
        }
    }
    return row[n];
}

/* A verb of one word that is at most two letters away, or NULL. */
static const char *nearest_verb(const char *word)
{
    const char *nearest = NULL;
    unsigned least = 3;

    for (const struct verb *const *v = cli_verbs; *v; v++) {
        unsigned d = distance(word, (*v)->name);
        if (d < least) {
            least = d;
            nearest = (*v)->name;
        }
    }
    return nearest;
}

static bool takes_value(const struct option_set sets[], size_t n_sets, const char *name)
{
    for (size_t s = 0; s < n_sets; s++)
        for (size_t i = 0; i < sets[s].n; i++)
            if (strcmp(sets[s].rows[i].name, name) == 0)
                return sets[s].rows[i].kind != OPT_BOOL;
    return strcmp(name, "config") == 0;
}

/* argv[0] and options first, then "--", then the arguments. out holds argc + 2 pointers. */
static void sort_words(int argc, char **argv, const struct option_set sets[], size_t n_sets,
                       char **out, int *ret_n)
{
    static char end_of_options[] = "--";
    int n = 0;

    out[n++] = argv[0];
    for (int pass = 0; pass < 2; pass++) {
        bool options = true;
        for (int i = 1; i < argc; i++) {
            bool ends = options && strcmp(argv[i], "--") == 0;
            bool option = options && !ends && argv[i][0] == '-' && argv[i][1] == '-';
            if (ends) {
                options = false;
                continue;
            }
            if (option == (pass == 0))
                out[n++] = argv[i];
            if (option && !strchr(argv[i], '=') && takes_value(sets, n_sets, argv[i] + 2) &&
                i + 1 < argc) {
                i++;
                if (pass == 0)
                    out[n++] = argv[i];
            }
        }
        if (pass == 0)
            out[n++] = end_of_options;
    }
    *ret_n = n;
}

/* How many words of argv, from the first on, are global options and their values. */
static int leading_options(int argc, char **argv)
{
    struct option_set all[] = {{cli_options, n_cli_options, NULL}};
    int n = 0;

    while (1 + n < argc && argv[1 + n][0] == '-' && argv[1 + n][1] == '-') {
        struct view rest = view_of(argv[1 + n] + 2), name;
        char text[64];
        bool known = strcmp(argv[1 + n], "--json") == 0;
        (void)view_split(&rest, '=', &name);
        (void)snprintf(text, sizeof(text), "%.*s", VIEW_ARG(name));
        bool value = takes_value(all, 1, text);
        if (!known && !value)
            break;
        n += value && !strchr(argv[1 + n], '=') ? 2 : 1;
    }
    return 1 + n < argc ? n : 0;
}

/* `echora --json dlq list` is `echora dlq list --json`. */
static void put_verb_first(int argc, char **argv)
{
    int used = 1, n = leading_options(argc, argv);

    if (n == 0)
        return;
    if (!find_verb(argc - 1 - n, argv + 1 + n, &used))
        while (1 + n + used < argc && argv[1 + n + used][0] != '-')
            used++;
    for (int w = 0; w < used; w++) {
        char *word = argv[1 + n + w];
        memmove(argv + 2 + w, argv + 1 + w, (size_t)n * sizeof(*argv));
        argv[1 + w] = word;
    }
}

static int cli_exit_code(const struct err *err)
{
    if (strcmp(err->code, "usage") == 0 || strcmp(err->code, "config") == 0)
        return CLI_USAGE;
    if (err->class == ERR_UNAVAILABLE)
        return CLI_UNREACHABLE;
    return CLI_FAILED;
}

static int fail(const struct cli *cli, const char *verb, const struct err *err)
{
    (void)fflush(stdout);
    if (cli->config.json) {
        struct buf b;
        buf_init(&b, 4096);
        buf_puts(&b, "{\"error\":{\"code\":");
        buf_put_json_string(&b, view_of(err->code));
        buf_puts(&b, ",\"class\":");
        buf_put_json_string(&b, view_of(err_class_name(err->class)));
        buf_puts(&b, ",\"op\":");
        buf_put_json_string(&b, view_of(err->op));
        buf_puts(&b, ",\"text\":");
        buf_put_json_string(&b, view_of(err->text));
        buf_puts(&b, "}}");
        fprintf(stderr, "%s\n", buf_cstr(&b));
        buf_deinit(&b);
    } else {
        bool color = color_wanted(cli->config.color ? cli->config.color : "auto", stderr);
        bool usage = strcmp(err->code, "usage") == 0;
        bool alone = strcmp(err->code, "nats-no-responders") == 0;
        const char *missed = alone ? fleet_answers(err->op) : NULL;
        fprintf(stderr, "%sechora %s: %s%s%s%s%s%s [%s]\n", paint(color, PAINT_RED), verb,
                paint_end(color), usage ? "" : err->op, usage ? "" : ": ", err->text,
                missed ? ": start " : "", missed ? missed : "", err->code);
    }
    return cli_exit_code(err);
}

static int run_verb(struct cli *cli, const struct verb *verb, int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct option_set sets[] = {{verb->options, verb->n_options, cli->options},
                                {cli_options, n_cli_options, &cli->config}};
    size_t n_sets = ARRAY_LEN(sets);
    int n_words = 0, rest = 0;
    char **words = cli->words = calloc((size_t)argc + 2, sizeof(char *));

    if (!words)
        return CLI_FAILED;
    sort_words(argc, argv, sets, n_sets, words, &n_words);
    if (options_load(sets, n_sets, n_words, words, &rest, &err) < 0) {
        (void)fail(cli, verb->name, &err);
        return CLI_USAGE;
    }
    enum option_wish wish = options_wish(sets, n_sets, n_words, words);
    if (wish == OPTIONS_PRINT)
        options_print(sets, n_sets, stdout);
    else if (wish == OPTIONS_REFERENCE)
        options_print_reference(sets, n_sets, stdout);
    if (wish != OPTIONS_RUN)
        return CLI_OK;
    for (unsigned i = 0; options_warning(i); i++)
        fprintf(stderr, "echora: %s\n", options_warning(i));
    cli->args = words + rest;
    cli->n_args = n_words - rest;
    cli->color = color_wanted(cli->config.color, stdout);
    if (cli->n_args < verb->min_args || (verb->max_args >= 0 && cli->n_args > verb->max_args)) {
        (void)cli_usage(&err, "usage: echora %s %s [OPTION...]", verb->name, verb->args);
        return fail(cli, verb->name, &err);
    }
    int code = verb->run(cli, &err);
    return code < 0 ? fail(cli, verb->name, &err) : code;
}

static void close_all(struct cli *cli)
{
    cli->bus = bus_close(cli->bus);
    cli->pg = pg_free(cli->pg);
    cli->qdrant = http_free(cli->qdrant);
    cli->arena = arena_free(cli->arena);
    free(cli->options);
    free(cli->words);
}

int cli_main(int argc, char **argv)
{
    struct cli cli = {0};
    int used = 0, code;

    put_verb_first(argc, argv);
    if (argc < 2 || is_help(argv[1]) || (argc == 2 && strcmp(argv[1], "help") == 0)) {
        print_overview(argc < 2 ? stderr : stdout);
        return argc < 2 ? CLI_USAGE : CLI_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("echora %s\n", ECHORA_VERSION);
        return CLI_OK;
    }
    bool help = strcmp(argv[1], "help") == 0;
    int skip = help ? 2 : 1;
    const struct verb *verb = find_verb(argc - skip, argv + skip, &used);
    if (!verb) {
        bool asked = help || (argc > 2 && is_help(argv[2]));
        FILE *out = asked ? stdout : stderr;
        const char *second = asked || argc <= skip + 1 ? NULL : argv[skip + 1];
        if (print_family(argv[skip], second, out))
            return asked ? CLI_OK : CLI_USAGE;
        const char *near = nearest_verb(argv[skip]);
        fprintf(stderr, "echora: no verb \"%s\"%s%s%s; `echora --help` lists them\n", argv[skip],
                near ? ", did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        return CLI_USAGE;
    }
    for (int i = skip + used; i < argc && strcmp(argv[i], "--") != 0; i++)
        help = help || is_help(argv[i]);
    if (help) {
        print_help(verb, stdout);
        return CLI_OK;
    }

    interrupts_catch();
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
    cli.arena = arena_new(ARENA_MAX);
    cli.options = calloc(1, verb->options_size + 1);
    if (!cli.arena || !cli.options) {
        fputs("echora: out of memory\n", stderr);
        code = CLI_FAILED;
    } else {
        /* argv[0] of the parser is the verb's last word. */
        int first = skip + used - 1;
        code = run_verb(&cli, verb, argc - first, argv + first);
    }
    close_all(&cli);
    curl_global_cleanup();
    if (fflush(stdout) != 0 && code == CLI_OK)
        code = CLI_FAILED;
    return code;
}
