/* Text by pointer and length: splitting, strict numbers, UTF-8. */
// SPDX-License-Identifier: Apache-2.0
#include "events/base/view.h"

bool view_starts_with(struct view v, const char *prefix)
{
    size_t n = strlen(prefix);
    return v.n >= n && (n == 0 || memcmp(v.p, prefix, n) == 0);
}

bool view_split(struct view *rest, char sep, struct view *ret_part)
{
    if (!rest->p) {
        return false;
    }
    const char *at = rest->n ? memchr(rest->p, sep, rest->n) : NULL;
    if (!at) {
        *ret_part = *rest;
        *rest = (struct view){0};
        return true;
    }
    size_t n = (size_t)(at - rest->p);
    *ret_part = (struct view){rest->p, n};
    *rest = (struct view){at + 1, rest->n - n - 1};
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct view view_trim(struct view v)
{
    while (v.n && is_blank(v.p[0])) {
        v.p++;
        v.n--;
    }
    while (v.n && is_blank(v.p[v.n - 1])) {
        v.n--;
    }
    return v;
}

bool view_to_i64(struct view v, int64_t min, int64_t max, int64_t *ret)
{
    size_t i = 0;
    bool negative = false;
    if (v.n && (v.p[0] == '-' || v.p[0] == '+')) {
        negative = v.p[0] == '-';
        i = 1;
    }
    if (i == v.n) {
        return false;
    }
    int64_t value = 0;
    for (; i < v.n; i++) {
        if (v.p[i] < '0' || v.p[i] > '9') {
            return false;
        }
        int64_t digit = v.p[i] - '0';
        /* Counted downwards, because the least number has no positive twin. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value)) {
            return false;
        }
    }
    if (!negative && __builtin_sub_overflow((int64_t)0, value, &value)) {
        return false;
    }
    if (value < min || value > max) {
        return false;
    }
    *ret = value;
    return true;
}

struct unit {
    const char *suffix;
    int64_t factor;
};

static bool to_scaled(struct view v, const struct unit units[], size_t n_units, int64_t *ret)
{
    size_t digits = 0;
    while (digits < v.n && v.p[digits] >= '0' && v.p[digits] <= '9') {
        digits++;
    }
    int64_t number;
    if (!view_to_i64((struct view){v.p, digits}, 0, INT64_MAX, &number)) {
        return false;
    }
    struct view suffix = {v.p + digits, v.n - digits};
    for (size_t i = 0; i < n_units; i++) {
        if (view_is(suffix, units[i].suffix)) {
            int64_t value;
            if (__builtin_mul_overflow(number, units[i].factor, &value)) {
                return false;
            }
            *ret = value;
            return true;
        }
    }
    return false;
}

bool view_to_duration_ms(struct view v, int64_t *ret)
{
    static const struct unit units[] = {
        {"", 1},          {"ms", 1},          {"s", 1000},
        {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000},
    };
    return to_scaled(v, units, ARRAY_LEN(units), ret);
}

bool view_to_size(struct view v, int64_t *ret)
{
    static const struct unit units[] = {
        {"", 1},
        {"KiB", 1 << 10},
        {"MiB", 1 << 20},
        {"GiB", 1 << 30},
    };
    return to_scaled(v, units, ARRAY_LEN(units), ret);
}

static bool is_tail(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

bool utf8_is_valid(struct bytes text)
{
    const uint8_t *p = text.p;
    size_t n = text.n, i = 0;
    while (i < n) {
        /* Eight ASCII bytes at once: no high bit, no zero byte. */
        while (n - i >= 8) {
            uint64_t w;
            memcpy(&w, p + i, sizeof w);
            const uint64_t high = 0x8080808080808080, low = 0x0101010101010101;
            if ((w & high) || ((w - low) & ~w & high)) {
                break;
            }
            i += 8;
        }
        if (i == n) {
            break;
        }
        uint8_t c = p[i];
        size_t left = n - i;
        if (c == 0) {
            return false;
        }
        if (c < 0x80) {
            i++;
        } else if (c >= 0xc2 && c <= 0xdf) {
            if (left < 2 || !is_tail(p[i + 1])) {
                return false;
            }
            i += 2;
        } else if ((c & 0xf0) == 0xe0) {
            if (left < 3 || !is_tail(p[i + 1]) || !is_tail(p[i + 2]) ||
                (c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f)) {
                return false;
            }
            i += 3;
        } else if (c >= 0xf0 && c <= 0xf4) {
            if (left < 4 || !is_tail(p[i + 1]) || !is_tail(p[i + 2]) || !is_tail(p[i + 3]) ||
                (c == 0xf0 && p[i + 1] < 0x90) || (c == 0xf4 && p[i + 1] > 0x8f)) {
                return false;
            }
            i += 4;
        } else {
            return false;
        }
    }
    return true;
}

/* The length of the valid sequence at p, 0 when there is none. */
static size_t sequence_length(const char *p, size_t n)
{
    if ((uint8_t)*p < 0x80) {
        return 1;
    }
    for (size_t k = 2; k <= 4 && k <= n; k++) {
        if (utf8_is_valid((struct bytes){(const uint8_t *)p, k})) {
            return k;
        }
    }
    return 0;
}

struct view utf8_clean(struct view text, char *out, size_t size)
{
    static const char replacement[] = "\xef\xbf\xbd", ellipsis[] = "\xe2\x80\xa6";
    size_t n = 0, i = 0, fits = 0; /* fits: where an ellipsis would still fit */
    while (i < text.n) {
        size_t k = sequence_length(text.p + i, text.n - i);
        const char *from = k ? text.p + i : replacement;
        size_t add = k ? k : 3;
        if (n + add > size) {
            memcpy(out + fits, ellipsis, 3);
            return (struct view){out, fits + 3};
        }
        memcpy(out + n, from, add);
        n += add;
        i += k ? k : 1;
        if (n + 3 <= size) {
            fits = n;
        }
    }
    return (struct view){out, n};
}
