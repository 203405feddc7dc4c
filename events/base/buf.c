/* Growth doubles, from 64 bytes up to the maximum; one byte beyond it is kept for buf_cstr's NUL.
 */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){.max = max < SIZE_MAX ? max : SIZE_MAX - 1};
}

void buf_deinit(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

void buf_reset(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

/* Room for n more bytes and the NUL. */
static bool reserve(struct buf *b, size_t n)
{
    if (b->failed || n > b->max - b->n) {
        b->failed = true;
        return false;
    }
    size_t need = b->n + n + 1;
    if (need <= b->capacity) {
        return true;
    }
    size_t capacity = b->capacity ? b->capacity : 32;
    capacity = capacity > b->max / 2 ? b->max + 1 : capacity * 2;
    if (capacity < need) {
        capacity = need;
    }
    char *p = realloc(b->p, capacity);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->p = p;
    b->capacity = capacity;
    return true;
}

void buf_append(struct buf *b, const void *p, size_t n)
{
    if (n && reserve(b, n)) {
        memcpy(b->p + b->n, p, n);
        b->n += n;
    }
}

void buf_append_view(struct buf *b, struct view v)
{
    buf_append(b, v.p, v.n);
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    buf_append(b, &c, 1);
}

void *buf_extend(struct buf *b, size_t n)
{
    if (!reserve(b, n)) {
        return NULL;
    }
    void *p = b->p + b->n;
    b->n += n;
    return p;
}

bool buf_failed(const struct buf *b)
{
    return b->failed;
}

const char *buf_cstr(struct buf *b)
{
    if (b->failed || !b->p) {
        return "";
    }
    b->p[b->n] = '\0';
    return b->p;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t room = b->failed || !b->p ? 0 : b->capacity - b->n;
    int n = vsnprintf(room ? b->p + b->n : NULL, room, fmt, args);
    if (n < 0) {
        b->failed = true;
    } else if (reserve(b, (size_t)n)) {
        if ((size_t)n >= room) {
            vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        }
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

static bool put_special(struct buf *b, double v)
{
    if (isnan(v)) {
        buf_puts(b, "\"NaN\"");
        return true;
    }
    if (isinf(v)) {
        buf_puts(b, v < 0 ? "\"-Infinity\"" : "\"Infinity\"");
        return true;
    }
    return false;
}

/* Decimal texts of FLT_DIG (6) or DBL_DIG (15) digits survive the way through the binary number, so
 * a shorter one would be found there too ("%g" cuts trailing zeros); only subnormals start at 1. */
void buf_put_float(struct buf *b, float v)
{
    if (put_special(b, (double)v)) {
        return;
    }
    char text[32];
    for (int digits = fpclassify(v) == FP_SUBNORMAL ? 1 : 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)v);
        if (strtof(text, NULL) == v) {
            break;
        }
    }
    buf_puts(b, text);
}

void buf_put_double(struct buf *b, double v)
{
    if (put_special(b, v)) {
        return;
    }
    char text[40];
    for (int digits = fpclassify(v) == FP_SUBNORMAL ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v) {
            break;
        }
    }
    buf_puts(b, text);
}

void buf_put_i64(struct buf *b, int64_t v)
{
    char text[24], *p = text + sizeof text;
    uint64_t u = v < 0 ? -(uint64_t)v : (uint64_t)v;
    do {
        *--p = (char)('0' + u % 10);
        u /= 10;
    } while (u);
    if (v < 0) {
        *--p = '-';
    }
    buf_append(b, p, (size_t)(text + sizeof text - p));
}

static const char hex_digits[] = "0123456789abcdef";

static void put_escaped(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        buf_puts(b, "\\\"");
        return;
    case '\\':
        buf_puts(b, "\\\\");
        return;
    case '\b':
        buf_puts(b, "\\b");
        return;
    case '\f':
        buf_puts(b, "\\f");
        return;
    case '\n':
        buf_puts(b, "\\n");
        return;
    case '\r':
        buf_puts(b, "\\r");
        return;
    case '\t':
        buf_puts(b, "\\t");
        return;
    default:
        buf_append(b, (char[]){'\\', 'u', '0', '0', hex_digits[c >> 4], hex_digits[c & 15]}, 6);
    }
}

void buf_put_json_string(struct buf *b, struct view text)
{
    buf_putc(b, '"');
    size_t plain = 0; /* start of the run that needs no escape */
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c < 0x20 || c == '"' || c == '\\') {
            buf_append(b, text.p + plain, i - plain);
            put_escaped(b, c);
            plain = i + 1;
        }
    }
    if (text.n > plain) {
        buf_append(b, text.p + plain, text.n - plain);
    }
    buf_putc(b, '"');
}

void buf_put_hex(struct buf *b, struct bytes data)
{
    if (data.n > SIZE_MAX / 2) {
        b->failed = true;
        return;
    }
    char *out = buf_extend(b, data.n * 2);
    for (size_t i = 0; out && i < data.n; i++) {
        *out++ = hex_digits[data.p[i] >> 4];
        *out++ = hex_digits[data.p[i] & 15];
    }
}

void buf_put_base64(struct buf *b, struct bytes data)
{
    static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if (data.n > SIZE_MAX / 2) {
        b->failed = true;
        return;
    }
    char *out = buf_extend(b, (data.n + 2) / 3 * 4);
    for (size_t i = 0; out && i < data.n; i += 3) {
        size_t left = data.n - i;
        uint32_t w = (uint32_t)data.p[i] << 16;
        w |= left > 1 ? (uint32_t)data.p[i + 1] << 8 : 0;
        w |= left > 2 ? (uint32_t)data.p[i + 2] : 0;
        *out++ = set[w >> 18];
        *out++ = set[w >> 12 & 63];
        *out++ = left > 1 ? set[w >> 6 & 63] : '=';
        *out++ = left > 2 ? set[w & 63] : '=';
    }
}
