/* Every metric that the source declares, by ops/tools/metrics2c.py. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stddef.h>

struct metric_row {
    const char *name, *kind, *help, *labels;
};

extern const struct metric_row metric_table[]; /* by name */
extern const size_t n_metric_table;
