// SPDX-License-Identifier: Apache-2.0

#include "workers/qdrant/worker.h"

int main(int argc, char **argv)
{
    return worker_main(&qdrant_worker, argc, argv);
}
