// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/base64url.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool base64url_decode(struct view text, uint8_t *out, size_t size, size_t *ret_n)
{
    const size_t n = text.n / 4 * 3 + text.n % 4 * 3 / 4;
    unsigned bits = 0, held = 0;
    size_t at = 0;

    if (text.n % 4 == 1 || n > size)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        const int value = value_of(text.p[i]);

        if (value < 0)
            return false;
        held = (held << 6 | (unsigned)value) & 0xffff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[at++] = (uint8_t)(held >> bits);
        }
    }
    if ((held & ((1u << bits) - 1)) != 0)
        return false;
    *ret_n = at;
    return true;
}

void base64url_put(struct buf *out, struct bytes data)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0, held = 0;

    for (size_t i = 0; i < data.n; i++) {
        held = (held << 8 | data.p[i]) & 0xffff;
        for (bits += 8; bits >= 6; bits -= 6)
            buf_putc(out, letters[held >> (bits - 6) & 63]);
    }
    if (bits > 0)
        buf_putc(out, letters[held << (6 - bits) & 63]);
}
