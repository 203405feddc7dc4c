/* Property: a reference is clean, within its length, and its own reference. */
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>
#include <stdlib.h>

#include "contracts/refs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct arena *arena CLEANUP(arena_freep) = arena_new(4096);
    struct err err = ERR_INIT;
    struct view ref, again;
    if (ref_from_source((struct view){(const char *)data, n}, arena, &ref, &err) < 0)
        return 0;
    bool ok = ref.n > 0 && ref.n <= REF_MAX && ref_provider(ref).n < ref.n &&
              ref_from_source(ref, arena, &again, &err) == 0 && view_eq(ref, again);
    for (size_t i = 0; i < ref.n; i++)
        ok = ok && (unsigned char)ref.p[i] > ' ';
    if (!ok) {
        fprintf(stderr, "broken: \"%.*s\"\n", VIEW_ARG(ref));
        abort();
    }
    return 0;
}
