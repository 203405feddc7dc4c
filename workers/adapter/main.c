// SPDX-License-Identifier: Apache-2.0
#include "workers/adapter/worker.h"

int main(int argc, char **argv)
{
    return worker_main(&adapter_worker, argc, argv);
}
