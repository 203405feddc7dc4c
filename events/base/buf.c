/* Growth doubles, from 64 bytes up to the maximum; one byte beyond it is kept for buf_cstr's NUL.
 */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/buf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/fault.h"

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
    b->failed = b->no_memory = false;
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
        b->failed = b->no_memory = true;
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

bool buf_no_memory(const struct buf *b)
{
    return b->no_memory && !FAULT("memory-taken-for-size");
}

int buf_error(const struct buf *b, const char *op, const char *what, struct err *err)
{
    if (buf_no_memory(b)) {
        return err_set(err, ERR_RETRY, "no-memory", op, "no memory for %s", what);
    }
    return err_set(err, ERR_REJECT, "too-large", op, "%s passes the limit of %zu bytes", what,
                   b->max);
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
    if (v == 0 && signbit(v)) { /* "-0" is an integer to a reader of JSON, which has no such zero */
        buf_puts(b, "-0.0");
        return true;
    }
    return false;
}

/* Powers of ten that a double holds exactly. */
static const double exact_tens[] = {1e0, 1e1, 1e2, 1e3,  1e4,  1e5,  1e6,
                                    1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13};

/* Is digits / 10^places the text of exactly this float? Digits and power are exact doubles, so
 * the double between is rounded once; going on to float is safe unless that double lies right
 * between two floats. False also when it cannot tell. */
static bool reads_back(uint32_t digits, int places, float v)
{
    double d = digits / exact_tens[places];
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    const uint64_t below_float = ((uint64_t)1 << 29) - 1, halfway = (uint64_t)1 << 28;
    return (bits & below_float) != halfway && (float)d == v;
}

/* digits / 10^places without an exponent. */
static void put_decimal(struct buf *b, bool negative, uint32_t digits, int places)
{
    char text[32], *end = text + sizeof text, *p = end;
    for (int place = 0; place <= places || digits; place++) {
        if (place == places && places) {
            *--p = '.';
        }
        *--p = (char)('0' + digits % 10);
        digits /= 10;
    }
    if (negative) {
        *--p = '-';
    }
    buf_append(b, p, (size_t)(end - p));
}

/* The common case of buf_put_float without printf: vectors have hundreds of these. Takes the values
 * that "%g" writes without an exponent. */
static bool put_float_fast(struct buf *b, float v)
{
    double a = fabs((double)v);
    if (!(a >= 1e-4 && a < 1e6)) {
        return false;
    }
    int magnitude = 0; /* 10^magnitude ≤ a */
    while (a >= exact_tens[magnitude + 1]) {
        magnitude++;
    }
    double scaled = a;
    while (scaled < 1) {
        scaled *= 10;
        magnitude--;
    }
    for (int digits = 6; digits <= 9; digits++) {
        int places = digits - 1 - magnitude;
        uint32_t number = (uint32_t)nearbyint(a * exact_tens[places]);
        if (reads_back(number, places, (float)a)) {
            for (; places > 0 && number % 10 == 0; places--) {
                number /= 10;
            }
            put_decimal(b, v < 0, number, places);
            return true;
        }
    }
    return false;
}

/* Decimal texts of FLT_DIG (6) or DBL_DIG (15) digits survive the way through the binary number, so
 * a shorter one would be found there too ("%g" cuts trailing zeros); only subnormals start at 1. */
void buf_put_float(struct buf *b, float v)
{
    if (put_special(b, (double)v) || put_float_fast(b, v)) {
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

/* How many bytes at p need no escape, eight at a time as far as possible. */
static size_t plain_length(const char *p, size_t n)
{
    const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t w;
        memcpy(&w, p + i, sizeof w);
        uint64_t quote = w ^ ones * '"', backslash = w ^ ones * '\\';
        uint64_t found = ((w - ones * 0x20) & ~w) | ((quote - ones) & ~quote) |
                         ((backslash - ones) & ~backslash);
        if (found & high) {
            break;
        }
    }
    while (i < n && (unsigned char)p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
        i++;
    }
    return i;
}

void buf_put_json_string(struct buf *b, struct view text)
{
    buf_putc(b, '"');
    for (size_t i = 0; i < text.n; i++) {
        size_t plain = plain_length(text.p + i, text.n - i);
        buf_append(b, text.p + i, plain);
        i += plain;
        if (i < text.n) {
            put_escaped(b, (unsigned char)text.p[i]);
        }
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
