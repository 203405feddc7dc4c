// SPDX-License-Identifier: Apache-2.0

#include "workers/dead_letters/worker.h"

int main(int argc, char **argv)
{
    return worker_main(&dead_letters_worker, argc, argv);
}
