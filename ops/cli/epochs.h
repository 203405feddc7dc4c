/* Whether database and streams belong together, as the relay will ask: stream creation, cluster,
 * and how far the stream has come against the newest batch (outbox/resume.h). */
#pragma once
// SPDX-License-Identifier: Apache-2.0

#include "ops/cli/cli.h"

struct epochs {
    unsigned streams, wrong; /* of those that the relay has noted */
    char text[320];          /* what is wrong; "" when nothing is */
};
MUST_CHECK int epochs_look(struct cli *cli, struct epochs *ret, struct err *err);
