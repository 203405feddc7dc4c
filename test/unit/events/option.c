// SPDX-License-Identifier: Apache-2.0
#include "events/option.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/unit/check.h"

struct config {
    const char *url, *level, *password, *state;
    int64_t lanes, wait, size;
    bool fast;
};
static const struct option rows[] = {
    {.name = "pg-url",
     .kind = OPT_STRING,
     .offset = offsetof(struct config, url),
     .default_text = "postgresql://localhost/echora",
     .placeholder = "URL",
     .help = "Where PostgreSQL is, a sentence that is long enough to be wrapped over lines."},
    {.name = "lanes",
     .kind = OPT_INT,
     .offset = offsetof(struct config, lanes),
     .default_text = "1",
     .min = 1,
     .max = 64,
     .help = "Consumer lanes."},
    {.name = "drain-timeout",
     .kind = OPT_DURATION,
     .offset = offsetof(struct config, wait),
     .default_text = "10s",
     .min = 100,
     .max = 600000,
     .help = "Time to finish."},
    {.name = "fast",
     .kind = OPT_BOOL,
     .offset = offsetof(struct config, fast),
     .default_text = "false",
     .help = "Hurry up."},
    {.name = "state",
     .kind = OPT_STRING,
     .offset = offsetof(struct config, state),
     .help = "A name that is taken in the environment.",
     .not_in_environment = true},
};
static const struct option more_rows[] = {
    {.name = "decode-max",
     .kind = OPT_SIZE,
     .offset = offsetof(struct config, size),
     .default_text = "8MiB",
     .help = "Largest decoded event."},
    {.name = "log-level",
     .kind = OPT_ENUM,
     .offset = offsetof(struct config, level),
     .default_text = "info",
     .choices = "debug|info|warn|error",
     .help = "Least level."},
    {.name = "pg-password",
     .kind = OPT_SECRET_FILE,
     .offset = offsetof(struct config, password),
     .help = "File of the password."},
};

static struct config config;
static struct err err;
static int rest;
static const struct option_set sets[] = {
    {rows, ARRAY_LEN(rows), &config},
    {more_rows, ARRAY_LEN(more_rows), &config},
};

static int load_argv(int argc, const char **argv)
{
    memset(&config, 0, sizeof config);
    err = ERR_INIT;
    rest = -1;
    return options_load(sets, ARRAY_LEN(sets), argc, (char **)argv, &rest, &err);
}
#define ARGV(...) ((const char *[]){"program", __VA_ARGS__})
#define LOAD(...) load_argv((int)ARRAY_LEN(ARGV(__VA_ARGS__)), ARGV(__VA_ARGS__))

static char dir[] = "/tmp/echora-option-XXXXXX";

static const char *file_of(const char *name, const char *content, size_t n, mode_t mode)
{
    static char path[4][200];
    static unsigned turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    unlink(p);
    FILE *f = fopen(p, "w");
    if (f) {
        fwrite(content, 1, n, f);
        fclose(f);
        chmod(p, mode);
    }
    return p;
}
#define FILE_OF(name, content) file_of((name), (content), strlen(content), 0600)

static void test_defaults(void)
{
    CHECK_EQ_INT(load_argv(1, ARGV("x")), 0);
    CHECK_STR(config.url, "postgresql://localhost/echora");
    CHECK_EQ_INT(config.lanes, 1);
    CHECK_EQ_INT(config.wait, 10000);
    CHECK_EQ_INT(config.size, 8 << 20);
    CHECK_STR(config.level, "info");
    CHECK_STR(config.password, "");
    CHECK(!config.fast);
    CHECK_EQ_INT(rest, 1);
}

static void test_order(void)
{
    const char *path = FILE_OF("c", "# comment\n\n lanes = 2 \r\npg-url=a=b#c\ndrain-timeout = 5s\n"
                                    "fast = true\nlog-level = warn");
    CHECK_EQ_INT(LOAD("--config", path), 0);
    CHECK_EQ_INT(config.lanes, 2);
    CHECK_STR(config.url, "a=b#c");
    CHECK_EQ_INT(config.wait, 5000);
    CHECK(config.fast);
    setenv("ECHORA_LANES", "3", 1);
    setenv("ECHORA_DRAIN_TIMEOUT", "6s", 1);
    setenv("ECHORA_SOMETHING_ELSE", "ignored", 1);
    setenv("ECHORA_STATE", "ignored", 1);
    CHECK_EQ_INT(LOAD("--drain-timeout=7s", "--config", path, "--fast=false"), 0);
    CHECK_EQ_INT(config.lanes, 3);
    CHECK_EQ_INT(config.wait, 7000);
    CHECK(!config.fast);
    CHECK_STR(config.level, "warn");
    CHECK_STR(config.state, "");
    setenv("ECHORA_CONFIG", path, 1);
    CHECK_EQ_INT(LOAD("--lanes", "4", "--lanes=5"), 0);
    CHECK_EQ_INT(config.lanes, 5);
    CHECK_STR(config.level, "warn");
    unsetenv("ECHORA_CONFIG");
    unsetenv("ECHORA_LANES");
    unsetenv("ECHORA_STATE");
    unsetenv("ECHORA_DRAIN_TIMEOUT");
}

static void test_where_flags_end(void)
{
    CHECK_EQ_INT(LOAD("--lanes", "2", "publish", "--lanes", "x"), 0);
    CHECK_EQ_INT(rest, 3);
    CHECK_EQ_INT(LOAD("--fast", "publish"), 0);
    CHECK_EQ_INT(rest, 2);
    CHECK(config.fast);
    CHECK_EQ_INT(LOAD("--fast", "--", "--lanes"), 0);
    CHECK_EQ_INT(rest, 3);
    CHECK_EQ_INT(LOAD("--", "-x"), 0);
    CHECK_EQ_INT(rest, 2);
    CHECK_EQ_INT(LOAD("-"), 0);
    CHECK_EQ_INT(rest, 1);
    CHECK_EQ_INT(LOAD("--pg-url", "--fast"), 0); /* a value is a value */
    CHECK_STR(config.url, "--fast");
    CHECK_EQ_INT(LOAD("--pg-url="), 0);
    CHECK_STR(config.url, "");
}

/* Each mistake is refused by a text that names the option and its origin; nothing is filled. */
static void test_mistakes(void)
{
    static const struct {
        const char *flag, *text;
    } flags[] = {
        {"--lane=2", "unknown option --lane; did you mean --lanes?"},
        {"--pg_url=x", "unknown option --pg_url; did you mean --pg-url?"},
        {"--pgurl=x", "did you mean --pg-url?"},
        {"--slane=1", "did you mean --lanes?"},
        {"--drain-timeuot=1s", "did you mean --drain-timeout?"},
        {"--hepl", "did you mean --help?"},
        {"--confg=x", "did you mean --config?"},
        {"--zzzzzzzz", "unknown option --zzzzzzzz; see --help"},
        {"-x", "unknown option -x"},
        {"--lanes=0", "--lanes: 0 is not within 1 to 64"},
        {"--lanes=65", "--lanes: 65 is not within 1 to 64"},
        {"--lanes=two", "--lanes: \"two\" is not a whole number"},
        {"--lanes=", "is not a whole number"},
        {"--lanes", "--lanes needs a value"},
        {"--config", "--config needs a value"},
        {"--drain-timeout=1w", "is not a duration such as"},
        {"--drain-timeout=1ms", "1ms is not within 100ms to 10m"},
        {"--decode-max=8MB", "is not a size such as"},
        {"--log-level=loud", "\"loud\" is none of debug|info|warn|error"},
        {"--fast=yes", "is neither true nor false"},
        {"--config=/nonexistent/x", "cannot read the configuration file /nonexistent/x: No such"},
        {"--config=/", "is not a regular file"},
        {"--pg-password=/nonexistent/p", "the secret's file /nonexistent/p: No such file"},
        {"--pg-password=hunter2", "(the value must be a path): No such file"},
        {"--pg-password=/tmp", "is not a regular file"},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        CHECK_ROW(LOAD(flags[i].flag) == -1, flags[i].flag);
        CHECK_ROW(strstr(err.text, flags[i].text) != NULL, err.text);
        CHECK(!strstr(err.text, "hunter2"));
        CHECK_STR(err.code, "config");
        CHECK_EQ_INT(err.class, ERR_FATAL);
        CHECK(config.url == NULL && config.lanes == 0);
    }
    static const struct {
        const char *content, *text;
    } files[] = {
        {"lanes = 2\nlanse = 3\n", "line 2: unknown option lanse; did you mean lanes?"},
        {"lanes 2\n", "line 1: expected name = value"},
        {"= 2\n", "line 1: expected name = value"},
        {"lanes = 1\n\nlanes = 2\n", "line 3: lanes is set twice"},
        {"lanes = x\n", "lanes in the configuration file: \"x\""},
        {"config = x\n", "unknown option config"},
        {"pg-url = \xff\n", "is not UTF-8 text"},
    };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        CHECK_EQ_INT(LOAD("--config", FILE_OF("bad", files[i].content)), -1);
        CHECK_ROW(strstr(err.text, files[i].text) != NULL, err.text);
    }
    /* An overridden mistake does no harm. */
    CHECK_EQ_INT(LOAD("--config", FILE_OF("bad", "lanes = x\n"), "--lanes=2"), 0);
    setenv("ECHORA_LANES", "many", 1);
    CHECK_EQ_INT(LOAD("--fast"), -1);
    CHECK_ROW(strstr(err.text, "ECHORA_LANES in the environment: \"many\"") != NULL, err.text);
    unsetenv("ECHORA_LANES");
    char *big = calloc(1, (1 << 20) + 2);
    REQUIRE(big);
    memset(big, '\n', (1 << 20) + 1);
    CHECK_EQ_INT(LOAD("--config", file_of("big", big, (1 << 20) + 1, 0600)), -1);
    CHECK_ROW(strstr(err.text, "larger than") != NULL, err.text);
    free(big);
    static const struct option_set twice[] = {{rows, 1, &config}, {rows, 1, &config}};
    CHECK_EQ_INT(options_load(twice, 2, 1, (char **)ARGV("x"), NULL, &err), -1);
    CHECK_STR(err.code, "internal");
}

static void test_secrets(void)
{
    CHECK_EQ_INT(LOAD("--pg-password", FILE_OF("s", "s3cret word\n")), 0);
    CHECK_STR(config.password, "s3cret word");
    CHECK(options_warning(0) == NULL);
    CHECK_EQ_INT(LOAD("--pg-password", FILE_OF("s", "two\nlines\r\n")), 0);
    CHECK_STR(config.password, "two\nlines");
    CHECK_EQ_INT(LOAD("--pg-password", file_of("s", "abc", 3, 0644)), 0);
    CHECK_STR(config.password, "abc");
    CHECK(options_warning(0) && strstr(options_warning(0), "pg-password"));
    CHECK(!strstr(options_warning(0), "abc"));
    CHECK(options_warning(1) == NULL);
    CHECK_EQ_INT(LOAD("--pg-password="), 0);
    CHECK_STR(config.password, "");
    CHECK_EQ_INT(LOAD("--pg-password", FILE_OF("s", "\n")), -1);
    CHECK_ROW(strstr(err.text, "is empty") != NULL, err.text);
    CHECK_EQ_INT(LOAD("--pg-password", file_of("s", "a\0b", 3, 0600)), -1);
    CHECK_ROW(strstr(err.text, "NUL") != NULL, err.text);
    static char big[(64 << 10) + 1];
    memset(big, 'x', sizeof big);
    CHECK_EQ_INT(LOAD("--pg-password", file_of("s", big, sizeof big, 0600)), -1);
    CHECK_ROW(strstr(err.text, "larger than") != NULL, err.text);
}

static char *printed(void (*print)(const struct option_set[], size_t, FILE *))
{
    char *text = NULL;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    if (out) {
        print(sets, ARRAY_LEN(sets), out);
        fclose(out);
    }
    return text;
}

static void test_print(void)
{
    CHECK_EQ_INT(LOAD("--pg-url=postgresql://u:hunter2@h:1/db?x=a@b", "--drain-timeout=90s",
                      "--decode-max=1536KiB", "--pg-password", FILE_OF("s", "s3cret")),
                 0);
    char *text = printed(options_print);
    CHECK_STR(text, "pg-url = postgresql://u:***@h:1/db?x=a@b\nlanes = 1\ndrain-timeout = 90s\n"
                    "fast = false\nstate = \ndecode-max = 1536KiB\nlog-level = info\n"
                    "# pg-password = (secret)\n");
    free(text);
    /* What is printed can be read back. */
    CHECK_EQ_INT(LOAD("--lanes=7", "--drain-timeout=1001", "--decode-max=0", "--fast"), 0);
    struct config before = config;
    text = printed(options_print);
    CHECK_EQ_INT(LOAD("--config", FILE_OF("back", text)), 0);
    free(text);
    CHECK_EQ_INT(config.lanes, before.lanes);
    CHECK_EQ_INT(config.wait, 1001);
    CHECK_EQ_INT(config.size, 0);
    CHECK_STR(config.url, before.url);
    CHECK(config.fast);
    text = printed(options_print_reference);
    CHECK_ROW(
        strstr(text, "\n| `--lanes` | `ECHORA_LANES` | N, 1 to 64 | `1` | Consumer lanes. |\n") !=
            NULL,
        text);
    CHECK_ROW(strstr(text, "debug\\|info\\|warn\\|error") != NULL, text);
    CHECK(!strstr(text, "s3cret"));
    free(text);
}

static void test_help(void)
{
    char *text = printed(options_print_help);
    CHECK_ROW(strstr(text, "\n  --lanes=N                 Consumer lanes. 1 to 64. Default 1.\n") !=
                  NULL,
              text);
    CHECK_ROW(
        strstr(text, "  --log-level=debug|info|warn|error\n                            Least") !=
            NULL,
        text);
    CHECK_ROW(strstr(text, "  --config=FILE ") != NULL, text);
    struct view lines = view_of(text), line;
    while (view_split(&lines, '\n', &line)) {
        CHECK_ROW(line.n <= 80, line.p);
        CHECK_ROW(!line.n || line.p[line.n - 1] != ' ', line.p);
    }
    free(text);
}

static void test_wishes(void)
{
    static const struct {
        const char *a, *b;
        enum option_wish wish;
    } table[] = {
        {"--help", "--lanes", OPTIONS_HELP},
        {"-h", "x", OPTIONS_HELP},
        {"--version", "--help", OPTIONS_VERSION},
        {"--lanes=2", "--print-config", OPTIONS_PRINT},
        {"--print-reference", "x", OPTIONS_REFERENCE},
        {"--lanes", "--help", OPTIONS_RUN}, /* a value */
        {"--config", "--help", OPTIONS_RUN},
        {"--nonsense", "--help", OPTIONS_HELP},
        {"--", "--help", OPTIONS_RUN},
        {"publish", "--help", OPTIONS_RUN},
        {"--fast", "--help", OPTIONS_HELP},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        const char **argv = ARGV(table[i].a, table[i].b);
        CHECK_EQ_INT(options_wish(sets, ARRAY_LEN(sets), 3, (char **)argv), table[i].wish);
    }
    CHECK_EQ_INT(LOAD("--help", "--print-config", "--version", "-h"), 0);
}

int main(void)
{
    if (!mkdtemp(dir)) {
        return 1;
    }
    RUN(test_defaults);
    RUN(test_order);
    RUN(test_where_flags_end);
    RUN(test_mistakes);
    RUN(test_secrets);
    RUN(test_print);
    RUN(test_help);
    RUN(test_wishes);
    static const char *const names[] = {"c", "s", "bad", "big", "back"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[200];
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
    return check_result();
}
