/* PLANTED_FAULTS=name,name… plants faults. PLANTED_KILL=name or name:n ends the process with
 * SIGKILL when it comes to that point for the n-th time (first by default), as a crash would:
 * nothing is flushed. */
// SPDX-License-Identifier: Apache-2.0

#include "events/base/fault.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool fault_planted(const char *name)
{
    const char *at = getenv("PLANTED_FAULTS");
    size_t n = strlen(name);
    while (at != NULL && *at != '\0') {
        size_t len = strcspn(at, ",");
        if (len == n && memcmp(at, name, n) == 0)
            return true;
        at += len + (at[len] == ',');
    }
    return false;
}

void fault_kill_point(const char *name)
{
    static atomic_ulong arrivals;
    const char *wanted = getenv("PLANTED_KILL");
    size_t n = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, n) != 0 || (wanted[n] != '\0' && wanted[n] != ':'))
        return;
    unsigned long nth = wanted[n] == ':' ? strtoul(wanted + n + 1, NULL, 10) : 1;
    if (atomic_fetch_add(&arrivals, 1) + 1 != nth)
        return;
    /* Not buffered, so it is in the log before we are gone. */
    dprintf(STDERR_FILENO, "killed at %s\n", name);
    raise(SIGKILL);
}
