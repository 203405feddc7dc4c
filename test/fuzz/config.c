/* Configuration from a file, the environment and the command line.
 *
 * Properties: a mistake is refused with a text, and the targets are untouched; what is taken lies
 * within its range, and printed it reads back to the same. The input: pieces behind 0xff 0xff are
 * the file, the value of one variable, and the arguments. */
// SPDX-License-Identifier: Apache-2.0

#include <sys/mman.h>
#include <unistd.h>

#include "events/option.h"
#include "test/fuzz/demand.h"

struct settings {
    const char *url, *mode;
    int64_t lanes, wait_ms, size;
    bool deep;
};

#define AT(member) offsetof(struct settings, member)
static const struct option rows[] = {
    {.name = "url",
     .kind = OPT_STRING,
     .offset = AT(url),
     .default_text = "nats://a:1",
     .help = "."},
    {.name = "mode",
     .kind = OPT_ENUM,
     .offset = AT(mode),
     .default_text = "one",
     .choices = "one|two",
     .help = "."},
    {.name = "lanes",
     .kind = OPT_INT,
     .offset = AT(lanes),
     .default_text = "1",
     .min = 1,
     .max = 64,
     .help = "."},
    {.name = "wait",
     .kind = OPT_DURATION,
     .offset = AT(wait_ms),
     .default_text = "250ms",
     .min = 1,
     .max = 86400000,
     .help = "."},
    {.name = "size", .kind = OPT_SIZE, .offset = AT(size), .default_text = "8MiB", .help = "."},
    {.name = "deep", .kind = OPT_BOOL, .offset = AT(deep), .help = "."},
};

enum { ARGS_MAX = 8, TEXT_MAX = 1024 };

/* A path of these bytes as a regular file. */
static int file_of(struct bytes content, char path[static 64])
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    demand(fd >= 0 && write(fd, content.p, content.n) == (ssize_t)content.n, "a file", NULL);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static bool load(struct settings *s, int argc, char **argv, const char *path, struct err *err)
{
    char config[80];
    char *full[ARGS_MAX + 2] = {(char *)"program", config};
    const struct option_set set = {rows, ARRAY_LEN(rows), s};
    snprintf(config, sizeof(config), "--config=%s", path);
    for (int i = 0; i < argc; i++)
        full[i + 2] = argv[i];
    return options_load(&set, 1, argc + 2, full, NULL, err) == 0;
}

static void check_values(struct settings *s)
{
    demand(s->lanes >= 1 && s->lanes <= 64 && s->wait_ms >= 1 && s->wait_ms <= 86400000,
           "within the range", NULL);
    demand(strcmp(s->mode, "one") == 0 || strcmp(s->mode, "two") == 0, "a choice", NULL);
}

static bool is_one_line(const char *text)
{
    struct view v = view_of(text);
    return !strpbrk(text, "\n") && view_trim(v).n == v.n && utf8_is_valid(bytes_of(v)) &&
           !strstr(text, "://"); /* passwords are printed as *** */
}

static void check_print(struct settings *s)
{
    static char printed[4 * TEXT_MAX];
    const struct option_set set = {rows, ARRAY_LEN(rows), s};
    struct settings again = {0};
    struct err err = ERR_INIT;
    char path[64];
    FILE *out = fmemopen(printed, sizeof(printed), "w");
    demand(out != NULL, "memory", NULL);
    options_print(&set, 1, out);
    long n = ftell(out);
    fclose(out);
    int fd = file_of((struct bytes){(const uint8_t *)printed, (size_t)n}, path);
    unsetenv("ECHORA_URL");
    demand(load(&again, 0, NULL, path, &err), "what is printed is read", &err);
    close(fd);
    demand(strcmp(again.url, s->url) == 0 && strcmp(again.mode, s->mode) == 0 &&
               again.lanes == s->lanes && again.wait_ms == s->wait_ms && again.size == s->size &&
               again.deep == s->deep,
           "as the same", NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct bytes all = {data, n < TEXT_MAX ? n : TEXT_MAX}, file = {0}, variable = {0}, piece;
    char *argv[ARGS_MAX], path[64], value[TEXT_MAX + 1];
    struct settings s = {.lanes = -1}, before = s;
    struct err err = ERR_INIT;
    int argc = 0;
    next_piece(&all, &file);
    next_piece(&all, &variable);
    while (argc < ARGS_MAX && next_piece(&all, &piece)) {
        argv[argc] = strndup(piece.p ? (const char *)piece.p : "", piece.n);
        demand(argv[argc++] != NULL, "memory", NULL);
    }
    snprintf(value, sizeof(value), "%.*s", (int)variable.n,
             variable.p ? (const char *)variable.p : "");
    if (variable.n)
        setenv("ECHORA_URL", value, 1);
    int fd = file_of(file, path);
    if (!load(&s, argc, argv, path, &err)) {
        demand(err.class == ERR_FATAL && err.text[0], "a mistake is named", &err);
        demand(memcmp(&s, &before, sizeof(s)) == 0, "the targets are untouched", &err);
    } else {
        check_values(&s);
        if (is_one_line(s.url))
            check_print(&s);
    }
    close(fd);
    unsetenv("ECHORA_URL");
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return 0;
}
