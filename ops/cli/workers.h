/* A worker's own word on its state, from its health listener. */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "ops/cli/cli.h"

#define WORKER_OUTAGES 8
struct worker_outage {
    char dependency[32], code[32], op[48], reason[320];
    char since[40]; /* RFC 3339 */
    int64_t for_ms, next_probe_ms, failed_probes;
};

struct worker_state {
    char address[128];
    char name[64];
    bool ready, unreachable;
    char down[200];    /* dependencies whose breaker is open */
    char reason[400];  /* why it is not ready: "name (reason), ..." */
    char missing[200]; /* the names alone */
    struct worker_outage outages[WORKER_OUTAGES];
    size_t n_outages;
};
/* address: "host:port" or "name=host:port". Never fails: what is not known stays empty. */
void worker_ask(struct cli *cli, struct view address, struct worker_state *ret);
