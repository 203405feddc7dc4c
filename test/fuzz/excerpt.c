/* What a receiver may say, and what of it the log shows.
 *
 * Properties: at most EXCERPT_MAX characters of printable ASCII, and no EXCERPT_SECRET of a
 * secret's letters in a row. The first piece is a secret (its bytes choose letters of base64), the
 * rest the answer. */
// SPDX-License-Identifier: Apache-2.0

#include <strings.h>

#include "test/fuzz/demand.h"
#include "workers/adapter/excerpt.h"

enum { SECRET_MAX = 128 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct bytes rest = {data, n}, piece;
    char secret[SECRET_MAX], out[EXCERPT_MAX + 1];

    if (!next_piece(&rest, &piece))
        return 0;
    const size_t size = piece.n < SECRET_MAX ? piece.n : SECRET_MAX;
    for (size_t i = 0; i < size; i++) {
        const char *found = piece.p[i] ? strchr(letters, (char)piece.p[i]) : NULL;
        secret[i] = found ? *found : letters[piece.p[i] % 64];
    }
    const struct view hidden = {secret, size};
    excerpt_make(view_of_bytes(rest), &hidden, 1, out);

    const size_t shown = strlen(out);
    demand(shown <= EXCERPT_MAX && shown <= rest.n, "a short text", NULL);
    for (size_t i = 0; i < shown; i++) {
        demand(out[i] >= ' ' && out[i] <= '~', "printable ASCII", NULL);
        for (size_t k = 0; i + EXCERPT_SECRET <= shown && k + EXCERPT_SECRET <= size; k++)
            demand(strncasecmp(out + i, secret + k, EXCERPT_SECRET) != 0, "nothing of a secret",
                   NULL);
    }
    return 0;
}
