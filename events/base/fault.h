/* Planted faults and kill points: places where a test makes the product wrong, or dead, on purpose.
 *
 * A guard that no test can miss is a guess. Each guard that we rely on has a fault that takes it
 * away, and each step that a crash could split has a point at which a process dies. Only builds
 * with -Dfaults=true know them (test/faults/); everywhere else both are constants and leave no
 * code. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include <stdbool.h>

#ifdef ECHORA_FAULTS
bool fault_planted(const char *name);
void fault_kill_point(const char *name);
#define FAULT(name) fault_planted(name)
#define KILL_POINT(name) fault_kill_point(name)
#else
/* True when the test has planted this fault. */
#define FAULT(name) false
/* The process may be killed here. */
#define KILL_POINT(name) ((void)0)
#endif
