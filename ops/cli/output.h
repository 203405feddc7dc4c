/* What a command shows: colours, a progress bar, an end by Ctrl-C. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

#include "events/base/view.h"

enum paint { PAINT_NONE, PAINT_GREEN, PAINT_YELLOW, PAINT_RED, PAINT_DIM, PAINT_BOLD };

/* The escape sequence when on, else "". paint_end closes it. */
const char *paint(bool on, enum paint p);
const char *paint_end(bool on);

/* mode: "auto" (a terminal, TERM not "dumb", NO_COLOR not set), "always", "never". */
bool color_wanted(const char *mode, FILE *out);

/* Progress on standard error: nothing within the first second; then a bar with the rate on a
 * terminal, else a line every ten seconds. */
struct bar {
    const char *what; /* "events" */
    uint64_t total;   /* 0 = not known */
    int64_t start_ms, shown_ms;
    bool terminal, shown, quiet;
};
void bar_start(struct bar *p, const char *what, uint64_t total, bool quiet);
void bar_update(struct bar *p, uint64_t done);
/* Removes the bar. */
void bar_end(struct bar *p);

/* Once at start: the first SIGINT or SIGTERM only marks, the second ends the process. */
void interrupts_catch(void);
bool interrupted(void);
/* Waits, less when interrupted; false then. */
bool wait_ms(int64_t ms);
