/* Faults on the screen, one line each. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "contracts/validate.h"
#include "ops/cli/cli.h"

/* Room for one decoded event and what surrounds it. */
#define WIRE_ARENA (128u << 20)

struct fault_printer {
    const struct cli *cli;
    const char *file;
    unsigned document; /* 0 = the file is one */
};
/* A fault_fn; ctx is a struct fault_printer. */
void print_fault(void *ctx, const struct fault *fault);
