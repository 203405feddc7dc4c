/* What every target needs: its entry and the end of a broken property. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "events/base/err.h"
#include "events/base/view.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static inline void demand(bool ok, const char *what, const struct err *err)
{
    if (!ok) {
        fprintf(stderr, "broken: %s (%s: %s)\n", what, err ? err->code : "", err ? err->text : "");
        abort();
    }
}

/* Takes the bytes up to the next 0xff 0xff, which neither JSON nor text holds. */
static inline bool next_piece(struct bytes *rest, struct bytes *ret)
{
    static const uint8_t mark[2] = {0xff, 0xff};
    if (!rest->p)
        return false;
    const uint8_t *end = rest->n ? memmem(rest->p, rest->n, mark, sizeof(mark)) : NULL;
    if (!end) {
        *ret = *rest;
        *rest = (struct bytes){0};
        return true;
    }
    *ret = (struct bytes){rest->p, (size_t)(end - rest->p)};
    *rest = (struct bytes){end + 2, rest->n - ret->n - 2};
    return true;
}
