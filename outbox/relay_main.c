/* echora-relay. */
// SPDX-License-Identifier: Apache-2.0

#include "outbox/relay_worker.h"

int main(int argc, char **argv)
{
    return worker_main(&relay_worker, argc, argv);
}
