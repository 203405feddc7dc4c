/* Compiler attributes and small macros that every room uses. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stddef.h>

/* The caller must look at the result. On every prototype that can fail. */
#define MUST_CHECK __attribute__((warn_unused_result))
/* Argument numbers as in __attribute__((format)). */
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
/* Runs fn(&variable) when the variable leaves its scope. Declare and initialise in one statement.
 */
#define CLEANUP(fn) __attribute__((cleanup(fn)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Hands ownership on: yields *p and leaves NULL behind. */
#define STEAL(p)                                                                                   \
    __extension__({                                                                                \
        __typeof__(p) stolen_ = (p);                                                               \
        (p) = NULL;                                                                                \
        stolen_;                                                                                   \
    })
