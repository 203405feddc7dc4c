/* Texts of option rows, shared by option.c and option_print.c. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "events/option.h"

#define OPTION_NAME_MAX 64
#define OPTION_ENVIRONMENT_MAX (OPTION_NAME_MAX + 8)

/* "ECHORA_PG_URL" for "pg-url". */
void option_environment_name(const char *name, char out[static OPTION_ENVIRONMENT_MAX]);
/* The shortest text with a unit that means exactly this number. */
void option_format_number(enum option_kind kind, int64_t v, char out[static 32]);
bool option_has_range(const struct option *row);
