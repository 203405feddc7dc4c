/* A document is a JSON object. Where one ends is found by its brackets and strings; whether it is
 * JSON at all is the parser's business. */
// SPDX-License-Identifier: Apache-2.0
#include "ops/cli/documents.h"

#include "contracts/json.h"

void documents_start(struct documents *d, struct view text)
{
    *d = (struct documents){.rest = text};
}

/* Bytes up to the bracket that closes the first one; all when none does. */
static size_t document_length(struct view text)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            depth++;
        } else if ((c == '}' || c == ']') && depth > 0 && --depth == 0) {
            return i + 1;
        }
    }
    return text.n;
}

int documents_next(struct documents *d, json_t **ret, struct err *err)
{
    d->rest = view_trim(d->rest);
    if (d->rest.n == 0)
        return 0;
    size_t n = document_length(d->rest);
    struct view text = {d->rest.p, n};
    d->number++;
    d->rest = (struct view){d->rest.p + n, d->rest.n - n};
    if (json_parse(text, ret, err) < 0)
        return err_wrap(err, "at document %u", d->number);
    return 1;
}
