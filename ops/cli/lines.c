// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/lines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define WINDOW (256u << 10)

struct lines {
    const uint8_t *map;
    size_t size, at; /* of the file */
    ZSTD_DCtx *zstd; /* NULL = plain */
    bool mid_frame;
    char *window; /* unpacked, not yet given out: from..to */
    size_t from, to;
    char *line;
    size_t line_n, max_line;
    uint64_t total, max_total;
};

static const uint8_t zstd_magic[4] = {0x28, 0xb5, 0x2f, 0xfd};

static int fail_file(struct err *err, const char *path, int number)
{
    return err_set(err, ERR_FATAL, "file", "open file", "%s: %s", path, strerrordesc_np(number));
}

static int invalid(struct err *err, const char *what)
{
    return err_set(err, ERR_REJECT, "snapshot-invalid", "read file", "%s", what);
}

static int map_file(struct lines *l, const char *path, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return fail_file(err, path, errno);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        (void)close(fd);
        return err_set(err, ERR_FATAL, "file", "open file", "%s: not a regular file", path);
    }
    l->size = (size_t)st.st_size;
    void *map = l->size ? mmap(NULL, l->size, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    int number = errno;
    (void)close(fd);
    if (map == MAP_FAILED)
        return fail_file(err, path, number);
    l->map = map;
    return 0;
}

int lines_open(struct lines **ret, const char *path, size_t max_line, uint64_t max_total,
               struct err *err)
{
    struct lines *l = calloc(1, sizeof(*l));

    if (!l)
        return err_set(err, ERR_RETRY, "no-memory", "open file", "out of memory");
    l->max_line = max_line;
    l->max_total = max_total;
    if (map_file(l, path, err) < 0) {
        (void)lines_close(l);
        return -1;
    }
    bool packed = l->size >= sizeof(zstd_magic) && !memcmp(l->map, zstd_magic, sizeof(zstd_magic));
    l->window = malloc(WINDOW);
    l->line = malloc(max_line + 1);
    l->zstd = packed ? ZSTD_createDCtx() : NULL;
    if (!l->window || !l->line || (packed && !l->zstd)) {
        (void)lines_close(l);
        return err_set(err, ERR_RETRY, "no-memory", "open file", "out of memory");
    }
    *ret = l;
    return 0;
}

struct lines *lines_close(struct lines *l)
{
    if (!l)
        return NULL;
    if (l->map)
        (void)munmap((void *)(uintptr_t)l->map, l->size);
    (void)ZSTD_freeDCtx(l->zstd);
    free(l->window);
    free(l->line);
    free(l);
    return NULL;
}

void lines_rewind(struct lines *l)
{
    l->at = l->from = l->to = 0;
    l->total = 0;
    l->mid_frame = false;
    if (l->zstd)
        (void)ZSTD_DCtx_reset(l->zstd, ZSTD_reset_session_only);
}

struct bytes lines_raw(const struct lines *l)
{
    return (struct bytes){l->map, l->size};
}

uint64_t lines_position(const struct lines *l)
{
    return l->at;
}

/* Fills the window again. 1, 0 at the end, -1. */
static int refill(struct lines *l, struct err *err)
{
    l->from = l->to = 0;
    if (!l->zstd) {
        size_t n = l->size - l->at < WINDOW ? l->size - l->at : WINDOW;
        if (n)
            memcpy(l->window, l->map + l->at, n);
        l->at += n;
        l->to = n;
    }
    while (l->zstd && l->to == 0 && (l->at < l->size || l->mid_frame)) {
        ZSTD_inBuffer in = {l->map, l->size, l->at};
        ZSTD_outBuffer out = {l->window, WINDOW, 0};
        size_t r = ZSTD_decompressStream(l->zstd, &out, &in);
        if (ZSTD_isError(r))
            return invalid(err, "the zstd data is damaged");
        if (r != 0 && out.pos == 0 && in.pos == l->size && l->at == in.pos)
            return invalid(err, "the zstd data is cut off");
        l->mid_frame = r != 0;
        l->at = in.pos;
        l->to = out.pos;
    }
    l->total += l->to;
    if (l->total > l->max_total)
        return invalid(err, "the file unpacks to more than its limit");
    return l->to > 0;
}

int lines_next(struct lines *l, struct view *ret, bool *ret_too_long, struct err *err)
{
    bool any = false;

    l->line_n = 0;
    *ret_too_long = false;
    for (;;) {
        if (l->from == l->to) {
            int r = refill(l, err);
            if (r < 0)
                return -1;
            if (r == 0)
                break;
        }
        any = true;
        const char *start = l->window + l->from;
        const char *end = memchr(start, '\n', l->to - l->from);
        size_t n = end ? (size_t)(end - start) : l->to - l->from;
        size_t room = l->max_line - l->line_n;
        if (n > room)
            *ret_too_long = true;
        memcpy(l->line + l->line_n, start, n < room ? n : room);
        l->line_n += n < room ? n : room;
        l->from += n + (end != NULL);
        if (end)
            break;
    }
    *ret = (struct view){l->line, l->line_n};
    return any;
}
