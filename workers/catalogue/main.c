/* echora-catalogue. */
// SPDX-License-Identifier: Apache-2.0

#include "workers/catalogue/worker.h"

int main(int argc, char **argv)
{
    return worker_main(&catalogue_worker, argc, argv);
}
