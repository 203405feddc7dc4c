/* Error values are formatted into a scratch text first, so that an error may quote its own former
 * text; a cut never splits a UTF-8 sequence, because texts end up in JSON. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The header shadows these for the static analyser. */
#undef err_set
#undef err_set_dep
#undef err_wrap

/* Copies what fits of src into dst and drops a sequence that the cut left incomplete. */
static void copy_text(char *dst, size_t size, const char *src)
{
    size_t n = strlen(src);
    if (n >= size) {
        n = size - 1;
        while (n > 0 && ((unsigned char)src[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    memmove(dst, src, n);
    dst[n] = '\0';
}

PRINTF_LIKE(6, 0)
static int fill(struct err *err, enum err_class class, enum dependency dep, const char *code,
                const char *op, const char *fmt, va_list args)
{
    if (!err) {
        return -1;
    }
    char text[sizeof err->text + 4];
    vsnprintf(text, sizeof text, fmt, args);
    err->class = class;
    err->dependency = dep;
    err->retry_after_ms = 0;
    copy_text(err->code, sizeof err->code, code);
    copy_text(err->op, sizeof err->op, op);
    copy_text(err->text, sizeof err->text, text);
    return -1;
}

int err_set(struct err *err, enum err_class class, const char *code, const char *op,
            const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(err, class, DEP_NONE, code, op, fmt, args);
    va_end(args);
    return -1;
}

int err_set_dep(struct err *err, enum err_class class, enum dependency dep, const char *code,
                const char *op, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fill(err, class, dep, code, op, fmt, args);
    va_end(args);
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err) {
        return -1;
    }
    /* The context may fill the whole text and a character more, so that copy_text sees the cut. */
    char text[2 * sizeof err->text + 8];
    const size_t room = sizeof err->text + 4;
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, room, fmt, args);
    va_end(args);
    size_t at = n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
    snprintf(text + at, sizeof text - at, ": %s", err->text);
    copy_text(err->text, sizeof err->text, text);
    return -1;
}

const char *err_class_name(enum err_class class)
{
    switch (class) {
    case ERR_NONE:
        return "none";
    case ERR_RETRY:
        return "retry";
    case ERR_UNAVAILABLE:
        return "unavailable";
    case ERR_UNCERTAIN:
        return "uncertain";
    case ERR_REJECT:
        return "reject";
    case ERR_FATAL:
        return "fatal";
    }
    return "unknown";
}

const char *dependency_name(enum dependency dep)
{
    static const char *const names[DEP_MAX] = {
        [DEP_NONE] = "none",           [DEP_NATS] = "nats",
        [DEP_POSTGRES] = "postgres",   [DEP_QDRANT] = "qdrant",
        [DEP_EMBEDDING] = "embedding", [DEP_REDIS] = "redis",
        [DEP_CATALOGUE] = "catalogue", [DEP_DEAD_LETTERS] = "dead-letter-stream",
    };
    return (unsigned)dep < DEP_MAX ? names[dep] : "unknown";
}

const struct error_code error_codes[] = {
#define X(code_, class_, meaning_, action_)                                                        \
    {.code = (code_), .class = (class_), .meaning = (meaning_), .action = (action_)},
#include "events/base/codes.def"
#undef X
};
const unsigned n_error_codes = ARRAY_LEN(error_codes);

const struct error_code *error_code_find(const char *code)
{
    const struct error_code *best = NULL;
    size_t best_n = 0;
    for (unsigned i = 0; i < n_error_codes; i++) {
        const char *row = error_codes[i].code;
        size_t n = strlen(row);
        if (strcmp(row, code) == 0) {
            return &error_codes[i];
        }
        if (row[n - 1] == '*' && n > best_n && strncmp(row, code, n - 1) == 0) {
            best = &error_codes[i];
            best_n = n;
        }
    }
    return best;
}
