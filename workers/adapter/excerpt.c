// SPDX-License-Identifier: Apache-2.0
#include "workers/adapter/excerpt.h"

#include <strings.h>

#include "events/base/fault.h"

/* What is looked at: the excerpt and enough behind it to know what begins within it. */
#define LOOKED_AT_MAX (EXCERPT_MAX + 64)
/* Behind the word of a secret or a signature so many of its letters are taken for one. */
#define SEEMS_MIN 16

static bool is_code(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("+/=-_", c) != NULL);
}

/* Pieces are enough: an answer may break a secret up, by escapes or by its own end. */
static void hide_known(struct view text, struct view secret, char *marks)
{
    for (size_t i = 0; i + EXCERPT_SECRET <= text.n; i++) {
        for (size_t k = 0; k + EXCERPT_SECRET <= secret.n; k++) {
            if (strncasecmp(text.p + i, secret.p + k, EXCERPT_SECRET) == 0)
                memset(marks + i, '*', EXCERPT_SECRET);
        }
    }
}

/* A secret of before, the signature of another try, or one that the receiver made itself. */
static void hide_alike(struct view text, char *marks)
{
    static const char *const words[] = {"whsec_", "v1,", "sha256="};

    for (size_t w = 0; w < ARRAY_LEN(words); w++) {
        const size_t n = strlen(words[w]);

        for (size_t i = 0; i + n < text.n; i++) {
            size_t end = i + n;

            if (strncasecmp(text.p + i, words[w], n) != 0)
                continue;
            while (end < text.n && is_code(text.p[end]))
                end++;
            if (end - i - n >= SEEMS_MIN)
                memset(marks + i, '*', end - i);
        }
    }
}

void excerpt_make(struct view answer, const struct view hidden[], size_t n_hidden,
                  char out[static EXCERPT_MAX + 1])
{
    const struct view text = {answer.p, answer.n < LOOKED_AT_MAX ? answer.n : LOOKED_AT_MAX};
    const size_t n = text.n < EXCERPT_MAX ? text.n : EXCERPT_MAX;
    char marks[LOOKED_AT_MAX] = {0};

    const bool raw = FAULT("answer-raw");

    if (!FAULT("answer-unhidden")) {
        hide_alike(text, marks);
        for (size_t i = 0; i < n_hidden; i++)
            hide_known(text, hidden[i], marks);
    }
    for (size_t i = 0; i < n; i++) {
        const bool printable = text.p[i] >= ' ' && text.p[i] <= '~';

        out[i] = marks[i] != 0 ? marks[i] : printable || raw ? text.p[i] : '.';
    }
    out[n] = '\0';
}
