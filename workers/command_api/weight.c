// SPDX-License-Identifier: Apache-2.0
#include "workers/command_api/weight.h"

/* Behind the closing quote of the string that begins before `at`. */
static size_t skip_string(struct view text, size_t at)
{
    while (at < text.n && text.p[at] != '"')
        at += text.p[at] == '\\' ? 2 : 1;
    return at + 1;
}

size_t json_values_most(struct view text)
{
    size_t values = 1;

    for (size_t i = 0; i < text.n;) {
        const char c = text.p[i++];

        if (c == '"')
            i = skip_string(text, i);
        else
            values += c == '{' || c == '[' || c == ',';
    }
    return values;
}
